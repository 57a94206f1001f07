"""The work of one engine, a study's or a sweep's: what both open, and close, in the same way."""

import contextlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, Generic

import attrs

from seedwise.disk.every import Every
from seedwise.dispatch.channel import Channel
from seedwise.driver.run import InFlight, Result_co, Run, Work
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine, Ledger, Proposer, Rules
from seedwise.engine.trial import Allocation, OpenTrial
from seedwise.folder.trial_files import TrialFolders
from seedwise.model.events import Event, TrialFinished
from seedwise.model.trials import TrialResult, TrialState
from seedwise.model.validation import Validation


class EngineJob(Work[Result_co], Generic[Result_co]):
    """Work that has one engine at a time, and is its own only job, if anything `is_left`."""

    #: How often ``summary.json`` is written at most; 0 is at each trial.
    summary_every_s: ClassVar[float] = 0.0
    n_seeds_unused = 0
    #: How many trials were asked for in all.
    n_planned: int
    best: TrialResult | None = None
    _counts: Counter[TrialState]

    def __init__(self, run: Run, *, is_left: bool) -> None:
        self.run = run
        self.is_prepared = is_left
        self.jobs = [self] if is_left else []
        self.failed: OpenTrial | None = None
        self._summary_due = Every(self.summary_every_s)
        self._engine: Engine | None = None
        #: Names the tasks of a part of the work that is not the first.
        self._part = ""
        #: What is to be closed at the end of the part of the work that is open.
        self.closing = contextlib.ExitStack()

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials are told, by state."""
        return self._counts

    def in_flight(self) -> InFlight:
        """Return what is in flight."""
        if self._engine is None:
            return InFlight()
        return InFlight(self._engine.n_in_flight, self._engine.n_seeds_done)

    @abstractmethod
    def open(self, workplace: Workplace) -> Engine | None:
        """Begin the next part of the work; None if no part is left."""

    def close(self, error: Exception | None) -> None:
        """End the work, done or not."""
        self.end_engine()
        if error is not None:
            raise error

    def end_engine(self) -> None:
        """End the part of the work that is open."""
        self.closing.close()
        if self._engine is not None:
            self.failed = self.failed or self._engine.failed
            self.n_seeds_unused += self._engine.n_seeds_unused
        self._engine = None  # it holds all that Optuna knows of the trials

    def begin_engine(
        self,
        workplace: Workplace,
        rules: Rules,
        allocation: Allocation,
        proposer: Proposer,
        ledger: Ledger,
    ) -> Engine:
        """Begin with an engine; what is open for it already is on `closing`."""
        run = self.run
        home = run.directory.validation if self._part else run.directory.path
        folders = TrialFolders(home, run.history.trial_digits)

        def emit(event: Event) -> None:
            workplace.stop.check()  # a signal that came is heeded now
            self.take(workplace, event)

        name, parent = run.directory.name, run.directory.parent
        channel = Channel(
            workplace.dispatcher,
            loss_id=workplace.loss_id,
            loss_name=run.parts.loss.name,
            run_name=name if parent is None else f"{parent.name}-{name}",
            entry_id=run.options.entry_id,
            part=self._part,
            chunk_timeout_s=run.options.chunk_timeout_seconds,
            attempts_dir=folders.attempts_dir,
            folder_stem=folders.stem,
            on_lost=emit,
        )
        self.closing.callback(channel.close)
        self.closing.callback(workplace.demand.change, self, 0)
        plan, in_flight = run.parts.plan, rules.in_flight
        # Without batches, a worker evaluates so many seeds of a chunk at the same time.
        batch = plan.batch or run.options.worker_parallelism

        def cut(n_seeds: int) -> Iterator[int]:
            n_trials = max(1, in_flight() * workplace.demand.n_jobs)
            return workplace.dispatcher.sizes.cut(n_seeds, n_trials, batch)

        rules = attrs.evolve(
            rules,
            direction=run.options.direction,
            trial_retry_attempts=run.options.trial_retry_attempts,
            out_of_time=self.out_of_time,
            cut=cut if plan.measured else None,
        )
        self._engine = engine = Engine(
            rules, allocation, proposer, channel, ledger, folders.settle
        )
        if not self._part:
            self.write_summary()
        engine.begin(emit)

        def close_folders() -> None:
            if not engine.n_in_flight:  # else the driver that resumes the run takes them up
                folders.close()

        self.closing.callback(close_folders)
        return engine

    def write_summary(self) -> None:
        """Write ``summary.json``: the best trial, the counts, and what the validation found."""
        best, counts, validated = self.best, self.counts, self.validated()
        self.run.write(
            self.run.directory.summary,
            {
                **_named("best", best),
                **(_named("validated", validated, "interval") if validated else {}),
                "n_trials": max(self.n_planned, counts.total()),
                "n_told": counts.total(),
                "n_failed": counts[TrialState.FAIL],
                "n_pruned": counts[TrialState.PRUNED],
            },
        )

    def out_of_time(self) -> bool:
        """Tell whether no further trial is to be asked for."""
        return self.run.out_of_time()

    def take(self, workplace: Workplace, event: Event) -> None:
        """Take an event of the engine."""
        if isinstance(event, TrialFinished) and self._summary_due.due():
            self.write_summary()
        self.tell(workplace, event)

    def tell(self, workplace: Workplace, event: Event) -> None:
        """Tell an event to the whole run."""
        workplace.report.take(event)


def _named(prefix: str, found: TrialResult | Validation | None, *more: str) -> dict[str, Any]:
    """Return what a trial or a validation found, by names with a prefix; None of nothing."""
    names = {name: name for name in ("value", "params", "stderr", *more, "n_seeds")}
    names["trial"] = "number"
    return {f"{prefix}_{name}": getattr(found, field, None) for name, field in names.items()}

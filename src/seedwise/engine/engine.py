"""The engine: ask, evaluate, record, fold, tell.

Its decisions depend on told results only, never on which chunk came back first. It knows the
study, the workers, the ledger and the listeners as protocols. Engines share a driver, whose one
thread hands results to them until all jobs are finished.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import attrs

from seedwise.engine.trial import Allocation, OpenTrial, Step
from seedwise.model.events import Event, TrialFinished
from seedwise.model.seeds import Chunk, Cut
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    Proposal,
    TrialOutcome,
    TrialResult,
    best_trial,
)


class Proposer(Protocol):
    """Where points come from."""

    @property
    def n_asked(self) -> int:
        """How many points were asked for, also by earlier processes."""

    @property
    def best(self) -> TrialResult | None:
        """The best trial told so far."""

    def unfinished(self) -> Sequence[Proposal]:
        """Return the points that were asked for earlier and not told, by number."""

    def ask(self) -> Proposal | None:
        """Return the next point; None if there are no more."""

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Take the outcome of a point."""


class Channel(Protocol):
    """Where chunks are evaluated."""

    def submit(
        self, proposal: Proposal, chunks: Sequence[Chunk], attempt: int, isolated: bool = False
    ) -> None:
        """Have chunks of a trial evaluated, isolated ones in a process of their own."""

    def cancel(self, trial: int, first_chunk: int = 0) -> None:
        """Forget a trial's chunks that are still out, from `first_chunk` on."""


class Ledger(Protocol):
    """Where results are kept."""

    def recorded(self, proposal: Proposal) -> Sequence[ChunkResult]:
        """Return the recorded results of a trial, in the order in which they came."""

    def record(self, entries: Sequence[tuple[Proposal, ChunkResult]]) -> None:
        """Keep results."""

    def sync(self) -> None:
        """Return when all records are on disk."""


@attrs.frozen
class Rules:
    """The rules of an engine."""

    #: In all, those of earlier processes included.
    n_trials: int
    #: Returns how many trials may be in flight.
    in_flight: Callable[[], int]
    #: Whether trials are told by number, so that timing does not decide what is asked for next.
    in_order: bool = True
    direction: str = "minimize"
    trial_retry_attempts: int = 1
    #: Whether to stop at a trial whose loss raised or did not return a finite number.
    stops_at_failure: bool = False
    prunes: bool = False
    #: Takes the trial at which to stop, before it is told; returns whether to stop there.
    note_stop: Callable[[OpenTrial], bool] = lambda _: True
    #: Returns how many more chunks the workers could take.
    room: Callable[[], int] = lambda: 0
    #: Returns whether no further trial is to be asked for.
    out_of_time: Callable[[], bool] = lambda: False
    #: How trials are cut into chunks; None is as their seed plan says.
    cut: Cut | None = None


@attrs.define(eq=False)
class Engine:
    """Carries trials from asking to telling; a result counts once the ledger has it."""

    _rules: Rules
    _allocation: Allocation
    _proposer: Proposer
    channel: Channel
    _ledger: Ledger
    #: Keeps the files of a trial, by its number, of its accepted evaluations only.
    _settle: Callable[[int, Sequence[str], Mapping[str, Any]], None]
    #: The trial at whose failure the run stopped, if it did.
    failed: OpenTrial | None = None
    #: The number of evaluated seeds that no value needed, since a look came early.
    n_seeds_unused: int = 0
    #: By number, in the order of asking.
    _in_flight: dict[int, OpenTrial] = attrs.field(factory=dict)
    _n_asked: int = 0
    _best: TrialResult | None = None
    _emit: Callable[[Event], None] = lambda _: None

    @property
    def n_in_flight(self) -> int:
        """The number of trials in flight."""
        return len(self._in_flight)

    @property
    def n_seeds_done(self) -> int:
        """The number of seeds of the trials in flight that are evaluated."""
        return sum(trial.n_seeds_done for trial in self._in_flight.values())

    @property
    def n_chunks_missing(self) -> int:
        """The number of chunks that the trials in flight wait for."""
        return sum(len(trial.missing) for trial in self._in_flight.values())

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self.failed is not None or not self._in_flight

    def begin(self, emit: Callable[[Event], None]) -> None:
        """Resume the trials that are not told yet, and ask for more; `emit` takes those told."""
        self._emit = emit
        self._best = self._proposer.best
        for proposal in self._proposer.unfinished():
            self._open(proposal)
        self._n_asked = self._proposer.n_asked
        self._ask_while_allowed()
        self._tell_decided()  # no result will come for what is recorded already
        self._begin_looks_early()

    def take(self, results: Sequence[ChunkResult]) -> None:
        """Take results that trials wait for, in any order; tell what they decide, and ask on."""
        waited_for = [
            (trial, result)
            for result in results
            if (trial := self._in_flight.get(result.trial)) is not None and trial.waits_for(result)
        ]
        if waited_for:
            self._ledger.record([(trial.proposal, result) for trial, result in waited_for])
        for trial, result in waited_for:
            if trial.waits_for(result):  # an earlier one of this batch may have decided
                self._follow(trial, trial.take(result))
            elif trial.is_dropped and result.losses is not None:
                self.n_seeds_unused += result.n_seeds
        self._tell_decided()
        self._begin_looks_early()

    def _ask_while_allowed(self) -> None:
        # With at most k in flight and one told at a time, trial n is asked for when exactly the
        # trials up to n - k are told: timing has no influence on the sampler.
        while (
            len(self._in_flight) < self._rules.in_flight()
            and self._n_asked < self._rules.n_trials
            and not self._rules.out_of_time()
        ):
            proposal = self._proposer.ask()
            if proposal is None:
                return
            self._n_asked += 1
            self._open(proposal)

    def _open(self, proposal: Proposal) -> None:
        own = self._allocation.seeds_of(proposal.number)
        retries, cut = self._rules.trial_retry_attempts, self._rules.cut
        trial = OpenTrial(proposal, self._allocation.plan, retries, own, cut)
        self._in_flight[proposal.number] = trial
        self._follow(trial, trial.take_up(self._ledger.recorded(proposal)))

    def _follow(self, trial: OpenTrial, step: Step) -> None:
        if step.cancel_from is not None:
            self.channel.cancel(trial.proposal.number, first_chunk=step.cancel_from)
        fresh = [chunk for chunk in step.send if trial.n_attempts[chunk.index] == 1]
        if fresh:
            self.channel.submit(trial.proposal, fresh, attempt=1)
        for chunk in step.send:
            if (attempt := trial.n_attempts[chunk.index]) > 1:
                died = trial.has_died(chunk.index)
                self.channel.submit(trial.proposal, [chunk], attempt=attempt, isolated=died)

    def _begin_looks_early(self) -> None:
        # Values do not depend on it: a look is decided by its own seeds alone.
        for trial in self._in_flight.values() if self.failed is None else ():
            while trial.can_begin_look and self._rules.room() > 0:
                self._follow(trial, Step(trial.begin_look()))

    def _tell_decided(self) -> None:
        while decided := self._decided():
            self._ledger.sync()
            told = [self._tell(trial) for trial in decided]
            if self.failed is None:
                self._ask_while_allowed()
            for event in told:  # now, so that listeners see which trials are in flight
                self._emit(event)
            if self.failed is not None:
                return

    def _decided(self) -> list[OpenTrial]:
        """Return the trials that can be told now."""
        if self._rules.in_order:
            head = next(iter(self._in_flight.values()), None)
            return [head] if head is not None and head.decided else []
        return [trial for trial in self._in_flight.values() if trial.decided]

    def _tell(self, trial: OpenTrial) -> TrialFinished:
        proposal = trial.proposal
        about = {"number": proposal.number, "params": proposal.params}
        self._settle(proposal.number, trial.folders(), about)
        # A failure by the cluster or by a crash never stops the run; an error of the loss may.
        of_loss = trial.failure is not None and trial.failure.kind is FailureKind.LOSS
        stops = of_loss and self._rules.stops_at_failure and self._rules.note_stop(trial)
        # It is in flight until it is told, else an interrupt could lose it.
        told = self._proposer.tell(trial.outcome(prunes=self._rules.prunes))
        del self._in_flight[proposal.number]
        self._allocation.take(told, trial.losses)
        if trial.is_dropped:
            self.n_seeds_unused += trial.n_seeds_done - told.n_seeds
        if stops and self.failed is None:
            self.failed = trial
        self._best = best_trial(filter(None, (self._best, told)), self._rules.direction)
        return TrialFinished(told, trial.failure, self._best, self._rules.n_trials)


#: Waits for results; each comes with the channel of its chunk.
Wait: TypeAlias = Callable[[], Sequence[tuple[Any, ChunkResult]]]


class Job(Protocol):
    """Work in parts, of one engine each."""

    def open(self, workplace: Any) -> Engine | None:
        """Begin the next part and return its engine; None if no part is left."""

    def close(self, error: Exception | None) -> None:
        """End; after an error, raise to end all jobs, or return to let the others continue."""


def work_through(workplace: Any, wait: Wait, jobs: Iterable[Job], at_once: int) -> None:
    """Carry out jobs in one thread, with at most `at_once` open at a time."""
    waiting = iter(jobs)
    active: dict[Any, tuple[Job, Engine]] = {}
    try:
        while True:
            while len(active) < at_once and (job := next(waiting, None)) is not None:
                _open(job, workplace, active)
            if not active:
                return
            _step(workplace, wait(), active)
    finally:
        for job, _ in active.values():  # an error ends all jobs, and is raised as it is
            job.close(None)


def _open(job: Job, workplace: Any, active: dict[Any, tuple[Job, Engine]]) -> None:
    try:
        engine = job.open(workplace)
        while engine is not None and engine.done:
            engine = job.open(workplace)
    except Exception as error:
        job.close(error)
        return
    except BaseException:  # a signal: the job is not among the active ones, which are closed
        job.close(None)
        raise
    if engine is None:
        job.close(None)
    else:
        active[engine.channel] = job, engine


def _step(
    workplace: Any,
    results: Sequence[tuple[Any, ChunkResult]],
    active: dict[Any, tuple[Job, Engine]],
) -> None:
    by_channel: dict[Any, list[ChunkResult]] = {}
    for channel, result in results:
        by_channel.setdefault(channel, []).append(result)
    for channel, its_results in by_channel.items():
        if channel not in active:  # late results of a finished job
            continue
        job, engine = active[channel]
        try:
            engine.take(its_results)
        except Exception as error:
            del active[channel]
            job.close(error)
            continue
        if engine.done:
            del active[channel]
            _open(job, workplace, active)

"""A run whose points come from a source."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from seedwise.dispatch.channel import Errand
from seedwise.driver.carry_out import BaseRun
from seedwise.driver.parts import Parts
from seedwise.driver.same_run import decides_losses
from seedwise.driver.signals import StopSignals
from seedwise.driver.sweep_proposer import SweepProposer
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine, Rules
from seedwise.engine.loop import work_through
from seedwise.errors import OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Ledger, ledger_end, params_digest
from seedwise.folder.table_rows import STATE_CODES, read_rows, table_end
from seedwise.folder.trial_files import TrialFolders
from seedwise.folder.trial_table import TrialTable
from seedwise.model.events import Event
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.points import Cases
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.sweep import SweepResult, SweepTrials

# So many may be in flight that any cluster is busy; how many are is for the dispatcher to say.
_MOST_AT_ONCE = 10_000

# What a change of makes another trial of a number.
_OF_CASES = ("source", "overrides", "trial_zero")


class SweepRun(BaseRun[SweepOptions, SweepResult]):
    """A run of `run_sweep`."""

    packs = True

    def __init__(
        self,
        parts: Parts,
        options: SweepOptions,
        directory: RunDirectory,
        listeners: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        super().__init__(parts, options, directory, listeners)
        assert parts.source is not None  # of a sweep
        self._cases = Cases(parts.source, options, parts.loss.parameter_space)
        self._numbers: Sequence[int] | None = options.trial_nums
        self._engine: Engine | None = None
        self._closing = contextlib.ExitStack()

    @property
    def n_trials(self) -> int:
        """How many trials there are to be in all."""
        return self._cases.n_trials if self._numbers is None else len(self._numbers)

    @property
    def n_numbers(self) -> int:
        """How many numbers trials may have."""
        return self._cases.n_trials

    @property
    def n_trials_at_once(self) -> int:
        """How many trials may be in flight."""
        return min(self.n_trials, _MOST_AT_ONCE)

    def is_done(self) -> bool:
        """Tell whether all trials are told already."""
        path, options = self.directory.trial_table, self.options
        self._require_all_cases()
        asked_again = self._numbers is not None or options.retry_failed
        if asked_again or self.history.changes or not path.exists():
            return False
        if self.directory.n_told() < self.n_trials or table_end(path) < path.stat().st_size:
            return False
        return len(read_rows(path, tails=False).number) >= self.n_trials

    def _require_all_cases(self) -> None:
        """Refuse a source that has become shorter than what was evaluated of it."""
        told = read_rows(self.directory.trial_table, tails=False).number
        if any(name in self.history.changes for name in _OF_CASES):
            return  # what it does not have any more is dropped
        if len(told) and told[-1] >= self._cases.n_trials:
            n_cases, least = f"{self._cases.n_trials} cases", int(told[-1]) + 1
            hint = f"Trial {told[-1]} is told already."
            raise OptionError("source", n_cases, f"one of {least} cases at least", hint)

    def recover(self) -> None:
        """Cut off what a crash has torn, and have told no more what is to be evaluated again."""
        for path, end in (
            (self.directory.trial_table, table_end),
            (self.directory.ledger, ledger_end),
        ):
            self.directory.cut_back(path, end(path), fence=self.options.take_over)
        changes = self.history.changes
        with self._open_table() as table, self._open_ledger(table) as ledger:
            if decides_losses(changes) or any(name in changes for name in _OF_CASES):
                ledger.begin_phase(", ".join(changes))
            self._forget(self._to_evaluate_again(table), table, ledger)

    def work(self, workplace: Workplace, stop: StopSignals) -> None:
        """Evaluate the cases that are left, or those that are asked for again."""
        work_through(workplace.dispatcher, [_Job(self, workplace, stop)], at_once=1)

    def finished(self) -> SweepResult:
        """Note that the run is at its end, and return its result."""
        directory, parts = self.directory, self.parts
        rows = read_rows(directory.trial_table)
        self.report.standing.count_anew(
            {state: int(np.sum(rows.state == code)) for state, code in STATE_CODES.items()}
        )
        result = SweepResult(
            loss_name=parts.loss.name,
            run_dir=str(directory.path),
            mode=ExecutionMode(self.report.mode),
            direction=self.options.direction,
            n_trials=len(rows.number),
            seeds=parts.plan.seeds,
            trials=SweepTrials(rows, self._cases),
            rows=rows,
            cases=self._cases,
        )
        best = result.best
        self.report.write_summary(best)
        self.report.finished(best, complete=not self.is_cut_short())
        return result

    def open(self, workplace: Workplace, stop: StopSignals) -> tuple[Any, Engine]:
        """Open the files, and begin; return what the loop needs."""
        options, directory = self.options, self.directory
        folders = TrialFolders(directory.path, self.history.trial_digits)
        with contextlib.ExitStack() as closing:
            table = closing.enter_context(self._open_table())
            closing.callback(table.sync)
            ledger = closing.enter_context(self._open_ledger(table))
            numbers = self._what_to_do(table)
            proposer = SweepProposer(self._cases, table, numbers, self._best(table))
            emit = self.emitter(stop, self.report)
            errand = Errand(
                loss_id=workplace.loss_id,
                loss_name=self.parts.loss.name,
                run_name=directory.name,
                entry_id=options.entry_id,
                chunk_timeout_s=options.chunk_timeout_seconds,
                attempts_dir=folders.attempts_dir,
                folder_stem=folders.stem,
            )
            dispatcher = workplace.dispatcher
            channel = dispatcher.channel(errand, emit)
            closing.callback(channel.close)
            n_chunks = self.parts.plan.n_chunks
            rules = Rules(
                n_trials=self.report.standing.n_trials,
                in_flight=lambda: -(-dispatcher.chunks_wanted // n_chunks),
                in_order=False,
                direction=options.direction,
                trial_retry_attempts=options.trial_retry_attempts,
            )
            engine = Engine(rules, self.parts.plan, proposer, channel, ledger, folders)
            self.report.n_in_flight = lambda: engine.n_in_flight
            self.report.begun(workplace, table.counts, proposer.best)
            engine.begin(emit, self.out_of_time)
            closing.callback(self._close_folders, engine, folders)
            self._closing = closing.pop_all()
        return channel, engine

    def close(self) -> None:
        """Close the files."""
        self._closing.close()

    def _close_folders(self, engine: Engine, folders: TrialFolders) -> None:
        if engine.n_in_flight == 0:
            folders.close()

    def _open_table(self) -> TrialTable:
        return TrialTable(self.directory.trial_table, self.lease.check)

    def _open_ledger(self, table: TrialTable) -> Ledger:
        def told(number: int) -> bool:
            return table.state_of(number) is not None

        return Ledger(self.directory.ledger, self.lease.check, self.options.accept_changes, told)

    def _to_evaluate_again(self, table: TrialTable) -> set[int]:
        """Return the told trials that are to be evaluated again."""
        again: set[int] = set()
        if any(name in self.history.changes for name in _OF_CASES):
            again.update(self._others())
        if self.options.retry_failed:
            rows = read_rows(self.directory.trial_table, tails=False)
            failed = rows.number[rows.state == STATE_CODES[TrialState.FAIL]].tolist()
            again.update(failed)
            if self._numbers is not None:
                self._numbers = sorted({*self._numbers, *failed})
        if self._numbers is not None:
            again.update(n for n in self._numbers if table.state_of(n) is not None)
        return again

    def _forget(self, again: set[int], table: TrialTable, ledger: Ledger) -> None:
        if again:
            # The ledger first: what the table still tells is forgotten by the same call again.
            ledger.begin_again(sorted(again))
            table.begin_again(sorted(again))
            table.sync()

    def _what_to_do(self, table: TrialTable) -> Iterator[int]:
        """Return the trials to evaluate."""
        if self._numbers is not None:
            self.report.standing.n_trials = table.n_told + len(self._numbers)
            return iter(self._numbers)
        n_trials = self._cases.n_trials
        self.report.standing.n_trials = n_trials
        return (number for number in range(n_trials) if table.state_of(number) is None)

    def _others(self) -> list[int]:
        """Return the told trials whose params are not what the cases say now."""
        rows = read_rows(self.directory.trial_table, tails=False)
        others = []
        for number, digest in zip(rows.number.tolist(), rows.digest, strict=True):
            gone = number >= self._cases.n_trials
            if gone or params_digest(self._cases.params(number)) != digest.tobytes().hex():
                others.append(number)
        return others

    def _best(self, table: TrialTable) -> TrialResult | None:
        best = table.best(self.options.direction)
        if best is None:
            return None
        rows = read_rows(self.directory.trial_table)
        place = int(np.searchsorted(rows.number, best[0]))
        return SweepTrials(rows, self._cases)[place]


class _Job:
    def __init__(self, run: SweepRun, workplace: Workplace, stop: StopSignals) -> None:
        self._run = run
        self._workplace = workplace
        self._stop = stop

    def open(self) -> tuple[Any, Engine]:
        return self._run.open(self._workplace, self._stop)

    def close(self, error: Exception | None) -> None:
        self._run.close()
        if error is not None:
            raise error

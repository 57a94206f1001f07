"""A run of several entries: a study for each, and one cluster and one thread for all."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from seedwise.driver.carry_out import BaseRun
from seedwise.driver.open_files import most_entries_open
from seedwise.driver.parts import Parts, entry_parts
from seedwise.driver.report import Report
from seedwise.driver.signals import StopSignals
from seedwise.driver.study_work import StudyWork
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine
from seedwise.engine.loop import work_through
from seedwise.errors import (
    AllEntriesFailedError,
    DamagedFileError,
    LedgerMismatchError,
    LossFailedError,
    NoCompleteTrialError,
    NotARunError,
    OptionError,
    SpaceError,
)
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import entry_directory
from seedwise.folder.history import take_up_history
from seedwise.folder.stop_note import NO_TRIAL, StopNote, read_stop_note, write_stop_note
from seedwise.model.events import EntryFinished, Event, TrialFinished
from seedwise.model.options.entries import EntriesOptions, entry_labels
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.study import RunOptions
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult

# What one entry may have without the others. All else ends the run, which can be gone on with: a
# connection that broke, a full disk, another driver.
_OF_AN_ENTRY = (
    DamagedFileError,
    LedgerMismatchError,
    LossFailedError,
    NoCompleteTrialError,
    NotARunError,
    SpaceError,
)


class EntriesRun(BaseRun[EntriesOptions, MultiOptimizeResult]):
    """A run of `optimize_entries`."""

    def __init__(
        self,
        parts: Parts,
        options: EntriesOptions,
        directory: RunDirectory,
        listeners: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        super().__init__(parts, options, directory, listeners)
        self._labels = entry_labels(options.entry_ids)
        self._results: dict[str, OptimizeResult] = {}
        self._failed: dict[str, Exception] = {}
        self._left: list[_Entry] = []
        self._failed_before: list[_Entry] = []
        self._n_open = 0

    @property
    def n_trials(self) -> int:
        """How many trials there are to be in all."""
        return self.options.n_trials * len(self.options.entry_ids)

    @property
    def n_trials_at_once(self) -> int:
        """How many trials may be in flight."""
        most = self.options.max_concurrent_entries or len(self._left)
        return self.options.max_concurrent_trials * min(most, len(self._left))

    def is_done(self) -> bool:
        """Tell whether all entries are at their end already."""
        self.report.entries = self._entries_by_state
        for index, entry_id in enumerate(self.options.entry_ids):
            with self.noting_errors(entry_id):
                entry = _Entry(self, index)
                error = entry.error_before()
                if error is not None:
                    self._failed[entry_id] = error
                    self._failed_before.append(entry)
                elif entry.study.is_done():
                    self._results[entry_id] = entry.study.result()
                else:
                    self._left.append(entry)
        return not self._left

    def recover(self) -> None:
        """Bring all studies and ledgers to a state to go on from, before any work is begun."""
        factor = self.options.refine_search_factor
        if factor is not None and self.history.is_new:
            raise OptionError("refine_search_factor", factor, "None for a run that begins now")
        for entry in self._left:
            with self.noting_errors(entry.entry_id):
                entry.study.recover()
                if not entry.report.history.is_new:
                    entry.report.prepared()  # before that of all says that it goes on
        self._left = [entry for entry in self._left if entry.entry_id not in self._failed]

    def work(self, workplace: Workplace, stop: StopSignals) -> None:
        """Work on all entries, together or so many at a time."""
        self.report.begun(workplace, self._counts())
        self._write_summary()
        at_once = min(self.options.max_concurrent_entries or len(self._left), most_entries_open())
        jobs = [entry.job(workplace, stop) for entry in self._left]
        self.report.n_in_flight = lambda: sum(job.n_in_flight for job in jobs)
        work_through(workplace.dispatcher, jobs, at_once)

    def _counts(self) -> Counter[TrialState]:
        told: list[Sequence[TrialResult]] = [one.trials for one in self._results.values()]
        others = [*self._failed_before, *self._left]
        told += [entry.study.trials for entry in others if entry.entry_id not in self._results]
        return Counter(trial.state for trials in told for trial in trials)

    def finished(self) -> MultiOptimizeResult:
        """Note that the run is at its end, and return its result."""
        entries = list(self.options.entry_ids)
        self.report.standing.count_anew(self._counts())
        self._write_summary()
        self.report.finished(None, complete=not self.is_cut_short())
        results = {entry: self._results[entry] for entry in entries if entry in self._results}
        failed = {entry: self._failed[entry] for entry in entries if entry in self._failed}
        result = MultiOptimizeResult(
            loss_name=self.parts.loss.name,
            n_entries=len(entries),
            entries=entries,
            results_by_entry=results,
            best_values_by_entry={entry: one.best_value for entry, one in results.items()},
            best_params_by_entry={entry: dict(one.best_params) for entry, one in results.items()},
            run_dir=str(self.directory.path),
            mode=ExecutionMode(self.report.mode),
            failed=failed,
        )
        if not results:
            raise AllEntriesFailedError(self.directory.path, failed)
        return result

    def directory_of(self, entry_id: str) -> RunDirectory:
        """Return the folder of an entry, which need not be there yet."""
        return RunDirectory(self.directory.entries / self._labels[entry_id], self.directory)

    def note_end(self, entry_id: str, end: OptimizeResult | Exception) -> None:
        """Take note of how an entry ended; ``summary.json`` says it at once."""
        best: TrialResult | None = None
        error: str | None = None
        if isinstance(end, Exception):
            self._failed[entry_id] = end
            error = _in_a_line(end)
        else:
            self._results[entry_id] = end
            best = end.best_trial
        self._write_summary()
        n_ended = len(self._results) + len(self._failed)
        n_entries = len(self.options.entry_ids)
        self.listen(EntryFinished(entry_id, best, error, n_ended, n_entries))

    @contextlib.contextmanager
    def noting_errors(self, entry_id: str) -> Iterator[None]:
        """Have an error be that of the entry, if it can be."""
        try:
            yield
        except _OF_AN_ENTRY as error:
            self.note_failure(entry_id, error)

    def note_failure(self, entry_id: str, error: Exception) -> None:
        """Note that an entry failed, unless it is an error of the whole run."""
        if not isinstance(error, _OF_AN_ENTRY):
            raise error
        # That no trial is complete, the trials say; and after a timeout there may be some later.
        if not isinstance(error, NoCompleteTrialError):
            directory = entry_directory(self.directory, self._labels[entry_id])
            note = read_stop_note(directory)
            if note is None or note.seen:
                write_stop_note(directory, StopNote(NO_TRIAL, error))
        self.note_end(entry_id, error)

    def note_open(self, change: int) -> None:
        """Count the entries that are worked on."""
        self._n_open += change

    def _entries_by_state(self) -> dict[str, int]:
        done, failed = len(self._results), len(self._failed)
        n_left = len(self.options.entry_ids) - done - failed - self._n_open
        return {"pending": n_left, "running": self._n_open, "done": done, "failed": failed}

    def _write_summary(self) -> None:
        results = self._results
        self.lease.check()
        self.directory.write_summary(
            {
                "entries": list(self.options.entry_ids),
                "best_params_by_entry": {e: dict(r.best_params) for e, r in results.items()},
                "best_values_by_entry": {e: r.best_value for e, r in results.items()},
                "best_stderrs_by_entry": {e: r.best_stderr for e, r in results.items()},
                "failed": {e: _in_a_line(x) for e, x in self._failed.items()},
                "n_trials": self.n_trials,
                "n_told": self.report.standing.counts.total(),
            }
        )


class _Entry:
    """An entry, and the work on its study."""

    def __init__(self, run: EntriesRun, index: int) -> None:
        self.entry_id = run.options.entry_ids[index]
        self.options: RunOptions = run.options.of_entry(index)
        self._run = run
        directory = self._directory = run.directory_of(self.entry_id)
        parts = entry_parts(run.parts, self.options)
        history = take_up_history(
            directory,
            parts.loss.name,
            parts.depends_on,
            accept_changes=self.options.accept_changes,
            n_trials=self.options.n_trials,
        )
        directory.sweep()
        self.report = Report(directory, history, parts, self.options, lambda _: None)
        self.report.guard = run.lease.check
        self.study = StudyWork(parts, self.options, directory, history, self.report)

    def error_before(self) -> Exception | None:
        """Return the error at which the entry failed before, if that is still to count.

        It counts until the run is at its end. The next driver has the entry go on, as a run of
        its own would.
        """
        note = self.study.stop_note()
        if note is None:
            return None
        if self._run.history.completed:
            self.study.note_seen()
            return None
        return note.error

    def make_folder(self) -> None:
        """Make the folder of an entry that begins."""
        entry_directory(self._run.directory, self._directory.name)

    def finish(self) -> None:
        """Note that the study is at its end."""
        with self._run.noting_errors(self.entry_id):
            self.study.raise_failure()
            self.study.finish()
            self._run.note_end(self.entry_id, self.study.result())

    def job(self, workplace: Workplace, stop: StopSignals) -> _Job:
        return _Job(self, self._run, workplace, stop)


class _Job:
    """The work on an entry, for the loop."""

    def __init__(
        self, entry: _Entry, run: EntriesRun, workplace: Workplace, stop: StopSignals
    ) -> None:
        self._entry = entry
        self._run = run
        self._workplace = workplace
        self._stop = stop
        self._engine: Engine | None = None

    @property
    def n_in_flight(self) -> int:
        """How many trials are in flight."""
        return self._engine.n_in_flight if self._engine is not None else 0

    def open(self) -> tuple[Any, Engine]:
        self._stop.check()
        self._run.note_open(1)
        self._entry.make_folder()
        self._entry.report.prepared()
        channel, self._engine = self._entry.study.open(
            self._workplace, self._emit, self._run.out_of_time
        )
        return channel, self._engine

    def close(self, error: Exception | None) -> None:
        engine, self._engine = self._engine, None
        self._run.note_open(-1)
        self._entry.study.close()
        if error is not None:
            self._run.note_failure(self._entry.entry_id, error)
        elif engine is not None and engine.done:
            self._entry.finish()

    def _emit(self, event: Event) -> None:
        self._stop.check()
        self._entry.report.emit(event)
        if isinstance(event, TrialFinished):
            self._run.report.emit_of_entry(event, self._entry.entry_id)
        else:
            self._run.report.emit(event)


def _in_a_line(error: Exception) -> str:
    first, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first.rstrip(':')}"

"""A run of several entries: a study for each, and one cluster and one thread for all."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from seedwise.errors import AllEntriesFailedError, LeaseLostError, OptionError, RunFileError
from seedwise.model.entries_options import EntriesOptions, entry_labels
from seedwise.model.execution_mode import ExecutionMode
from seedwise.model.options import RunOptions
from seedwise.model.records import (
    EntryFinished,
    Event,
    TrialFinished,
    TrialResult,
    TrialState,
)
from seedwise.run.base import BaseRun
from seedwise.run.directory import RunDirectory
from seedwise.run.engine import Engine
from seedwise.run.history import take_up_history
from seedwise.run.loop import work_through
from seedwise.run.multi_result import MultiOptimizeResult
from seedwise.run.opening import entry_directory
from seedwise.run.parts import Parts, entry_parts
from seedwise.run.report import Report
from seedwise.run.result import OptimizeResult
from seedwise.run.signals import StopSignals
from seedwise.run.stop_note import StopNote, write_stop_note
from seedwise.run.study_work import StudyWork
from seedwise.run.workplace import Workplace

__all__ = ["EntriesRun"]

# Open files of an entry that is worked on: ledger, study file, two checkpoints, and one to spare.
_FILES_AN_ENTRY = 5
_FILES_OF_THE_DRIVER = 200

# Of an entry that failed otherwise than at a trial.
_NO_TRIAL = -1

# Of these one is an error of the whole run: the disk is full, or another driver has taken it over.
_OF_THE_RUN = (RunFileError, LeaseLostError)


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
        self._n_open = 0
        self._n_in_flight: Callable[[], int] = lambda: 0

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
        for index in range(len(self.options.entry_ids)):
            entry = _Entry(self, index)
            error = entry.error_before()
            if error is not None:
                self._failed[entry.entry_id] = error
            elif entry.study.is_done():
                with entry.noting_errors():
                    self._results[entry.entry_id] = entry.study.result()
            else:
                self._left.append(entry)
        return not self._left

    def recover(self) -> None:
        """Bring all studies and ledgers to a state to go on from, before any work is begun."""
        factor = self.options.refine_search_factor
        if factor is not None and self.history.is_new:
            raise OptionError("refine_search_factor", factor, "None for a run that begins now")
        for entry in self._left:
            with entry.noting_errors():
                entry.study.recover()
        self._left = [entry for entry in self._left if entry.entry_id not in self._failed]

    def work(self, workplace: Workplace, stop: StopSignals) -> None:
        """Work on all entries, together or so many at a time."""
        counts = dict.fromkeys(TrialState, 0)
        for result in self._results.values():
            for trial in result.trials:
                counts[trial.state] += 1
        self.report.begun(workplace, counts)
        self._write_summary()
        at_once = min(self.options.max_concurrent_entries or len(self._left), _most_open())
        jobs = [entry.job(workplace, stop) for entry in self._left]
        self.report.n_in_flight = lambda: sum(job.n_in_flight for job in jobs)
        work_through(workplace.dispatcher, jobs, at_once)

    def finished(self) -> MultiOptimizeResult:
        """Note that the run is at its end, and return its result."""
        entries = list(self.options.entry_ids)
        self._write_summary()
        self.report.finished(None)
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
        with self.noting_errors():
            self.study.raise_failure()
            self.study.finish()
            self._run.note_end(self.entry_id, self.study.result())

    def fail(self, error: Exception) -> None:
        """Note that the entry failed, unless it is an error of the whole run."""
        if isinstance(error, _OF_THE_RUN):
            raise error
        if self.study.stop_note() is None:
            self.make_folder()
            write_stop_note(self._directory, StopNote(_NO_TRIAL, error))
        self._run.note_end(self.entry_id, error)

    def job(self, workplace: Workplace, stop: StopSignals) -> _Job:
        return _Job(self, self._run, workplace, stop)

    @contextlib.contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Have an error be that of the entry, and of no other."""
        try:
            yield
        except Exception as error:
            self.fail(error)


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
            self._entry.fail(error)
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


def _most_open() -> int:
    """Return how many entries may be worked on at once, for the files that they have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(1, (soft - _FILES_OF_THE_DRIVER) // _FILES_AN_ENTRY)

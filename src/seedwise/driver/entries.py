"""The work of `optimize_entries`: a study for each entry, and one cluster for all."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from seedwise import errors
from seedwise.disk.files import most_entries_open
from seedwise.driver import study_work
from seedwise.driver.parts import entry_parts
from seedwise.driver.run import InFlight, Run, Work, take_up
from seedwise.driver.validation import n_chunks_of_parts
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine
from seedwise.folder import stop_note
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import entry_directory
from seedwise.model.events import EntryFinished, Event, TrialFinished
from seedwise.model.options.study import entry_labels
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.read import entries_result
from seedwise.results.study import OptimizeResult
from seedwise.study.proposer import StudyPlan

# What one entry may have without the others. All else ends the run, which can be resumed: a
# connection that broke, a full disk, another driver.
_OF_AN_ENTRY = (
    errors.DamagedFileError,
    errors.LedgerMismatchError,
    errors.LossFailedError,
    errors.NoCompleteTrialError,
    errors.NotARunError,
    errors.SpaceError,
)


class EntriesWork(Work[MultiOptimizeResult]):
    """The work on all entries, and how those ended that did."""

    best = None

    def __init__(self, run: Run, listen: Callable[[Event], None]) -> None:
        options = run.options
        self.run = run
        self.jobs: list[Entry] = []
        self._listen = listen
        self._labels = entry_labels(options.entry_ids)
        self._results: dict[str, OptimizeResult] = {}
        self._failed: dict[str, Exception] = {}
        self._counts_before: Counter[TrialState] = Counter()  # of entries that ended before
        self._n_saved_before = 0
        #: How many entries are worked on.
        self.n_open = 0
        left = [one for index in range(len(options.entry_ids)) if (one := self._taken_up(index))]
        self.is_prepared = bool(left)
        self._recover_all(left)
        n_open = min(options.max_concurrent_entries or len(self.jobs), len(self.jobs))
        self.jobs_at_once = min(n_open, most_entries_open())
        self.n_chunks = [n_open * n_chunks for n_chunks in n_chunks_of_parts(run)]

    @property
    def n_trials(self) -> int:
        """How many trials there are to be, of all entries together."""
        ended = self._results.values()  # `max_total_seeds` may leave them with fewer
        n_left = len(self.run.options.entry_ids) - len(ended)
        n_trials: int = self.run.options.n_trials * n_left
        return n_trials + sum(result.n_trials for result in ended)

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials are told by now, by state; of all entries together."""
        return sum((entry.counts for entry in self.jobs), self._counts_before)

    @property
    def seeds_saved(self) -> int:
        """How many seeds the race has saved by now, in all entries together."""
        return self._n_saved_before + sum(entry.seeds_saved for entry in self.jobs)

    @property
    def n_seeds_unused(self) -> int:
        """How many seeds were evaluated ahead in vain, in all entries together."""
        return sum(entry.n_seeds_unused for entry in self.jobs)

    def in_flight(self) -> InFlight:
        """Return what is in flight, in all entries together."""
        return InFlight(*map(sum, zip(*(entry.in_flight() for entry in self.jobs), strict=True)))

    def entries(self) -> dict[str, int]:
        """Return how many entries are in which state."""
        done, failed = len(self._results), len(self._failed)
        n_left = len(self.run.options.entry_ids) - done - failed - self.n_open
        return {"pending": n_left, "running": self.n_open, "done": done, "failed": failed}

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return all(one.is_finished for one in self.jobs if one.entry_id not in self._failed)

    def write_summary(self) -> None:
        """Write ``summary.json``: the best params of each entry, and the errors."""
        results = self._results
        self.run.write(
            self.run.directory.summary,
            {
                "entries": list(self.run.options.entry_ids),
                "best_params_by_entry": {e: dict(r.best_params) for e, r in results.items()},
                "best_values_by_entry": {e: r.best_value for e, r in results.items()},
                "best_stderrs_by_entry": {e: r.best_stderr for e, r in results.items()},
                **_validated(results),
                "failed": {e: errors.in_a_line(x) for e, x in self._failed.items()},
                "n_trials": self.n_trials,
                "n_told": self.counts.total(),
            },
        )

    def result(self) -> MultiOptimizeResult:
        """Return the result; raises AllEntriesFailedError if no entry has one."""
        result = self.so_far()
        if not result.results_by_entry:
            raise errors.AllEntriesFailedError(self.run.directory.path, result.failed)
        return result

    def so_far(self) -> MultiOptimizeResult:
        """Return the result of what is told by now."""
        entries = list(self.run.options.entry_ids)
        return entries_result(self.run.directory, entries, self._results, self._failed)

    def note_end(self, entry_id: str, end: OptimizeResult | Exception) -> None:
        """Take note of how an entry ended; ``summary.json`` says it at once."""
        n_ended = len(self._results) + len(self._failed) + 1
        numbers = n_ended, len(self.run.options.entry_ids)
        if isinstance(end, Exception):
            self._failed[entry_id] = end
            event = EntryFinished(entry_id, None, errors.in_a_line(end), *numbers, None)
        else:
            self._results[entry_id] = end
            event = EntryFinished(entry_id, end.best_trial, None, *numbers, end.validation)
        self.write_summary()
        self._listen(event)

    @contextlib.contextmanager
    def noting_errors(self, entry_id: str) -> Iterator[None]:
        """Have an error be that of the entry, unless it is one of the whole run."""
        try:
            yield
        except _OF_AN_ENTRY as error:
            # That no trial is complete, the trials say; and after a timeout there may be some.
            if not isinstance(error, errors.NoCompleteTrialError):
                directory = entry_directory(self.run.directory, self._labels[entry_id])
                note = stop_note.read(directory)
                if note is None or note.seen:
                    stop_note.write(directory, stop_note.StopNote(stop_note.NO_TRIAL, error))
            self.note_end(entry_id, error)

    def _taken_up(self, index: int) -> Run | None:
        """Return the part of an entry of which something is left to do; None if nothing is."""
        run, options = self.run, self.run.options.of_entry(index)
        entry_id = options.entry_id
        directory = RunDirectory(run.directory.entries / self._labels[entry_id], run.directory)
        with self.noting_errors(entry_id):
            mine = take_up(entry_parts(run.parts, options), options, directory, run.guard)
            note = study_work.unseen_stop(mine)
            # The error counts until the run is finished. The next driver has the entry go on, as a
            # run of its own would.
            if note is not None and run.history.completed:
                stop_note.note_seen(mine.directory)
            elif note is not None:
                self._failed[entry_id] = note.error
                self._count_before(study_work.told_trials(mine))
                return None
            if (trials := study_work.trials_of_finished(mine)) is not None:
                entry = Entry(self, mine, trials)
                if not mine.history.completed:  # a kill came before it was written
                    entry.write_end()
                self._results[entry_id] = entry.result()
                self._count_before(trials)
            else:
                return mine
        return None

    def _count_before(self, trials: Sequence[TrialResult]) -> None:
        self._counts_before.update(trial.state for trial in trials)
        self._n_saved_before += self.run.parts.looks.n_saved(trials)

    def _recover_all(self, left: Sequence[Run]) -> None:
        """Prepare the folder for the work on these entries."""
        factor = self.run.options.refine_search_factor
        if factor is not None and left and self.run.history.is_new:
            allowed = "None for a run that begins now"
            raise errors.OptionError("refine_search_factor", factor, allowed)
        for mine in left:
            with self.noting_errors(mine.options.entry_id):
                entry = Entry(self, *study_work.recovered_study(mine))
                if not mine.history.is_new:
                    entry.run.prepare()  # before that of all says that it is resumed
                self.jobs.append(entry)
        if left:
            self.run = self.run.at_work()
            self.run.prepare()


def _validated(results: Mapping[str, OptimizeResult]) -> dict[str, Any]:
    found = {entry: one.validation for entry, one in results.items() if one.validation is not None}
    names = {"params": "params", "values": "value", "stderrs": "stderr", "intervals": "interval"}
    return {
        f"validated_{plural}_by_entry": {entry: getattr(one, name) for entry, one in found.items()}
        for plural, name in names.items()
        if found
    }


class Entry(study_work.StudyWork):
    """The work on one entry."""

    def __init__(
        self,
        work: EntriesWork,
        run: Run,
        trials: Sequence[TrialResult],
        plan: StudyPlan | None = None,
    ) -> None:
        super().__init__(run, trials, plan)
        self.entry_id: str = run.options.entry_id
        self._work = work

    def open(self, workplace: Workplace) -> Engine | None:
        """Begin the next part of the work."""
        if self._parts is None:
            workplace.stop.check()
            self._work.n_open += 1
            directory = self.run.directory
            entry_directory(directory.home, directory.name)
            self.run.prepare()
        return super().open(workplace)

    def close(self, error: Exception | None) -> None:
        """End the work; an error that is the entry's own leaves the others at work."""
        super().close(None)
        self._work.n_open -= 1
        with self._work.noting_errors(self.entry_id):
            if error is not None:
                raise error
            if self.is_done:
                self.raise_failure()
                self.write_end()
                self._work.note_end(self.entry_id, self.result())

    def write_end(self) -> None:
        """Write how the entry ended."""
        self.write_summary()
        self.run.note_end(self.best, complete=self.is_finished)

    def out_of_time(self) -> bool:
        """Tell whether no further trial is to be asked for, by the clock of the whole run."""
        return self._work.run.out_of_time()

    def note(self, workplace: Workplace, text: str) -> None:
        """Write something of the work; of many entries it would be too much to show."""
        del workplace
        self.run.log.write("note", f"{self.entry_id}: {text}")

    def tell(self, workplace: Workplace, event: Event) -> None:
        """Tell an event to the whole run."""
        if isinstance(event, TrialFinished):
            event = attrs.evolve(event, entry_id=self.entry_id)
        super().tell(workplace, event)

"""Counts of trials: the progress of a run, and the ``summary.json`` of a study or a sweep."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from seedwise.disk.every import Every
from seedwise.driver.run import Run
from seedwise.folder.directory import utc_now
from seedwise.model.events import TrialFinished
from seedwise.model.status import RunStatus
from seedwise.model.trials import TrialResult, TrialState
from seedwise.model.validation import Validation


class Tally:
    """Counts the trials of a run.

    `counts` and `best` are of the trials that are told already; entries have a best trial each.
    `entries` tells how many entries are in which state; None of a run without entries.
    """

    def __init__(
        self,
        kind: str,
        n_trials: int,
        counts: Mapping[TrialState, int],
        started_at_utc: str,
        entries: Callable[[], dict[str, int] | None] = lambda: None,
        best: TrialResult | None = None,
    ) -> None:
        self.counts = Counter(counts)
        self.best = best
        self.n_trials = max(n_trials, self.counts.total())
        self._kind = kind
        self._started_at_utc = started_at_utc
        self._entries = entries
        #: How many seeds the race has saved, with those that were told before.
        self.seeds_saved = 0
        #: What the validation found; None without one, or until its end.
        self.validated: Validation | None = None
        self._validation_seeds = 0, 0  # done, and how many there are to be
        self._validation_began: tuple[float, int] | None = None  # when, and how many were done
        self._n_told = 0  # by this driver
        self._n_seeds = 0  # of this driver's workers
        self._busy_share: float | None = None
        self._began_s = self._told_s = self._worked_s = time.monotonic()

    def begin(self) -> None:
        """Start the clock: what was told before does not count for the rate."""
        self._n_told, self._began_s = 0, time.monotonic()

    def count_anew(
        self, n_trials: int, counts: Mapping[TrialState, int], best: TrialResult | None
    ) -> None:
        """Set the counts and the best trial to what the files say; the rate stays."""
        self.counts, self.best = Counter(counts), best
        self.n_trials = max(n_trials, self.counts.total())

    def tell(self, state: TrialState, best: TrialResult | None, n_saved: int = 0) -> None:
        """Count a trial that was told, which saved seeds; `best` is the best trial since then."""
        self.best = best
        self.seeds_saved += n_saved
        self.counts[state] += 1
        self._n_told += 1
        self._told_s = time.monotonic()

    def note_work(self, n_seeds: int, busy_share: float | None) -> None:
        """Take how many seeds the workers evaluated, and how busy they were."""
        self._n_seeds, self._busy_share = n_seeds, busy_share
        self._worked_s = time.monotonic()

    def note_validation(self, n_done: int, n_seeds: int) -> None:
        """Take how many of the fresh seeds are evaluated."""
        self._validation_seeds = n_done, n_seeds
        if n_seeds and self._validation_began is None:
            self._validation_began = time.monotonic(), n_done

    @property
    def validates(self) -> bool:
        """Whether the best trials are being validated."""
        return self._validation_seeds[1] > 0

    def status(self, state: str, n_in_flight: int = 0) -> RunStatus:
        """Return the progress; `state` is "running", "finished" or "stopped"."""
        now = utc_now()
        left = max(0, self.n_trials - self.counts.total())
        searches = n_in_flight > 0 or not self.validates
        until_s = time.monotonic() if searches else self._told_s
        rate = self._per_s(self._n_told, until_s)
        left_s = self._validation_left_s()
        if searches:
            left_s = left / rate if left and rate else None
        end = None
        if left_s is not None and state == "running":
            end = (now + timedelta(seconds=min(left_s, 1e9))).isoformat(timespec="seconds")
        n_done, n_seeds = self._validation_seeds if state != "finished" else (0, 0)
        running = min(n_in_flight, left) if state == "running" else 0
        return RunStatus(
            kind=self._kind,
            state=state,
            n_trials=self.n_trials,
            pending=left - running,
            running=running,
            done=self.counts[TrialState.COMPLETE],
            failed=self.counts[TrialState.FAIL],
            pruned=self.counts[TrialState.PRUNED],
            trials_per_s=rate,
            seeds_per_s=self._per_s(self._n_seeds, self._worked_s),
            busy_share=self._busy_share,
            seeds_saved=self.seeds_saved,
            expected_end_utc=end,
            started_at_utc=self._started_at_utc,
            updated_at_utc=now.isoformat(timespec="seconds"),
            best_value=self.best.value if self.best else None,
            best_stderr=self.best.stderr if self.best else None,
            validation_seeds=n_seeds,
            validation_seeds_done=n_done,
            validated_value=self.validated.value if self.validated else None,
            validated_stderr=self.validated.stderr if self.validated else None,
            entries=self._entries(),
        )

    def _per_s(self, count: int, until_s: float) -> float | None:
        return count / max(until_s - self._began_s, 1e-9) if count else None

    def _validation_left_s(self) -> float | None:
        """Return how long the validation still takes; None if unknown."""
        if self._validation_began is None:
            return None
        (began_s, n_before), (n_done, n_seeds) = self._validation_began, self._validation_seeds
        if n_done <= n_before:
            return None
        return (n_seeds - n_done) * (time.monotonic() - began_s) / (n_done - n_before)


class Summary:
    """Keeps ``summary.json`` up to date: the best trial so far, and the counts.

    The file is written every `every_s` seconds at most; 0 writes it at each trial.
    """

    def __init__(
        self, run: Run, n_trials: int, counts: Mapping[TrialState, int], every_s: float = 0.0
    ) -> None:
        self._run = run
        self._n_trials = n_trials
        self._counts = Counter(counts)
        self._due = Every(every_s)

    def take(self, event: TrialFinished) -> None:
        """Take in a trial that was told."""
        self._counts[event.trial.state] += 1
        if self._due.due():
            self.write(event.best)

    def write(
        self,
        best: TrialResult | None,
        counts: Mapping[TrialState, int] | None = None,
        validated: Validation | None = None,
    ) -> None:
        """Write the file; `counts` are those of the files, of which events may not have told."""
        self._run.guard()
        if counts is not None:
            self._counts = Counter(counts)
        n_told = self._counts.total()
        self._run.directory.summary.write(
            {
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
                "best_stderr": best.stderr if best else None,
                "best_n_seeds": best.n_seeds if best else None,
                "best_trial": best.number if best else None,
                **({} if validated is None else _of_validation(validated)),
                "n_trials": max(self._n_trials, n_told),
                "n_told": n_told,
                "n_failed": self._counts[TrialState.FAIL],
                "n_pruned": self._counts[TrialState.PRUNED],
            }
        )


def _of_validation(found: Validation) -> dict[str, Any]:
    return {
        "validated_value": found.value,
        "validated_params": found.params,
        "validated_stderr": found.stderr,
        "validated_interval": found.interval,
        "validated_n_seeds": found.n_seeds,
        "validated_trial": found.number,
    }

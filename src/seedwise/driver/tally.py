"""The progress of a run: its counts, at what rate they grow, and when the work will be done."""

import time
from datetime import timedelta
from typing import Any

from seedwise.driver.work import InFlight, Work
from seedwise.folder.directory import utc_now
from seedwise.model.status import PoolStatus, RunStatus
from seedwise.model.trials import TrialState


class Tally:
    """Reckons the progress of the work on a run."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._in_flight = InFlight()  # when the status was "running" last
        self._validation_began: tuple[float, int] | None = None  # when, and how many were done
        self._n_before = work.counts.total()  # told by earlier drivers
        self._n_seeds = 0  # of this driver's workers
        self._busy_share: float | None = None
        self._began_s = self._told_s = self._worked_s = time.monotonic()

    def begin(self) -> None:
        """Start the clock: what was told before does not count for the rate."""
        self._n_before, self._began_s = self._work.counts.total(), time.monotonic()

    def note_told(self) -> None:
        """Take note that a trial was told."""
        self._told_s = time.monotonic()

    def note_work(self, n_seeds: int, busy_share: float | None) -> None:
        """Take how many seeds the workers evaluated, and how busy they were."""
        self._n_seeds, self._busy_share = n_seeds, busy_share
        self._worked_s = time.monotonic()

    @property
    def validates(self) -> bool:
        """Whether the best trials are being validated."""
        return self._in_flight.n_fresh > 0

    def status(self, state: str, pool: PoolStatus | None = None) -> RunStatus:
        """Return the progress; `state` is "running", "finished" or "stopped"."""
        now, work = utc_now(), self._work
        counts, best, validated = work.counts, work.best, work.validated()
        is_running = state == "running"
        if is_running:
            self._look()
        in_flight, n_told = self._in_flight, counts.total()
        n_in_flight = in_flight.n_trials if is_running else 0
        n_trials = max(work.n_trials, n_told)
        left = n_trials - n_told
        searches = n_in_flight > 0 or not self.validates
        until_s = time.monotonic() if searches else self._told_s
        rate = self._per_s(n_told - self._n_before, until_s)
        left_s = self._validation_left_s()
        if searches:
            left_s = left / rate if left and rate else None
        options, end = work.run.options, None
        may_be_fewer = getattr(options, "max_total_seeds", None) is not None
        if left_s is not None and is_running and not may_be_fewer:
            end = (now + timedelta(seconds=min(left_s, 1e9))).isoformat(timespec="seconds")
        running = min(n_in_flight, left)
        return RunStatus(
            kind=options.kind,
            state=state,
            n_trials=n_trials,
            pending=left - running,
            running=running,
            running_seeds=n_in_flight * work.run.parts.looks.sizes[-1],
            running_seeds_done=in_flight.n_seeds_done if is_running else 0,
            done=counts[TrialState.COMPLETE],
            failed=counts[TrialState.FAIL],
            pruned=counts[TrialState.PRUNED],
            trials_per_s=rate,
            seeds_per_s=self._per_s(self._n_seeds, self._worked_s),
            busy_share=self._busy_share,
            seeds_saved=work.seeds_saved,
            expected_end_utc=end,
            started_at_utc=work.run.history.started_at_utc,
            updated_at_utc=now.isoformat(timespec="seconds"),
            best_value=best.value if best else None,
            best_stderr=best.stderr if best else None,
            validation_seeds=in_flight.n_fresh if state != "finished" else 0,
            validation_seeds_done=in_flight.n_fresh_done if state != "finished" else 0,
            validated_value=validated.value if validated else None,
            validated_stderr=validated.stderr if validated else None,
            entries=work.entries(),
            pool=pool,
        )

    def _look(self) -> None:
        self._in_flight = self._work.in_flight()
        if self.validates and self._validation_began is None:
            self._validation_began = time.monotonic(), self._in_flight.n_fresh_done

    def _per_s(self, count: int, until_s: float) -> float | None:
        return count / max(until_s - self._began_s, 1e-9) if count else None

    def _validation_left_s(self) -> float | None:
        """Return how long the validation still takes; None if unknown."""
        if self._validation_began is None:
            return None
        began_s, n_before = self._validation_began
        n_done, n_fresh = self._in_flight.n_fresh_done, self._in_flight.n_fresh
        if n_done <= n_before:
            return None
        return (n_fresh - n_done) * (time.monotonic() - began_s) / (n_done - n_before)

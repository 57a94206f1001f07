"""What all kinds of runs say of the work that is left to do, and the progress of that work."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from seedwise.driver.run import Run
from seedwise.engine.loop import Job
from seedwise.folder.directory import utc_now
from seedwise.model.status import PoolStatus, RunStatus
from seedwise.model.trials import TrialResult, TrialState
from seedwise.model.validation import Validation
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult

AnyResult: TypeAlias = OptimizeResult | MultiOptimizeResult | SweepResult
Result_co = TypeVar("Result_co", bound=AnyResult, covariant=True)


class InFlight(NamedTuple):
    """What is in flight."""

    n_trials: int = 0
    #: How many of their seeds are evaluated.
    n_seeds_done: int = 0
    #: How many fresh seeds are evaluated, and are to be; none without a validation.
    n_fresh_done: int = 0
    n_fresh: int = 0


class Work(ABC, Generic[Result_co]):
    """What is left to do of a run, whose folder is prepared for it, and what comes of it."""

    #: Whether chunks of several trials may share a Dask task.
    packs: ClassVar[bool] = False

    #: The run as this driver leaves it.
    run: Run
    #: Whether the folder was prepared for work: something was left to do.
    is_prepared: bool
    jobs: Sequence[Job[Any]]
    jobs_at_once: int = 1
    #: How many chunks can be in flight in each part of the work, of all jobs together.
    n_chunks: Sequence[int]
    #: Whether the driver evaluates the seed, too, that workers compare.
    has_witness: bool = True

    @property
    @abstractmethod
    def n_trials(self) -> int:
        """How many trials there are to be in all."""

    @property
    @abstractmethod
    def counts(self) -> Counter[TrialState]:
        """How many trials are told by now, by state."""

    @property
    @abstractmethod
    def best(self) -> TrialResult | None:
        """The best trial told by now; None of entries, which have one each."""

    @property
    def seeds_saved(self) -> int:
        """How many seeds the race has saved by now."""
        return 0

    @property
    @abstractmethod
    def n_seeds_unused(self) -> int:
        """How many seeds were evaluated ahead in vain."""

    @abstractmethod
    def in_flight(self) -> InFlight:
        """Return what is in flight."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, as far as time did not run out."""
        return not self.run.out_of_time() or self.counts.total() >= self.n_trials

    def entries(self) -> dict[str, int] | None:
        """Return how many entries are in which state; None of a run without entries."""
        return None

    def validated(self) -> Validation | None:
        """Return what the validation found; None without one, or until its end."""
        return None

    @abstractmethod
    def so_far(self) -> Result_co:
        """Return the result of what is told by now."""

    def outcome(self) -> str | None:
        """Say how many entries or cases succeeded, and how many failed and why."""
        return self.so_far().outcome

    def remarks(self) -> Sequence[str]:
        """Return what is to be said of the run at its end."""
        return self.so_far().remarks

    @abstractmethod
    def write_summary(self) -> None:
        """Write what ``summary.json`` is to say of the whole run by now."""

    def conclude(self, workplace: Any) -> None:
        """Conclude when all jobs are done, and the workers are still there."""

    def result(self) -> Result_co:
        """Return the result; raises if nothing is complete."""
        return self.so_far()


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

"""The running times of trials, from what workers say when they start a chunk."""

import threading
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs

#: A trial by its entry, its number, and the part of the work: a validation evaluates it again.
TrialKey: TypeAlias = tuple[str | None, int, str]

# A worker that is lost this shortly before the end of its job, or later, was lost to that.
_NEAR_S = 10.0


@attrs.define
class _Runs:
    """How long chunks of a trial have run, at least one at a time, and which run now."""

    ran_s: float = 0.0
    #: The time from which on `ran_s` is not counted yet.
    since_s: float = 0.0
    #: By chunk the worker, and how much longer its job lasted then; None if unknown.
    starts: dict[int, tuple[str, float | None]] = attrs.field(factory=dict)

    def total_s(self, now_s: float) -> float:
        return self.ran_s + (now_s - self.since_s if self.starts else 0.0)


class TrialClock:
    """Measures how long trials run, not counting that they wait; knows when workers' jobs end."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        #: The most time that a job had left when it began a chunk; None if unknown.
        self.longest_left_s: float | None = None
        # When the job of each worker ends, by this process's clock.
        self._ends_s: dict[str, float] = {}
        self._runs: dict[TrialKey, _Runs] = {}
        # Starts are noted in Dask's thread, all else is called in the driver's.
        self._lock = threading.Lock()

    def note_start(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take note of the start of a chunk; Dask's event loop calls this."""
        _, message = event
        trial = message["entry_id"], message["trial"], message["part"]
        worker, left_s = message["worker"], message["left_s"]
        now_s = time.monotonic()
        with self._lock:
            runs = self._runs.setdefault(trial, _Runs())
            if not runs.starts:
                runs.since_s = now_s
            runs.starts[message["chunk"]] = worker, left_s
            if left_s is not None:
                self._ends_s[worker] = now_s + left_s
                self.longest_left_s = max(self.longest_left_s or 0.0, left_s)

    def note_end(self, trial: TrialKey, chunk: int) -> None:
        """Take note of the end of a chunk; if no other one runs, the trial's clock stops."""
        with self._lock:
            runs = self._runs.get(trial)
            if runs is not None and chunk in runs.starts:
                now_s = time.monotonic()
                runs.ran_s, runs.since_s = runs.total_s(now_s), now_s
                del runs.starts[chunk]

    def forget(self, trial: TrialKey, chunk: int) -> None:
        """Forget that a chunk started; if no other runs, the time since an end is not counted."""
        with self._lock:
            if (runs := self._runs.get(trial)) is not None:
                runs.starts.pop(chunk, None)

    def late(self, trials: Iterable[TrialKey]) -> list[TrialKey]:
        """Return the trials among these that have run for too long."""
        now_s = time.monotonic()
        with self._lock:
            return [
                trial
                for trial in trials
                if trial in self._runs and self._runs[trial].total_s(now_s) > self.limit_s
            ]

    def keep_only(self, trials: set[TrialKey]) -> None:
        """Forget all other trials."""
        with self._lock:
            for trial in self._runs.keys() - trials:
                del self._runs[trial]

    def stop(self, trial: TrialKey) -> set[str]:
        """Reset a trial's clock; return the workers that run its chunks."""
        with self._lock:
            runs = self._runs.pop(trial, _Runs())
        return {worker for worker, _ in runs.starts.values()}

    def at_its_end(self, worker: str) -> bool:
        """Tell whether the walltime of a worker's job is over by now, or nearly so."""
        ends_s = self._ends_s.get(worker)
        return ends_s is not None and time.monotonic() >= ends_s - _NEAR_S

    def left_at_start_s(self, trial: TrialKey, chunk: int, worker: str) -> float | None:
        """Return how much longer a worker's job lasted when it began a chunk; None if unknown."""
        with self._lock:
            runs = self._runs.get(trial, _Runs())
            began_on, left_s = runs.starts.get(chunk, (None, None))
        return left_s if began_on == worker else None

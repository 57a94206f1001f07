"""How long trials have run: their chunks say on which worker they start."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs

#: A trial of a run: its entry and its number.
TrialKey: TypeAlias = tuple[str | None, int]

# What is lost so shortly before the end of its job, or later, is lost to that.
_NEAR_S = 10.0


@attrs.frozen
class _Start:
    """Where a chunk started, and for how many seconds its job still lasted; None is not known."""

    worker: str
    left_s: float | None


@attrs.define
class _Runs:
    """How long a trial has run, and what runs of it, by chunk.

    The clock stands while nothing runs. `since_s` is from when on time is not counted yet.
    """

    ran_s: float = 0.0
    since_s: float = 0.0
    starts: dict[int, _Start] = attrs.field(factory=dict)

    def begin(self, chunk: int, start: _Start, now_s: float) -> None:
        if not self.starts:
            self.since_s = now_s
        self.starts[chunk] = start

    def total_s(self, now_s: float) -> float:
        return self.ran_s + (now_s - self.since_s if self.starts else 0.0)


class TrialClock:
    """Measures for how long chunks of a trial run; while all wait for a worker it costs nothing.

    It knows from the same messages when the jobs end that hold the workers.

    Parameters
    ----------
    limit_s : float
        Seconds that a trial may run.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        #: The most time that a job had when it began a chunk, in seconds; None is not known.
        self.longest_left_s: float | None = None
        # What is out of trials, and when a worker's job ends (this process's clock).
        self._runs: dict[TrialKey, _Runs] = {}
        self._ends_s: dict[str, float] = {}
        # Starts come in Dask's thread, all else is asked in the driver's.
        self._lock = threading.Lock()

    @property
    def n_running(self) -> int:
        """How many chunks run."""
        with self._lock:
            return sum(len(runs.starts) for runs in self._runs.values())

    def note_start(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take what a worker says when it starts a chunk; Dask's event loop calls this."""
        _, message = event
        trial = message["entry_id"], message["trial"]
        start = _Start(message["worker"], message["left_s"])
        now_s = time.monotonic()
        with self._lock:
            self._runs.setdefault(trial, _Runs()).begin(message["chunk"], start, now_s)
            if start.left_s is not None:
                self._ends_s[start.worker] = now_s + start.left_s
                self.longest_left_s = max(self.longest_left_s or 0.0, start.left_s)

    def note_end(self, trial: TrialKey, chunk: int) -> None:
        """Take note that a chunk is done; without another, the trial's clock stands."""
        with self._lock:
            runs = self._runs.get(trial)
            if runs is not None and chunk in runs.starts:
                now_s = time.monotonic()
                runs.ran_s, runs.since_s = runs.total_s(now_s), now_s
                del runs.starts[chunk]

    def forget(self, trial: TrialKey, chunk: int) -> None:
        """Take a chunk for one that never started.

        Without another, the trial's clock stands, and the time since one was done counts for
        nothing.
        """
        with self._lock:
            if (runs := self._runs.get(trial)) is not None:
                runs.starts.pop(chunk, None)

    def late(self, trials: Iterable[TrialKey]) -> list[TrialKey]:
        """Return which of these trials have run for too long."""
        now_s = time.monotonic()
        with self._lock:
            return [
                trial
                for trial in trials
                if trial in self._runs and self._runs[trial].total_s(now_s) > self.limit_s
            ]

    def keep_only(self, trials: set[TrialKey]) -> None:
        """Forget the trials of which nothing is out."""
        with self._lock:
            for trial in self._runs.keys() - trials:
                del self._runs[trial]

    def stop(self, trial: TrialKey) -> set[str]:
        """Set a trial's clock back to nothing; return the workers that run its chunks."""
        with self._lock:
            runs = self._runs.pop(trial, _Runs())
        return {start.worker for start in runs.starts.values()}

    def at_its_end(self, worker: str) -> bool:
        """Tell whether a worker's job is at the end of its walltime now."""
        ends_s = self._ends_s.get(worker)
        return ends_s is not None and time.monotonic() >= ends_s - _NEAR_S

    def left_at_start_s(self, trial: TrialKey, chunk: int, worker: str) -> float | None:
        """Return for how long a worker's job lasted when it began a chunk; None if it did not."""
        with self._lock:
            runs = self._runs.get(trial, _Runs())
            start = runs.starts.get(chunk)
        return start.left_s if start is not None and start.worker == worker else None

"""How long trials have run: their chunks say on which worker they start."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs

__all__ = ["TrialClock", "TrialKey"]

#: A trial of a run: its entry and its number.
TrialKey: TypeAlias = tuple[str | None, int]

# What is lost so shortly before the end of its job, or later, is lost to that.
_NEAR_S = 10.0


@attrs.frozen
class _Start:
    """Where a chunk started, and for how many seconds its job still lasted; None is not known."""

    worker: str
    left_s: float | None


class TrialClock:
    """Measures trials from the start of their first chunk; what waits for a worker costs nothing.

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
        # When a trial's first chunk started and when a worker's job ends (this process's clock),
        # and where each chunk runs.
        self._started_s: dict[TrialKey, float] = {}
        self._ends_s: dict[str, float] = {}
        self._runs_on: dict[tuple[TrialKey, int], _Start] = {}

    def note_start(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take what a worker says when it starts a chunk; Dask's event loop calls this."""
        _, message = event
        trial = message["entry_id"], message["trial"]
        start = _Start(message["worker"], message["left_s"])
        now_s = time.monotonic()
        self._started_s.setdefault(trial, now_s)
        self._runs_on[trial, message["chunk"]] = start
        if start.left_s is not None:
            self._ends_s[start.worker] = now_s + start.left_s
            self.longest_left_s = max(self.longest_left_s or 0.0, start.left_s)

    def note_end(self, trial: TrialKey, chunk: int) -> None:
        """Take note that a chunk is done."""
        self._runs_on.pop((trial, chunk), None)

    def forget(self, trial: TrialKey, chunk: int) -> None:
        """Stop a trial's clock if none of its chunks runs any more, this one included."""
        self._runs_on.pop((trial, chunk), None)
        if not any(other == trial for other, _ in list(self._runs_on)):
            self._started_s.pop(trial, None)

    def late(self, trials: Iterable[TrialKey]) -> list[TrialKey]:
        """Return which of these trials have run for too long."""
        now_s = time.monotonic()
        due_s = now_s - self.limit_s
        return [trial for trial in trials if self._started_s.get(trial, now_s) < due_s]

    def keep_only(self, trials: set[TrialKey]) -> None:
        """Forget the trials of which nothing is out."""
        for trial in set(self._started_s) - trials:
            self._started_s.pop(trial, None)

    def stop(self, trial: TrialKey, chunks: Iterable[int]) -> set[str]:
        """Stop a trial's clock; return the workers that run its chunks."""
        self._started_s.pop(trial, None)
        starts = [self._runs_on.pop((trial, chunk), None) for chunk in chunks]
        return {start.worker for start in starts if start is not None}

    def at_its_end(self, worker: str) -> bool:
        """Tell whether a worker's job is at the end of its walltime now."""
        ends_s = self._ends_s.get(worker)
        return ends_s is not None and time.monotonic() >= ends_s - _NEAR_S

    def left_at_start_s(self, trial: TrialKey, chunk: int, worker: str) -> float | None:
        """Return for how long a worker's job lasted when it began a chunk; None if it did not."""
        start = self._runs_on.get((trial, chunk))
        return start.left_s if start is not None and start.worker == worker else None

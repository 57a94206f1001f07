"""How long trials have run: their chunks say on which worker they start."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TypeAlias

__all__ = ["TrialClock", "TrialKey"]

#: A trial of a run: its entry and its number.
TrialKey: TypeAlias = tuple[str | None, int]


class TrialClock:
    """Measures trials from the start of their first chunk; what waits for a worker costs nothing.

    Parameters
    ----------
    limit_s : float
        Seconds that a trial may run.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        # When a trial's first chunk started (this process's clock), and where each chunk runs.
        self._started_s: dict[TrialKey, float] = {}
        self._runs_on: dict[tuple[TrialKey, int], str] = {}

    def note_start(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take what a worker says when it starts a chunk; Dask's event loop calls this."""
        _, message = event
        trial = message["entry_id"], message["trial"]
        self._started_s.setdefault(trial, time.monotonic())
        self._runs_on[trial, message["chunk"]] = message["worker"]

    def note_end(self, trial: TrialKey, chunk: int) -> None:
        """Take note that a chunk is done."""
        self._runs_on.pop((trial, chunk), None)

    def forget(self, trial: TrialKey, chunk: int) -> None:
        """Stop a trial's clock if none of its chunks runs any more, this one included."""
        self._runs_on.pop((trial, chunk), None)
        if not any(other == trial for other, _ in self._runs_on):
            self._started_s.pop(trial, None)

    def late(self, trials: Iterable[TrialKey]) -> list[TrialKey]:
        """Return which of these trials have run for too long."""
        now_s = time.monotonic()
        due_s = now_s - self.limit_s
        return [trial for trial in trials if self._started_s.get(trial, now_s) < due_s]

    def keep_only(self, trials: set[TrialKey]) -> None:
        """Forget the trials of which nothing is out."""
        self._started_s = {t: s for t, s in self._started_s.items() if t in trials}

    def stop(self, trial: TrialKey, chunks: Iterable[int]) -> set[str]:
        """Stop a trial's clock; return the workers that run its chunks."""
        self._started_s.pop(trial, None)
        workers = {self._runs_on.pop((trial, chunk), None) for chunk in chunks}
        return {worker for worker in workers if worker is not None}

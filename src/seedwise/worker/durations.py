"""The durations of recent chunks, and what the next chunk may take by them."""

import math
import threading
from collections import deque

# A chunk is expected to take a fifth more than this quantile of comparable ones: of a few that is
# the slowest, and of many no single one decides.
_QUANTILE = 0.95
_SAFETY = 1.2


class Durations:
    """The durations of the last `most` chunks; threads may share it."""

    def __init__(self, most: int) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=most)
        self._known: dict[int, float | None] = {}
        self._lock = threading.RLock()

    def note(self, n_seeds: int, duration_s: float) -> None:
        """Take note of a finished chunk."""
        with self._lock:
            self._recent.append((n_seeds, duration_s))
            self._known.clear()

    def comparable(self, n_seeds: int) -> list[float]:
        """Return the seconds per seed of chunks of at least half of `n_seeds`; few say little."""
        with self._lock:
            return [took_s / n for n, took_s in self._recent if 2 * n >= n_seeds]

    def needs_s(self, n_seeds: int) -> float | None:
        """Return how long a chunk of `n_seeds` is expected to take at most; None if unknown.

        Where only much smaller chunks are known, it is what they took.
        """
        with self._lock:
            if n_seeds not in self._known:
                self._known[n_seeds] = self._needs_s(n_seeds)
            return self._known[n_seeds]

    def _needs_s(self, n_seeds: int) -> float | None:
        if not self._recent:
            return None
        if per_seed := self.comparable(n_seeds):
            return _high(per_seed) * n_seeds * _SAFETY
        return _high([took_s for _, took_s in self._recent]) * _SAFETY


def _high(values: list[float]) -> float:
    return sorted(values)[math.ceil(_QUANTILE * len(values)) - 1]

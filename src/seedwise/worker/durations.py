"""How long chunks of late have taken, and how long the next one may take by that."""

from __future__ import annotations

import math
import threading
from collections import deque

# Of comparable chunks so many are not slower, and a fifth more is expected: where few are known
# the slowest counts, and of many no single one does.
_QUANTILE = 0.95
_SAFETY = 1.2

# A worker looks at all that it remembers for every chunk, however short.
_WORKER_REMEMBERS = 40

_ATTRIBUTE = "_seedwise_durations"
_lock = threading.Lock()


class Durations:
    """The times of the last chunks; threads may share it.

    Parameters
    ----------
    most : int
        How many chunks it remembers.
    """

    def __init__(self, most: int) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=most)
        self._known: dict[int, float | None] = {}
        self._lock = threading.Lock()

    def note(self, n_seeds: int, duration_s: float) -> None:
        """Take note of a chunk that is done, and of the seconds that it took."""
        with self._lock:
            self._recent.append((n_seeds, duration_s))
            self._known.clear()

    def comparable(self, n_seeds: int) -> list[float]:
        """Return the seconds for a seed of the chunks that a chunk of `n_seeds` is like.

        A chunk of less than half as many seeds says little: most of its time it may have loaded
        the loss.
        """
        with self._lock:
            return self._comparable(n_seeds)

    def needs_s(self, n_seeds: int) -> float | None:
        """Return how long a chunk of `n_seeds` is expected to take at most.

        Parameters
        ----------
        n_seeds : int
            Its seeds.

        Returns
        -------
        float or None
            Seconds; None as long as nothing is known. Where only much smaller chunks are known
            it is what they took: how much of that grows with the seeds cannot be told.
        """
        with self._lock:
            if n_seeds not in self._known:
                self._known[n_seeds] = self._needs_s(n_seeds)
            return self._known[n_seeds]

    def _needs_s(self, n_seeds: int) -> float | None:
        if not self._recent:
            return None
        if per_seed := self._comparable(n_seeds):
            return _high(per_seed) * n_seeds * _SAFETY
        return _high([took_s for _, took_s in self._recent]) * _SAFETY

    def _comparable(self, n_seeds: int) -> list[float]:
        return [took_s / n for n, took_s in self._recent if 2 * n >= n_seeds]


def durations_of(dask_worker: object, loss_id: str) -> Durations:
    """Return what a worker remembers of the chunks of a loss that it has done itself.

    Parameters
    ----------
    dask_worker : distributed.Worker
        The worker; its threads share what is remembered.
    loss_id : str
        The loss's id in its run.
    """
    with _lock:
        of_losses: dict[str, Durations] | None = getattr(dask_worker, _ATTRIBUTE, None)
        if of_losses is None:
            of_losses = {}
            setattr(dask_worker, _ATTRIBUTE, of_losses)
        return of_losses.setdefault(loss_id, Durations(_WORKER_REMEMBERS))


def _high(values: list[float]) -> float:
    return sorted(values)[math.ceil(_QUANTILE * len(values)) - 1]

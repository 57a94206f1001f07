"""How many workers the work can keep busy."""

from __future__ import annotations

import math
from collections import deque

from dask.system import CPU_COUNT

from seedwise.cluster.place import Demand
from seedwise.model.options.work import WorkOptions

# Between two trials nothing is out for a moment, and a slow sampler may take a while: workers that
# were wanted a minute ago are still wanted.
_PAUSE_S = 60.0


class Target:
    """The number of workers that are wanted: chunks out over slots, between bounds.

    It rises at once and falls after a pause.

    Parameters
    ----------
    least, most : int
        The bounds.
    slots_per_worker : int
        Chunks that a worker evaluates at once.
    limit : int or None
        Most workers whatever is asked for; None is no limit.
    pause_s : float
        Seconds for which fewer workers must suffice before fewer are wanted.
    """

    def __init__(
        self,
        least: int,
        most: int,
        slots_per_worker: int,
        limit: int | None = None,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self.least = least
        self.most = most
        self.limit = limit
        self._slots_per_worker = slots_per_worker
        self._pause_s = pause_s
        self._seen: deque[tuple[float, int]] = deque()

    def scale(self, least: int, most: int) -> None:
        """Change the bounds; the limit goes before."""
        most_of_all = most if self.limit is None else self.limit
        self.least, self.most = min(least, most_of_all), min(most, most_of_all)

    @property
    def words(self) -> str:
        """The bounds, in words."""
        least = "" if self.least == self.most else f"{self.least} to "
        workers = "worker" if self.most == 1 else "workers"
        at_limit = f", which is the limit of {self.limit}" if self.most == self.limit else ""
        return f"asked for {least}{self.most} {workers}{at_limit}"

    def wanted(self, chunks_out: int, now_s: float) -> int:
        """Return how many workers are wanted.

        Parameters
        ----------
        chunks_out : int
            Chunks that are evaluated now or wait for a worker.
        now_s : float
            The time, by a clock that never goes back.
        """
        busy = math.ceil(chunks_out / self._slots_per_worker)
        # What was less than this before it no longer matters.
        while self._seen and self._seen[-1][1] <= busy:
            self._seen.pop()
        self._seen.append((now_s, busy))
        while self._seen[0][0] < now_s - self._pause_s:
            self._seen.popleft()
        return max(self.least, min(self.most, self._seen[0][1]))


_MOST_JOBS = 100  # without `workers`: enough for most, and no flood of sbatch calls


def worker_bounds(options: WorkOptions, demand: Demand) -> tuple[int, int]:
    """Return the least and the most workers.

    Parameters
    ----------
    options : WorkOptions
        The run's options; its place is 'local' or 'slurm'.
    demand : Demand
        How much work the run can have in flight.

    Returns
    -------
    least, most : int
        The bounds; equal if the number of workers is fixed.
    """
    limit = options.array_parallelism_limit if options.place == "slurm" else None
    if options.workers is None:
        here = max(1, CPU_COUNT // options.worker_parallelism)
        n_workers = demand.workers(here if options.place == "local" else limit or _MOST_JOBS)
        return n_workers, n_workers
    low, high = options.workers if isinstance(options.workers, tuple) else (options.workers,) * 2
    return (low, high) if limit is None else (min(low, limit), min(high, limit))

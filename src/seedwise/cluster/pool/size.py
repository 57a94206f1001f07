"""How many workers are wanted, and how fast they are asked for."""

import math
from collections import deque

import attrs
from dask.system import CPU_COUNT

from seedwise.cluster.place import Demand
from seedwise.model.options.work import WorkOptions

_MOST_JOBS = 100  # without `workers`: enough for most, and not a flood of sbatch calls

# Between two trials no chunk is out for a moment, or longer if the sampler is slow: workers that
# were wanted a minute ago are still wanted.
_PAUSE_S = 60.0

_MINUTE_S = 60.0
_MOST_DOUBLINGS = 30


@attrs.define(eq=False)
class Target:
    """The number of workers that are wanted; it rises at once and falls after a pause."""

    least: int
    most: int
    _slots_per_worker: int
    #: Most workers whatever is asked for; None means no limit.
    limit: int | None = None
    _seen: deque[tuple[float, int]] = attrs.field(init=False, factory=deque)

    def scale(self, least: int, most: int) -> None:
        """Change the bounds, which never exceed the limit."""
        most_of_all = most if self.limit is None else self.limit
        self.least, self.most = min(least, most_of_all), min(most, most_of_all)

    @property
    def words(self) -> str:
        """The bounds, in words."""
        at_limit = f", which is the limit of {self.limit}" if self.most == self.limit else ""
        return f"{span(self.least, self.most, 'worker')} wanted{at_limit}"

    def wanted(self, chunks_out: int, now_s: float) -> int:
        """Return how many workers are wanted for the chunks that are out, or can be."""
        busy = math.ceil(chunks_out / self._slots_per_worker)
        # Smaller numbers before this one no longer matter.
        while self._seen and self._seen[-1][1] <= busy:
            self._seen.pop()
        self._seen.append((now_s, busy))
        while self._seen[0][0] < now_s - _PAUSE_S:
            self._seen.popleft()
        return max(self.least, min(self.most, self._seen[0][1]))


@attrs.define(eq=False)
class Backoff:
    """Waits longer after each failure in a row, from `first_s` up to `most_s`."""

    _first_s: float
    _most_s: float
    n_failures: int = attrs.field(init=False, default=0)
    _until_s: float = attrs.field(init=False, default=float("-inf"))

    def is_over(self, now_s: float) -> bool:
        """Tell whether it is time for another try."""
        return now_s >= self._until_s

    @property
    def is_on(self) -> bool:
        """Whether the last try failed."""
        return self.n_failures > 0

    def failed(self, now_s: float) -> None:
        """Note a failure."""
        doublings = min(self.n_failures, _MOST_DOUBLINGS)
        self._until_s = now_s + min(self._most_s, self._first_s * 2**doublings)
        self.n_failures += 1

    def succeeded(self) -> None:
        """Note a success."""
        self.n_failures = 0
        self._until_s = float("-inf")


@attrs.define(eq=False)
class Budget:
    """Bounds the jobs that are submitted in a minute, so that no mishap becomes a storm."""

    _spent_s: deque[float] = attrs.field(init=False, factory=deque)

    def left(self, most_workers: int, now_s: float) -> int:
        """Return how many jobs may be submitted now: in a minute a pool may be filled twice."""
        while self._spent_s and self._spent_s[0] < now_s - _MINUTE_S:
            self._spent_s.popleft()
        return max(0, 2 * most_workers + 2 - len(self._spent_s))

    def spend(self, now_s: float) -> None:
        """Note that a job was submitted."""
        self._spent_s.append(now_s)


def span(least: int, most: int, what: str) -> str:
    """Return two bounds of a number in words, such as "2 to 4 workers" or "1 worker"."""
    low = "" if least == most else f"{least} to "
    return f"{low}{most} {what}{'' if most == 1 else 's'}"


def worker_bounds(options: WorkOptions, demand: Demand) -> tuple[int, int]:
    """Return the least and the most workers, on this machine or on Slurm."""
    limit = options.array_parallelism_limit if options.place == "slurm" else None
    if options.workers is None:
        here = max(1, CPU_COUNT // options.worker_parallelism)
        most = here if options.place == "local" else limit or _MOST_JOBS
        of_parts = [demand.workers(most, part) for part in range(len(demand.parts))]
        return 1 if len(of_parts) > 1 else of_parts[0], max(of_parts)
    low, high = options.workers if isinstance(options.workers, tuple) else (options.workers,) * 2
    return (low, high) if limit is None else (min(low, limit), min(high, limit))

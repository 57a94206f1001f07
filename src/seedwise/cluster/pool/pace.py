"""How fast jobs are submitted, and how often Slurm is asked."""

from collections import deque

_MINUTE_S = 60.0
_MOST_DOUBLINGS = 30


class Backoff:
    """Waits longer after each failure in a row, from `first_s` up to `most_s`."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        #: In a row.
        self.n_failures = 0
        self._until_s = float("-inf")

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


class Budget:
    """Bounds the jobs that are submitted in a minute, so that no mishap becomes a storm."""

    def __init__(self) -> None:
        self._spent_s: deque[float] = deque()

    def left(self, most_workers: int, now_s: float) -> int:
        """Return how many jobs may be submitted now: in a minute a pool may be filled twice."""
        while self._spent_s and self._spent_s[0] < now_s - _MINUTE_S:
            self._spent_s.popleft()
        return max(0, 2 * most_workers + 2 - len(self._spent_s))

    def spend(self, now_s: float) -> None:
        """Note that a job was submitted."""
        self._spent_s.append(now_s)

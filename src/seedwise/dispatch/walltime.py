"""What a driver does about the walltime of jobs: chunks say how long they take."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import attrs

from seedwise.dispatch.channel import Order
from seedwise.dispatch.clock import TrialClock
from seedwise.errors import ChunkTooLongError
from seedwise.model.trials import ChunkResult
from seedwise.worker.departure import MARGIN_PART, MARGIN_S
from seedwise.worker.durations import Durations


class Walltime:
    """Has workers begin no chunk that the end of their job would take.

    Parameters
    ----------
    walltime_s : float
        Seconds after which jobs end.
    clock : TrialClock or None
        What knows when chunks start, and on which workers; None if nobody does.
    """

    def __init__(self, walltime_s: float, clock: TrialClock | None) -> None:
        #: Seeds whose evaluation the end of a job broke off.
        self.n_seeds_lost = 0
        self._times = ChunkTimes(walltime_s)
        self._clock = clock
        self._largest = 1

    def with_needs(self, order: Order) -> Order:
        """Return a chunk that is to go out with what it is expected to need by now."""
        self._learn()
        n_seeds = len(order.task.chunk.seeds)
        self._largest = max(self._largest, n_seeds)
        needs_s = self._times.needs_s(n_seeds, order.task.needs_s)
        return Order(order.channel, attrs.evolve(order.task, needs_s=needs_s))

    def note(self, order: Order, result: ChunkResult) -> None:
        """Take note of a chunk that is done."""
        # One that failed did not evaluate all its seeds; one in a process of its own is slower.
        if result.failure is None and not order.task.isolated:
            self._times.note(result.n_seeds, result.duration_s)

    def took(self, worker: str) -> bool:
        """Tell whether a worker was lost because its job was at its end."""
        return self._clock is not None and self._clock.at_its_end(worker)

    def note_taken(self, orders: Sequence[Order], worker: str) -> list[Order]:
        """Take note of a Dask task that was lost in this way; return its chunks, to be sent again.

        Parameters
        ----------
        orders : sequence of Order
            The chunk, or those of the pack.
        worker : str
            Address of the worker.
        """
        assert self._clock is not None  # it knew what took the worker
        self._learn()
        again = []
        for order in orders:
            task, n_seeds = order.task, len(order.task.chunk.seeds)
            left_s = self._clock.left_at_start_s(order.trial, task.chunk.index, worker)
            if left_s is not None:
                self.n_seeds_lost += n_seeds
            if left_s is not None and len(orders) == 1:  # which one of a pack it was nobody knows
                task = attrs.evolve(task, needs_s=self._times.note_lost(n_seeds, left_s))
            again.append(Order(order.channel, task))
        return again

    def check(self) -> None:
        """Refuse to go on if no job lasts for a chunk.

        Raises
        ------
        ChunkTooLongError
            If it is so.
        """
        self._learn()
        self._times.check(self._largest)

    def _learn(self) -> None:
        if self._clock is not None:
            self._times.longest_s = self._clock.longest_left_s


_RECENT = 200


# Of a chunk that its job's end took it is known that it needs more: by this much, to begin with.
_MORE = 1.05


# A job's Python must start and join before its first chunk; what it leaves is measured later.
_START_S = 30.0


# No job is sure to have as much time as the one that had most. What is asked of one is this part
# of that at most: else a chunk would wait for ever, while jobs come, find it too long, and leave.
_SURE_PART = 0.9


class ChunkTimes:
    """What chunks need, by those that are done and those that the end of a job took.

    Parameters
    ----------
    walltime_s : float
        Seconds after which jobs end.
    """

    def __init__(self, walltime_s: float) -> None:
        #: The most time that a job had when it began a chunk, in seconds; None is not known.
        self.longest_s: float | None = None
        self._walltime_s = walltime_s
        self._recent = Durations(_RECENT)
        self._hopeless: tuple[int, float] | None = None

    def note(self, n_seeds: int, duration_s: float) -> None:
        """Take note of a chunk that is done, and of the seconds that it took."""
        self._recent.note(n_seeds, duration_s)

    def needs_s(self, n_seeds: int, at_least_s: float | None = None) -> float | None:
        """Return how long a chunk is expected to take at most.

        Parameters
        ----------
        n_seeds : int
            Its seeds.
        at_least_s : float or None
            What is known of this very chunk; None is nothing.

        Returns
        -------
        float or None
            Seconds, never more than a job is sure to have; None as long as nothing is known.
        """
        known = [s for s in (at_least_s, self._recent.needs_s(n_seeds)) if s is not None]
        return min(max(known), _needs_that_fit(_SURE_PART * self._room_s)) if known else None

    def note_lost(self, n_seeds: int, left_s: float) -> float:
        """Take note of a chunk that the end of its job took.

        Parameters
        ----------
        n_seeds : int
            Its seeds.
        left_s : float
            Seconds for which the job lasted when the chunk began.

        Returns
        -------
        float
            What the chunk needs at least, as far as is known now.
        """
        if left_s >= _SURE_PART * self._room_s:  # it had all that a job is sure to have
            self._hopeless = n_seeds, left_s
        return _MORE * left_s

    def check(self, n_seeds: int) -> None:
        """Refuse to go on with chunks that no job lasts for.

        Parameters
        ----------
        n_seeds : int
            Seeds of the largest chunk.

        Raises
        ------
        ChunkTooLongError
            If it takes longer than a job lasts, or one did. Of the times of chunks about as large
            the median counts, and not the slowest.
        """
        if self._hopeless is not None:
            n_lost, left_s = self._hopeless
            raise ChunkTooLongError(
                n_lost, left_s, self._walltime_s, fits=n_lost // 2, at_least=True
            )
        if alike := self._recent.comparable(n_seeds):
            needs_s = statistics.median(alike) * n_seeds
            most_s = _needs_that_fit(self._room_s)
            if needs_s > most_s:
                fits = int(n_seeds * most_s / needs_s)
                raise ChunkTooLongError(n_seeds, needs_s, self._walltime_s, fits)

    @property
    def _room_s(self) -> float:
        """The most time that a job has for a chunk, as far as is known."""
        if self.longest_s is not None:
            return self.longest_s
        return max(self._walltime_s - _START_S, self._walltime_s / 2)


def _needs_that_fit(room_s: float) -> float:
    """Return the longest time that a worker begins a chunk with, if its job lasts so long."""
    return max(0.0, (room_s - MARGIN_S) / (1 + MARGIN_PART))

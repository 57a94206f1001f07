"""What a driver does about the walltime of jobs: chunks say how long they take."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from seedwise.model.records import ChunkResult
from seedwise.run.channel import Order
from seedwise.run.chunk_times import ChunkTimes
from seedwise.run.trial_clock import TrialClock

__all__ = ["Walltime"]


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

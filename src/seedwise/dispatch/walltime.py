"""The driver's care that no chunk outlasts the walltime of a job."""

import statistics
from collections.abc import Sequence

import attrs

from seedwise.dispatch.channel import Order
from seedwise.dispatch.clock import TrialClock
from seedwise.errors import ChunkTooLongError
from seedwise.model.trials import ChunkResult
from seedwise.worker.departure import MARGIN_PART, MARGIN_S, Durations

_RECENT = 200
# A chunk that the end of its job interrupted needs more time than the job had, at first by this.
_MORE = 1.05
# A job's Python must start and join before its first chunk; what time is left is measured later.
_START_S = 30.0
# No job is sure to have as much time as the one that had most, so a chunk asks for at most this
# part of that: else it would wait for ever, while jobs come, find it too long, and leave.
_SURE_PART = 0.9


class Walltime:
    """Keeps workers from beginning chunks that the end of their job would interrupt.

    It learns from the finished chunks and from those that were interrupted.
    """

    def __init__(self, walltime_s: float, clock: TrialClock) -> None:
        self._walltime_s = walltime_s
        self._clock = clock
        self._recent = Durations(_RECENT)
        self._largest = 1  # the most seeds of a chunk that was sent
        self._hopeless: tuple[int, float] | None = None

    def with_needs(self, order: Order) -> Order:
        """Return a chunk with the time that it may need; never more than a job is sure to have."""
        task = order.task
        self._largest = max(self._largest, len(task.chunk.seeds))
        needs_s = task.needs_by(self._recent)
        if needs_s is not None:
            needs_s = min(needs_s, _needs_that_fit(_SURE_PART * self._room_s))
        return Order(order.channel, attrs.evolve(task, needs_s=needs_s))

    def note(self, order: Order, result: ChunkResult) -> None:
        """Take note of a finished chunk."""
        # A failed chunk did not evaluate all of its seeds; an isolated one is slower.
        if result.failure is None and not order.task.isolated:
            self._recent.note(result.n_seeds, result.duration_s)

    def note_taken(self, orders: Sequence[Order], worker: str) -> list[Order]:
        """Take note of a task that the end of a job took; return its chunks, to be sent again."""
        again = []
        for order in orders:
            task, n_seeds = order.task, len(order.task.chunk.seeds)
            left_s = self._clock.left_at_start_s(order.trial, task.chunk.index, worker)
            if left_s is not None and len(orders) == 1:  # of a pack it is unknown which chunk ran
                task = attrs.evolve(task, needs_s=_MORE * left_s)
                if left_s >= _SURE_PART * self._room_s:  # as much as a job is sure to have
                    self._hopeless = n_seeds, left_s
            again.append(Order(order.channel, task))
        return again

    def check(self) -> None:
        """Raise ChunkTooLongError if a chunk was too long, or the median of the largest is."""
        if self._hopeless is not None:
            n_lost, left_s = self._hopeless
            raise ChunkTooLongError(
                n_lost, left_s, self._walltime_s, fits=n_lost // 2, at_least=True
            )
        n_seeds = self._largest
        if alike := self._recent.comparable(n_seeds):
            needs_s = statistics.median(alike) * n_seeds
            most_s = _needs_that_fit(self._room_s)
            if needs_s > most_s:
                fits = int(n_seeds * most_s / needs_s)
                raise ChunkTooLongError(n_seeds, needs_s, self._walltime_s, fits)

    @property
    def _room_s(self) -> float:
        """The most time that a job has for a chunk, as far as it is known."""
        if self._clock.longest_left_s is not None:
            return self._clock.longest_left_s
        return max(self._walltime_s - _START_S, self._walltime_s / 2)


def _needs_that_fit(room_s: float) -> float:
    """Return the longest chunk that a worker still begins if its job lasts `room_s`."""
    return max(0.0, (room_s - MARGIN_S) / (1 + MARGIN_PART))

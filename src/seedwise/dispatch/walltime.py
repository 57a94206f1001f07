"""The driver's care that no chunk outlasts the walltime of a job."""

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

    Without a clock it is unknown when chunks start, and on which workers.
    """

    def __init__(self, walltime_s: float, clock: TrialClock | None) -> None:
        self._times = ChunkTimes(walltime_s)
        self._clock = clock
        self._largest = 1

    def with_needs(self, order: Order) -> Order:
        """Return a chunk together with the time that it is expected to need."""
        self._learn()
        n_seeds = len(order.task.chunk.seeds)
        self._largest = max(self._largest, n_seeds)
        needs_s = self._times.needs_s(n_seeds, order.task.needs_s)
        return Order(order.channel, attrs.evolve(order.task, needs_s=needs_s))

    def note(self, order: Order, result: ChunkResult) -> None:
        """Take note of a finished chunk."""
        # A failed chunk did not evaluate all of its seeds; an isolated one is slower.
        if result.failure is None and not order.task.isolated:
            self._times.note(result.n_seeds, result.duration_s)

    def took(self, worker: str) -> bool:
        """Tell whether a worker was lost to the end of its job."""
        return self._clock is not None and self._clock.at_its_end(worker)

    def note_taken(self, orders: Sequence[Order], worker: str) -> list[Order]:
        """Take note of a task that was lost in this way; return its chunks, to be sent again."""
        assert self._clock is not None  # without it no worker is known to be lost so
        self._learn()
        again = []
        for order in orders:
            task, n_seeds = order.task, len(order.task.chunk.seeds)
            left_s = self._clock.left_at_start_s(order.trial, task.chunk.index, worker)
            if left_s is not None and len(orders) == 1:  # of a pack it is unknown which chunk ran
                task = attrs.evolve(task, needs_s=self._times.note_lost(n_seeds, left_s))
            again.append(Order(order.channel, task))
        return again

    def check(self) -> None:
        """Raise ChunkTooLongError if no job lasts long enough for a chunk."""
        self._learn()
        self._times.check(self._largest)

    def _learn(self) -> None:
        if self._clock is not None:
            self._times.longest_s = self._clock.longest_left_s


class ChunkTimes:
    """How long chunks take, by the finished ones and those that the end of a job interrupted."""

    def __init__(self, walltime_s: float) -> None:
        #: The most time that a job had left when it began a chunk; None if unknown.
        self.longest_s: float | None = None
        self._walltime_s = walltime_s
        self._recent = Durations(_RECENT)
        self._hopeless: tuple[int, float] | None = None

    def note(self, n_seeds: int, duration_s: float) -> None:
        """Take note of a finished chunk."""
        self._recent.note(n_seeds, duration_s)

    def needs_s(self, n_seeds: int, at_least_s: float | None = None) -> float | None:
        """Return how long a chunk is expected to take at most; None if unknown.

        That is never more than a job is sure to have. `at_least_s` is what is known of this very
        chunk.
        """
        known = [s for s in (at_least_s, self._recent.needs_s(n_seeds)) if s is not None]
        return min(max(known), _needs_that_fit(_SURE_PART * self._room_s)) if known else None

    def note_lost(self, n_seeds: int, left_s: float) -> float:
        """Take note of a chunk that the end of its job interrupted; return what it needs at least.

        `left_s` is how much longer the job lasted when the chunk began.
        """
        if left_s >= _SURE_PART * self._room_s:  # it had as much as a job is sure to have
            self._hopeless = n_seeds, left_s
        return _MORE * left_s

    def check(self, n_seeds: int) -> None:
        """Raise ChunkTooLongError if chunks of `n_seeds` take longer than a job lasts, or one did.

        Of the chunks of about this size the median counts, not the slowest.
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
        """The most time that a job has for a chunk, as far as it is known."""
        if self.longest_s is not None:
            return self.longest_s
        return max(self._walltime_s - _START_S, self._walltime_s / 2)


def _needs_that_fit(room_s: float) -> float:
    """Return the longest chunk that a worker still begins if its job lasts `room_s`."""
    return max(0.0, (room_s - MARGIN_S) / (1 + MARGIN_PART))

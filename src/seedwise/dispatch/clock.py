"""The times of trials and of jobs: no chunk is to outlast the walltime of its worker's job."""

import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from seedwise.dispatch.channel import Order, TrialKey
from seedwise.errors import ChunkTooLongError
from seedwise.model.trials import ChunkResult
from seedwise.worker.departure import MARGIN_PART, MARGIN_S, Durations

# A worker that is lost this shortly before the end of its job, or later, was lost to that.
_NEAR_S = 10.0
_RECENT = 200
# A chunk that the end of its job interrupted needs more time than the job had, at first by this.
_MORE = 1.05
# A job's Python must start and join before its first chunk; what time is left is measured later.
_START_S = 30.0
# No job is sure to have as much time as the one that had most, so a chunk asks for at most this
# part of that: else it would wait for ever, while jobs come, find it too long, and leave.
_SURE_PART = 0.9


@attrs.define
class _Runs:
    """How long chunks of a trial have run, at least one at a time, and which run now."""

    ran_s: float = 0.0
    #: The time from which on `ran_s` is not counted yet.
    since_s: float = 0.0
    #: By chunk the worker, and how much longer its job lasted then; None if unknown.
    starts: dict[int, tuple[str, float | None]] = attrs.field(factory=dict)

    def total_s(self, now_s: float) -> float:
        return self.ran_s + (now_s - self.since_s if self.starts else 0.0)


class TrialClock:
    """Measures how long trials run, not counting that they wait; knows when workers' jobs end."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        #: The most time that a job had left when it began a chunk; None if unknown.
        self.longest_left_s: float | None = None
        # When the job of each worker ends, by this process's clock.
        self._ends_s: dict[str, float] = {}
        self._runs: dict[TrialKey, _Runs] = {}
        # Starts are noted in Dask's thread, all else is called in the driver's.
        self._lock = threading.Lock()

    def note_start(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take note of the start of a chunk; Dask's event loop calls this."""
        _, message = event
        trial = message["entry_id"], message["trial"], message["part"]
        worker, left_s = message["worker"], message["left_s"]
        now_s = time.monotonic()
        with self._lock:
            runs = self._runs.setdefault(trial, _Runs())
            if not runs.starts:
                runs.since_s = now_s
            runs.starts[message["chunk"]] = worker, left_s
            if left_s is not None:
                self._ends_s[worker] = now_s + left_s
                self.longest_left_s = max(self.longest_left_s or 0.0, left_s)

    def note_end(self, trial: TrialKey, chunk: int) -> None:
        """Take note of the end of a chunk; if no other one runs, the trial's clock stops."""
        with self._lock:
            runs = self._runs.get(trial)
            if runs is not None and chunk in runs.starts:
                now_s = time.monotonic()
                runs.ran_s, runs.since_s = runs.total_s(now_s), now_s
                del runs.starts[chunk]

    def forget(self, trial: TrialKey, chunk: int) -> None:
        """Forget that a chunk started; if no other runs, the time since an end is not counted."""
        with self._lock:
            if (runs := self._runs.get(trial)) is not None:
                runs.starts.pop(chunk, None)

    def late(self, trials: Iterable[TrialKey]) -> list[TrialKey]:
        """Return the trials among these that have run for too long."""
        now_s = time.monotonic()
        with self._lock:
            return [
                trial
                for trial in trials
                if trial in self._runs and self._runs[trial].total_s(now_s) > self.limit_s
            ]

    def keep_only(self, trials: set[TrialKey]) -> None:
        """Forget all other trials."""
        with self._lock:
            for trial in self._runs.keys() - trials:
                del self._runs[trial]

    def stop(self, trial: TrialKey) -> set[str]:
        """Reset a trial's clock; return the workers that run its chunks."""
        with self._lock:
            runs = self._runs.pop(trial, _Runs())
        return {worker for worker, _ in runs.starts.values()}

    def at_its_end(self, worker: str) -> bool:
        """Tell whether the walltime of a worker's job is over by now, or nearly so."""
        ends_s = self._ends_s.get(worker)
        return ends_s is not None and time.monotonic() >= ends_s - _NEAR_S

    def left_at_start_s(self, trial: TrialKey, chunk: int, worker: str) -> float | None:
        """Return how much longer a worker's job lasted when it began a chunk; None if unknown."""
        with self._lock:
            runs = self._runs.get(trial, _Runs())
            began_on, left_s = runs.starts.get(chunk, (None, None))
        return left_s if began_on == worker else None


class Walltime:
    """Keeps workers from chunks that their job's end would interrupt; it learns from those."""

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

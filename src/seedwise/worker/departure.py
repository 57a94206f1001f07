"""A worker's orderly departure: it finishes what it has begun, and begins nothing more."""

import asyncio
import math
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

#: A chunk begins only if the job lasts this part, and so many seconds, longer than it needs.
MARGIN_PART = 0.05
MARGIN_S = 5.0

_JOB_ENDS_AT = "SEEDWISE_JOB_ENDS_AT"
_FLAG = "_seedwise_departs"
_LOOK_S = 0.1
# A driver fetches results at once, unless it has died or its sampler takes long.
_FETCH_LIMIT_S = 60.0
_RETIRE_LIMIT_S = 10.0

# A chunk is expected to take a fifth more than this quantile of comparable ones: of a few that is
# the slowest, and of many no single one decides.
_QUANTILE = 0.95
_SAFETY = 1.2

# Names of Dask's states: this module can be used without Dask.
_ALIVE = {"running", "paused", "closing_gracefully"}
_BEGUN = {"executing", "long-running", "resumed"}
_WAITING = {"waiting", "ready", "constrained"}

_lock = threading.Lock()


def depart(dask_worker: Any, reason: str) -> None:
    """Have a worker leave once its running chunks are finished and fetched.

    What waits on it goes to other workers, and so do results that nobody fetches within a minute.
    `Client.run` fills in `dask_worker`, by that name.
    """
    with _lock:
        if is_departing(dask_worker):
            return
        setattr(dask_worker, _FLAG, True)
    dask_worker.loop.add_callback(_leave, dask_worker, reason)


def is_departing(dask_worker: Any) -> bool:
    """Tell whether a worker is leaving."""
    return getattr(dask_worker, _FLAG, False)


def job_left_s() -> float | None:
    """Return how much longer this worker's job lasts; None without a walltime."""
    ends_at = os.environ.get(_JOB_ENDS_AT)
    return float(ends_at) - time.time() if ends_at else None


def leaves_before(dask_worker: Any, needs_s: float | None) -> bool:
    """Tell whether another worker must evaluate a chunk; for want of time, begin to leave."""
    if is_departing(dask_worker):
        return True
    left_s = job_left_s()
    if needs_s is None or left_s is None or needs_s * (1 + MARGIN_PART) + MARGIN_S <= left_s:
        return False
    depart(dask_worker, "walltime")
    return True


async def _leave(worker: Any, reason: str) -> None:
    # Only the scheduler is told of a pause: a worker that really pauses starts nothing that it
    # has, not even to send it back. This message arrives before that of any task that ends later.
    stimulus = {"stimulus_id": f"seedwise-depart-{time.time()}"}
    worker.batched_send({"op": "worker-status-change", "status": "paused", **stimulus})
    until_s = math.inf
    while worker.status.name in _ALIVE:
        states = {task.key: task.state for task in worker.state.tasks.values()}
        for key, state in states.items():
            if state in _WAITING:  # others may take it: the running ones may take long
                worker.batched_send({"op": "reschedule", "key": key, **stimulus})
        if not _BEGUN.isdisjoint(states.values()):
            until_s = math.inf
        elif not worker.data or time.monotonic() > until_s:
            break
        else:
            until_s = min(until_s, time.monotonic() + _FETCH_LIMIT_S)
        await asyncio.sleep(_LOOK_S)
    # For the scheduler a retired worker has left and is not lost, so the tasks that it got a
    # moment ago are charged with nothing. Its results go to other workers, if there are any.
    with suppress(OSError, TimeoutError):
        retirement = worker.scheduler.retire_workers(
            workers=[worker.address], close_workers=False, remove=True, **stimulus
        )
        await asyncio.wait_for(retirement, _RETIRE_LIMIT_S)
    # The result of a chunk that still runs is not needed.
    await worker.close(nanny=True, executor_wait=False, reason=reason)


class Durations:
    """The durations of the last `most` chunks; threads may share it."""

    def __init__(self, most: int) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=most)
        self._known: dict[int, float] = {}
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
        """Return what a chunk should take at most, or far smaller ones took; None if unknown."""
        with self._lock:
            if self._recent and n_seeds not in self._known:
                per_seed = self.comparable(n_seeds)
                known = sorted(per_seed or [took_s for _, took_s in self._recent])
                high = known[math.ceil(_QUANTILE * len(known)) - 1]
                self._known[n_seeds] = high * (n_seeds if per_seed else 1) * _SAFETY
            return self._known.get(n_seeds)

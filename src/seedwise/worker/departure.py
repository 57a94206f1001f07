"""How a worker leaves in good order: it ends what it has begun, and begins nothing more."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from typing import Any

#: A chunk is begun only if its job lasts for what it needs, this part more, and as many seconds.
MARGIN_PART = 0.05
MARGIN_S = 5.0

_JOB_ENDS_AT = "SEEDWISE_JOB_ENDS_AT"
_FLAG = "_seedwise_departs"
_LOOK_S = 0.1
# A driver fetches results at once, unless it is gone or its sampler takes long.
_FETCH_LIMIT_S = 60.0
_RETIRE_LIMIT_S = 10.0

# By name: this module is of use without Dask, too.
_ALIVE = {"running", "paused", "closing_gracefully"}
_BEGUN = {"executing", "long-running", "resumed"}
_WAITING = {"waiting", "ready", "constrained"}

_lock = threading.Lock()


def depart(dask_worker: Any, reason: str) -> None:
    """Have a worker leave when what it evaluates now is done and fetched.

    From now on it is given nothing, and what waits on it goes to other workers. In the end it
    closes with its nanny, so that the process of its Slurm job ends with exit code 0.

    Parameters
    ----------
    dask_worker : distributed.Worker
        The worker; ``client.run(depart, reason=..., workers=[address])`` fills it in.
    reason : str
        Why it leaves; the worker logs it.

    Notes
    -----
    May be called from any thread of the worker, and again. If results are not fetched within a
    minute, they are left to other workers, or are evaluated again.
    """
    with _lock:
        if is_departing(dask_worker):
            return
        setattr(dask_worker, _FLAG, True)
    dask_worker.loop.add_callback(_begin, dask_worker, reason)


def is_departing(dask_worker: Any) -> bool:
    """Tell whether a worker is about to leave."""
    return getattr(dask_worker, _FLAG, False)


def job_left_s() -> float | None:
    """Return for how many seconds this worker's job lasts; None without a walltime."""
    ends_at = os.environ.get(_JOB_ENDS_AT)
    return float(ends_at) - time.time() if ends_at else None


def leaves_before(dask_worker: Any, needs_s: float | None) -> bool:
    """Tell whether a worker leaves before a chunk could be done; it then begins to leave.

    Parameters
    ----------
    dask_worker : distributed.Worker
        The worker.
    needs_s : float or None
        Seconds that the chunk takes at most; None is not known.

    Returns
    -------
    bool
        Whether the chunk is to be evaluated by another worker.
    """
    if is_departing(dask_worker):
        return True
    left_s = job_left_s()
    if needs_s is None or left_s is None or needs_s * (1 + MARGIN_PART) + MARGIN_S <= left_s:
        return False
    depart(dask_worker, "walltime")
    return True


def _begin(worker: Any, reason: str) -> None:
    # Only the scheduler is told that it is paused: one that pauses itself would start nothing that
    # it has, not even to send it back. This message goes before that of any task that ends later.
    worker.batched_send(
        {"op": "worker-status-change", "status": "paused", "stimulus_id": _stimulus()}
    )
    worker.loop.add_callback(_leave, worker, reason)


async def _leave(worker: Any, reason: str) -> None:
    until_s = None
    while worker.status.name in _ALIVE:
        _give_back(worker)
        if any(task.state in _BEGUN for task in worker.state.tasks.values()):
            until_s = None
        elif not worker.data:
            break
        elif until_s is None:
            until_s = time.monotonic() + _FETCH_LIMIT_S
        elif time.monotonic() > until_s:
            break
        await asyncio.sleep(_LOOK_S)
    # The scheduler takes a worker that it retires for one that left, and not for one that was
    # lost: what it gave to it a moment ago costs nothing. Results go to other workers, if any.
    with suppress(OSError, TimeoutError):
        retirement = worker.scheduler.retire_workers(
            workers=[worker.address], close_workers=False, remove=True, stimulus_id=_stimulus()
        )
        await asyncio.wait_for(retirement, _RETIRE_LIMIT_S)
    # A chunk that still runs is wanted by nobody.
    await worker.close(nanny=True, executor_wait=False, reason=reason)


def _give_back(worker: Any) -> None:
    """Have the scheduler give to others what has not begun: what runs may run for long."""
    for task in worker.state.tasks.values():
        if task.state in _WAITING:
            message = {"op": "reschedule", "key": task.key, "stimulus_id": _stimulus()}
            worker.batched_send(message)


def _stimulus() -> str:
    return f"seedwise-depart-{time.time()}"

"""Whose fault it was that a job ended, of chunks that were alone in a process of their own.

Such a chunk may have taken down more than its process, say by taking memory faster than anybody
could look, so that Slurm ended the job. It may also just have been there when the cluster took the
job away. Slurm tells the two apart, a moment later.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from seedwise.dispatch.channel import Order
from seedwise.model.trials import ChunkResult, FailureKind, SeedFailure
from seedwise.worker.chunk import ChunkTask

# Slurm is asked for so long why a job ended; then it is held to be nobody's fault.
_PATIENCE_S = 15.0


@attrs.frozen(eq=False)
class _Held:
    order: Order
    worker: str
    until_s: float


class Blame:
    """Holds chunks back until it is known whose fault it was.

    Parameters
    ----------
    fault : callable
        Tells by a worker's name why it was lost, if that was its own doing; empty if it was not,
        None while nobody knows.
    clock : callable
        The time in seconds, by a clock that never goes back.
    """

    def __init__(
        self,
        fault: Callable[[str], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fault = fault
        self._clock = clock
        self._held: list[_Held] = []

    def __len__(self) -> int:
        """Return how many chunks are held."""
        return len(self._held)

    def hold(self, order: Order, worker: str) -> None:
        """Take a chunk in whose worker, by its name, was lost."""
        self._held.append(_Held(order, worker, self._clock() + _PATIENCE_S))

    def forget(self, unwanted: Callable[[Order], bool]) -> None:
        """Forget chunks."""
        self._held = [held for held in self._held if not unwanted(held.order)]

    def settled(self) -> tuple[list[Order], list[tuple[Order, ChunkResult]]]:
        """Return the chunks of which it is known by now, and hold them no longer.

        Returns
        -------
        list of Order
            Those that are to be evaluated again, at no charge.
        list of (Order, ChunkResult)
            Those that took down their worker, with what stands for their result.
        """
        again: list[Order] = []
        results: list[tuple[Order, ChunkResult]] = []
        held, self._held = self._held, []
        for one in held:
            words = self._fault(one.worker)
            if words:
                results.append((one.order, died(one.order.task, words)))
            elif words is not None or self._clock() > one.until_s:
                again.append(one.order)
            else:
                self._held.append(one)
        return again, results


def given_up(task: ChunkTask, error: BaseException | None) -> ChunkResult:
    """Return the result of a chunk that Dask could not have evaluated."""
    return _failed(task, type(error).__name__, str(error))


def died(task: ChunkTask, words: str) -> ChunkResult:
    """Return the result of a chunk that took down its worker with all its processes."""
    return _failed(task, "WorkerDied", words, FailureKind.DIED)


def overran(task: ChunkTask, limit_s: float) -> ChunkResult:
    """Return the result of a chunk whose trial ran for more than `limit_s` seconds."""
    text = f"the trial ran for more than slurm_timeout_minutes={limit_s / 60:g}"
    return _failed(task, "TrialTimeout", text)


def _failed(
    task: ChunkTask, exception_type: str, text: str, kind: FailureKind = FailureKind.LOSS
) -> ChunkResult:
    message = text.partition("\n")[0]
    failure = SeedFailure(task.chunk.start, None, exception_type, message, text, kind)
    return ChunkResult(
        trial=task.trial,
        chunk=task.chunk.index,
        attempt=task.attempt,
        start=task.chunk.start,
        n_seeds=len(task.chunk.seeds),
        failure=failure,
    )

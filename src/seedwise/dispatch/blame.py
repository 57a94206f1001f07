"""Chunks whose worker was lost, until it is known whether they are to blame.

Each was alone in a process of its own. It may have taken down more than that process, say by
taking memory so fast that Slurm ended the job. Or the cluster took the job away for another
reason. Slurm tells the two apart, a moment later.
"""

import time
from collections.abc import Callable

from seedwise.dispatch.channel import Order
from seedwise.model.trials import ChunkResult, FailureKind, SeedFailure
from seedwise.worker.chunk import ChunkTask

# Slurm is asked this long why a job ended; after that the chunk is not to blame.
_PATIENCE_S = 15.0


class Blame:
    """Holds chunks back until it is known whether they are to blame; see `Place.fault`."""

    def __init__(self, fault: Callable[[str], str | None]) -> None:
        self._fault = fault
        self._held: list[tuple[Order, str, float]] = []  # with worker and end of patience

    def __len__(self) -> int:
        """Return the number of chunks that are held back."""
        return len(self._held)

    def hold(self, order: Order, worker: str) -> None:
        """Hold back a chunk that lost the worker of this name."""
        self._held.append((order, worker, time.monotonic() + _PATIENCE_S))

    def forget(self, unwanted: Callable[[Order], bool]) -> None:
        """Drop the unwanted chunks."""
        self._held = [held for held in self._held if not unwanted(held[0])]

    def settled(self) -> tuple[list[Order], list[tuple[Order, ChunkResult]]]:
        """Release the chunks to be evaluated again, and those to blame, with their results."""
        again: list[Order] = []
        results: list[tuple[Order, ChunkResult]] = []
        held, self._held = self._held, []
        for order, worker, until_s in held:
            words = self._fault(worker)
            if words:
                results.append((order, failed(order.task, "WorkerDied", words, FailureKind.DIED)))
            elif words is not None or time.monotonic() > until_s:
                again.append(order)
            else:
                self._held.append((order, worker, until_s))
        return again, results


def failed(
    task: ChunkTask, exception_type: str, text: str, kind: FailureKind = FailureKind.LOSS
) -> ChunkResult:
    """Return what stands for the result of a chunk of which none will come."""
    message = text.partition("\n")[0]
    failure = SeedFailure(task.chunk.start, None, exception_type, message, text, kind)
    return task.result(failure=failure)

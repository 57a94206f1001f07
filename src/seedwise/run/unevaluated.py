"""What stands for the result of a chunk of which none will come."""

from __future__ import annotations

from seedwise.model.records import ChunkResult, FailureKind, SeedFailure
from seedwise.worker.evaluate import ChunkTask

__all__ = ["died", "given_up", "overran"]


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

"""A chunk as it travels to a worker, and its evaluation there."""

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from seedwise.model.seeds import Chunk
from seedwise.model.space import ParamValue
from seedwise.model.trials import ChunkResult
from seedwise.worker.block import Context, SeedBlock, TrialDir, failure_from
from seedwise.worker.departure import Durations, job_left_s, leaves_before

_PACK_LIMIT_S = 0.5


@attrs.frozen
class Reference:
    """The seed that every worker evaluates once, so that its value can be compared."""

    trial: int
    params: dict[str, ParamValue]
    seed: int
    entry_id: str | None
    #: Its position in the seed plan.
    start: int

    @property
    def chunk(self) -> Chunk:
        """The seed as a chunk."""
        return Chunk(0, self.start, np.array([self.seed], dtype=np.int64))


@attrs.frozen(eq=False)
class ChunkTask:
    """A chunk of a trial, as it travels to a worker."""

    #: The loss's id in this run, and the name of the worker's plugin that holds it.
    loss_id: str
    trial: int
    params: dict[str, ParamValue]
    entry_id: str | None
    chunk: Chunk
    #: Which evaluation of the chunk this is, from 1.
    attempt: int = 1
    #: Dask topic on which the worker says that it starts; None for silence.
    topic: str | None = None
    #: Whether it needs a process of its own, because it may have killed a worker.
    isolated: bool = False
    #: None means no limit.
    time_limit_s: float | None = None
    #: Parent of the folders that evaluations write to, absolute, two levels below the run's
    #: folder; None if files can't be written.
    attempts_dir: str | None = None
    #: How the name of an evaluation's folder begins, such as ``trial_007``.
    folder_stem: str = ""
    #: How long it was expected to take, at most, when it was sent; None if unknown.
    needs_s: float | None = None
    #: What the worker is to evaluate before its first chunk; None for nothing.
    reference: Reference | None = None
    #: See `Channel`.
    part: str = ""

    def needs_by(self, durations: Durations) -> float | None:
        """Return how long it is expected to take at most, now that these are known."""
        known = (self.needs_s, durations.needs_s(len(self.chunk.seeds)))
        return max((s for s in known if s is not None), default=None)

    def result(self, **found: Any) -> ChunkResult:
        """Return what was found of the chunk as its result."""
        return ChunkResult(
            trial=self.trial,
            chunk=self.chunk.index,
            attempt=self.attempt,
            start=self.chunk.start,
            n_seeds=len(self.chunk.seeds),
            **found,
        )

    def fresh_context(self) -> Context:
        """Return the loss's context, with a new folder: two workers may evaluate a chunk."""
        items = {"entry_id": self.entry_id, "trial_number": self.trial}
        if self.attempts_dir is None:
            return Context(items, None)
        attempts_dir = Path(self.attempts_dir)
        name = f"{self.folder_stem}-{self.chunk.start}-{secrets.token_hex(4)}"
        return Context(items, TrialDir(attempts_dir / name, run_dir=attempts_dir.parents[1]))


def evaluate_chunk(task: ChunkTask) -> ChunkResult:
    """Evaluate a chunk on a Dask worker; Reschedule if that leaves, or has too little time."""
    # Imported here, so that the rest of this module can be used without Dask.
    from distributed import Reschedule, get_worker

    worker = get_worker()
    plugin = worker.plugins[task.loss_id]
    # All chunks of a trial go out at once, those of the first trials before anything was known. So
    # what this worker has measured since then counts as well.
    if leaves_before(worker, task.needs_by(plugin.durations)):
        raise Reschedule
    if task.topic is not None:
        message = {
            "entry_id": task.entry_id,
            "trial": task.trial,
            "part": task.part,
            "chunk": task.chunk.index,
            "worker": worker.address,
            "left_s": job_left_s(),
        }
        worker.log_event(task.topic, message)
    context = task.fresh_context()
    reference: float | None = None
    began_s = time.perf_counter()
    try:
        reference = plugin.evaluate_reference(task)
        began_s = time.perf_counter()  # it counts in no estimate
        block = plugin.evaluate(task, context)
    except Reschedule:  # the worker leaves; Dask gives the chunk to another
        raise
    except BaseException as error:  # such as: the loss can't be loaded
        block = SeedBlock(None, failure_from(error, task.chunk.start, seed=None))
    duration_s = time.perf_counter() - began_s
    # A failed chunk did not evaluate all of its seeds; an isolated one is slower.
    if block.failure is None and not task.isolated:
        plugin.durations.note(len(task.chunk.seeds), duration_s)
    path = context.folder.path if context.folder is not None else None
    return task.result(
        **attrs.asdict(block, recurse=False),
        # os.path.isdir raises nothing, whatever the loss has done to the folder.
        folder=path.name if path is not None and os.path.isdir(path) else "",  # noqa: PTH112
        duration_s=duration_s,
        worker=str(worker.name),
        job_id=os.environ.get("SLURM_JOB_ID"),
        reference=reference,
    )


def evaluate_pack(tasks: Sequence[ChunkTask]) -> list[ChunkResult]:
    """Evaluate chunks one by one as one Dask task, for half a second or until the worker leaves.

    Those without a result go out again. Raises Reschedule if that are all.
    """
    from distributed import Reschedule

    until_s = time.perf_counter() + _PACK_LIMIT_S
    results: list[ChunkResult] = []
    for task in tasks:
        if results and time.perf_counter() > until_s:
            break
        try:
            results.append(evaluate_chunk(task))
        except Reschedule:
            if not results:
                raise
            break
    return results

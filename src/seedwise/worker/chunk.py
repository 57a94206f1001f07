"""The evaluation of a chunk: all that is done for a seed is in this file."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from seedwise.model.seeds import Chunk
from seedwise.model.space import ParamValue
from seedwise.model.trials import ChunkResult
from seedwise.worker.block import SeedBlock, failure_from
from seedwise.worker.context import Context, TrialDir
from seedwise.worker.departure import job_left_s, leaves_before
from seedwise.worker.durations import Durations, durations_of

_PACK_LIMIT_S = 0.5


@attrs.frozen(eq=False)
class ChunkTask:
    """A chunk of a trial, as it travels to a worker."""

    #: The loss's id in this run; the worker's plugin of this name holds it.
    loss_id: str
    #: The trial's number.
    trial: int
    #: Its parameters.
    params: dict[str, ParamValue]
    #: The entry that the run is for.
    entry_id: str | None
    #: The chunk, with its seeds.
    chunk: Chunk
    #: Which evaluation of the chunk this is, from 1.
    attempt: int = 1
    #: Dask topic on which the worker says that it starts; None says nothing.
    topic: str | None = None
    #: Evaluate it in a process of its own, because a worker was lost that had it.
    isolated: bool = False
    #: Seconds that the chunk may take; None is no limit.
    time_limit_s: float | None = None
    #: Folder of the folders that evaluations write files to, absolute, two below the run's folder.
    #: None if there is no place for files.
    attempts_dir: str | None = None
    #: How the folder of an evaluation begins, such as ``trial_007``.
    folder_stem: str = ""
    #: Seconds that the chunk is expected to take at most, by what was known when it was sent; None
    #: is nothing.
    needs_s: float | None = None

    def fresh_context(self) -> Context:
        """Return what a loss is given that asks for its context, for one evaluation of the chunk.

        Its folder is no other evaluation's: a chunk whose worker was lost may run on two workers
        for a while, and only the files of the one that counts are kept.
        """
        items = {"entry_id": self.entry_id, "trial_number": self.trial}
        if self.attempts_dir is None:
            return Context(items, None)
        attempts_dir = Path(self.attempts_dir)
        name = f"{self.folder_stem}-{self.chunk.start}-{secrets.token_hex(4)}"
        return Context(items, TrialDir(attempts_dir / name, run_dir=attempts_dir.parents[1]))


def evaluate_chunk(task: ChunkTask) -> ChunkResult:
    """Evaluate a chunk on a Dask worker.

    Parameters
    ----------
    task : ChunkTask
        The chunk and its trial.

    Returns
    -------
    ChunkResult
        The losses of its seeds, or the first failure.

    Raises
    ------
    Reschedule
        If the worker leaves, or its job ends too soon for the chunk.
    """
    # Here and not above: with plain functions this module is of use without Dask, too.
    from distributed import Reschedule, get_worker

    worker = get_worker()
    own = durations_of(worker, task.loss_id)
    if leaves_before(worker, _needs_s(task, own)):
        raise Reschedule
    if task.topic is not None:
        message = {
            "entry_id": task.entry_id,
            "trial": task.trial,
            "chunk": task.chunk.index,
            "worker": worker.address,
            "left_s": job_left_s(),
        }
        worker.log_event(task.topic, message)
    context = task.fresh_context()
    began_s = time.perf_counter()
    try:
        block = worker.plugins[task.loss_id].evaluate(task, context)
    except Reschedule:  # the worker leaves; Dask has another one do it
        raise
    except BaseException as error:  # such as: the loss can't be loaded
        block = SeedBlock(None, failure_from(error, task.chunk.start, seed=None))
    duration_s = time.perf_counter() - began_s
    # One that failed did not evaluate all its seeds; one in a process of its own is slower.
    if block.failure is None and not task.isolated:
        own.note(len(task.chunk.seeds), duration_s)
    return ChunkResult(
        trial=task.trial,
        chunk=task.chunk.index,
        attempt=task.attempt,
        start=task.chunk.start,
        n_seeds=len(task.chunk.seeds),
        losses=block.losses,
        failure=block.failure,
        components=block.components,
        folder=_written_folder(context),
        duration_s=duration_s,
        worker=str(worker.name),
        job_id=os.environ.get("SLURM_JOB_ID"),
    )


def evaluate_pack(tasks: Sequence[ChunkTask]) -> list[ChunkResult]:
    """Evaluate several chunks, one after the other, as one task on a Dask worker.

    Parameters
    ----------
    tasks : sequence of ChunkTask
        The chunks, which may be of several trials.

    Returns
    -------
    list of ChunkResult
        The results of the first of them, as many as there is time for, and one at least. What
        takes longer than was expected is for all workers to share, and so is what is left when
        the worker leaves.

    Raises
    ------
    Reschedule
        If the worker leaves, or its job ends too soon for the first chunk.
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


def _needs_s(task: ChunkTask, own: Durations) -> float | None:
    # All chunks of a trial go out at once, the first ones before anything was known: what the
    # worker has done itself since then counts as well.
    if job_left_s() is None:
        return None
    known = [s for s in (task.needs_s, own.needs_s(len(task.chunk.seeds))) if s is not None]
    return max(known, default=None)


def _written_folder(context: Context) -> str:
    folder = context.folder
    # os.path's raises nothing, whatever the loss has done to the folder.
    if folder is None or not os.path.isdir(folder.path):  # noqa: PTH112
        return ""
    return folder.path.name

"""The plugin by which every worker gets a loss once, late workers included."""

import contextvars
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import psutil  # type: ignore[import-untyped]
from distributed import Reschedule
from distributed.diagnostics.plugin import WorkerPlugin

from seedwise.errors import ForeignCodeError
from seedwise.model.loss import LossDefinition
from seedwise.model.seeds import Chunk
from seedwise.model.trials import FailureKind
from seedwise.usercode.shipment import Shipment
from seedwise.worker.block import (
    Context,
    SeedBlock,
    evaluate_block,
    joined,
    needs_main_thread,
    passing_context,
)
from seedwise.worker.child import LOOK_EVERY_S, Child
from seedwise.worker.chunk import ChunkTask
from seedwise.worker.departure import Durations

# Above this part of the worker's memory Dask's nanny kills a worker. It does not count children.
_MEMORY_PART = 0.95

# Few: the worker goes through all of them for every chunk, however short it is.
_DURATIONS_KEPT = 40


class LossPlugin(WorkerPlugin):  # type: ignore[misc]
    """A loss on a worker, with the threads or processes that its seeds run in.

    The loss is loaded when the first chunk needs it: an error then comes back with the chunk,
    while one in `setup` would keep the worker from starting. Where only processes need it, or this
    one holds other code of the user's, it is loaded only there. `parallelism` seeds run at once.
    """

    def __init__(
        self, loss_id: str, shipment: Shipment, parallelism: int, use_processes: bool
    ) -> None:
        self.name = loss_id
        self.shipment = shipment
        self.parallelism = parallelism
        self.use_processes = use_processes

    def setup(self, worker: Any) -> None:
        """Prepare a worker; Dask calls this when one joins."""
        #: What its chunks took on this worker.
        self.durations = Durations(_DURATIONS_KEPT)
        self._lock = threading.Lock()
        self._loss: LossDefinition | None = None
        # What an import sets in its context, such as numpy's errors, is to count in all threads.
        self._context = contextvars.Context()
        self._needs_process = False  # to load it: in a main thread, and without other code
        self._was_asked = False  # for the reference
        #: Seconds that the reference took, with loading the loss; 0 without one.
        self.reference_s = 0.0
        self._vectorized: bool | None = None
        limit_b = getattr(getattr(worker, "memory_manager", None), "memory_limit", None)
        self._children = Children(self.shipment, limit_b, _job_words(worker))
        # It starts its threads only when there is work for them.
        self._threads = ThreadPoolExecutor(
            self.parallelism, thread_name_prefix=f"seedwise-seeds-{self.name}"
        )

    def teardown(self, worker: Any) -> None:
        """End the threads and processes; Dask calls this when the worker leaves."""
        del worker
        self._children.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._release()

    def evaluate(self, task: ChunkTask, context: Context) -> SeedBlock:
        """Evaluate a chunk, its seeds spread out; raise Reschedule if the worker leaves."""
        try:
            block = self._evaluate(task, context)
            if block.failure is None or not self._children.closed:
                return block
        except BaseException:
            if not self._children.closed:
                raise
        raise Reschedule  # `teardown` broke it off: it goes to another worker

    def evaluate_reference(self, task: ChunkTask) -> float | None:
        """Evaluate the seed that all workers do, before their first chunk; none if isolated."""
        reference = task.reference
        with self._lock:
            if reference is None or self._was_asked or task.isolated:
                return None
            self._was_asked = True
        items = {"entry_id": reference.entry_id, "trial_number": reference.trial}
        own = attrs.evolve(task, params=reference.params, chunk=reference.chunk)
        began_s = time.perf_counter()
        with passing_context(items) as context:
            losses = self.evaluate(own, context).losses
        self.reference_s = time.perf_counter() - began_s
        return None if losses is None else float(losses[0])

    def _loss_here(self) -> LossDefinition | None:
        """Return the loss in this process, loaded if it may be."""
        with self._lock:
            if self._loss is None and not self._needs_process:
                self._context = self.shipment.context()
                try:
                    self._loss = self._context.run(self.shipment.load)
                except Exception as error:
                    is_foreign = isinstance(error, ForeignCodeError)
                    if not is_foreign and not needs_main_thread(str(error)):
                        raise
                    self._needs_process = True
            loss = self._loss
        if self._children.closed:
            self._release()
            raise Reschedule
        return loss

    def _release(self) -> None:
        """Leave this process as it was before the loss, unless a thread is loading it just now.

        That thread calls this itself: other work on a worker that was passed does not wait for it.
        """
        if self._lock.acquire(blocking=False):
            try:
                if self._loss is not None:
                    self._loss = None
                    self.shipment.release()
            finally:
                self._lock.release()

    def _evaluate(self, task: ChunkTask, context: Context) -> SeedBlock:
        isolates = self.use_processes or task.isolated or task.time_limit_s is not None
        loss = None if isolates else self._loss_here()
        if loss is None and self._vectorized is None:
            with self._children.one() as child:
                failure = child.load(task.chunk, task.time_limit_s)
                if failure is not None:
                    return SeedBlock(None, failure)
                self._vectorized = child.vectorized

        def evaluate_piece(piece: Chunk) -> SeedBlock:
            if loss is not None:
                own = self._context.copy()  # several threads can't be in one
                return own.run(evaluate_block, loss, task.params, piece, context)
            with self._children.one() as child:
                return child.evaluate(task.params, piece, context, task.time_limit_s)

        seeds, start = task.chunk.seeds, task.chunk.start
        # With a vectorized loss, the worker evaluates as many chunks at once as it has threads.
        # Each process loads the loss, and for an isolated chunk the job has memory for one.
        is_whole = self._vectorized if loss is None else loss.vectorized
        is_whole = is_whole or (task.isolated and not self.use_processes)
        if is_whole or min(self.parallelism, len(seeds)) == 1:
            return evaluate_piece(task.chunk)
        futures = []
        for piece in np.array_split(seeds, min(self.parallelism, len(seeds))):
            chunk = Chunk(task.chunk.index, start, piece)
            futures.append(self._threads.submit(evaluate_piece, chunk))
            start += len(piece)
        return joined([future.result() for future in futures])


def about_worker(loss_id: str, dask_worker: Any) -> tuple[str, float, dict[str, str]]:
    """Return the name of a worker's machine, the seconds of its reference, and its versions."""
    versions = {name: sys.modules[name].__version__ for name in ("numpy", "seedwise")}
    reference_s = dask_worker.plugins[loss_id].reference_s
    return socket.gethostname(), reference_s, {"python": platform.python_version(), **versions}


class Children:
    """A worker's child processes, and the memory that they may take together with it."""

    def __init__(self, shipment: Shipment, memory_limit_b: int | None, job_words: str) -> None:
        # None without a limit: then nothing needs to be watched while a child is waited for.
        self.watch = self._check_memory if memory_limit_b else None
        self._shipment = shipment
        self._limit_b = memory_limit_b or 0
        self._job_words = job_words
        self._all: list[Child] = []
        self._idle: list[Child] = []
        self.closed = False
        self._lock = threading.Lock()
        self._looked_s = -LOOK_EVERY_S

    @contextmanager
    def one(self) -> Iterator[Child]:
        """Lend a child that is idle, or a new one; what dies is dropped."""
        if self.watch is not None:  # here, too: short pieces may fill memory together
            self.watch()
        with self._lock:
            if self.closed:
                raise Reschedule
            dead = [child for child in self._idle if not child.alive]
            self._idle = [child for child in self._idle if child.alive]
            if self._idle:
                child = self._idle.pop()
            else:
                child = Child(self._shipment, self.watch)
                self._all.append(child)
        self._drop(dead)
        try:
            yield child
        finally:
            with self._lock:
                if is_kept := child.alive and not self.closed:
                    self._idle.append(child)
            if not is_kept:
                self._drop([child])

    def close(self) -> None:
        """End all children, busy ones too, which are dropped by who uses them."""
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
            busy = [child for child in self._all if child not in idle]
        self._drop(idle)
        for child in busy:
            child.kill()

    def _drop(self, children: Sequence[Child]) -> None:
        # Not under the lock, as a child may not end at once, and others wait for the lock.
        for child in children:
            child.close()
            with self._lock:
                self._all.remove(child)

    def _check_memory(self) -> None:
        """Kill the largest child if they and this process take too much."""
        with self._lock:
            # Every thread that waits for a child calls this; one of them looks, every 0.1 s.
            if time.monotonic() - self._looked_s < LOOK_EVERY_S:
                return
            self._looked_s = time.monotonic()
            sizes_b = {child: child.rss_b() for child in self._all}
        total_b = sum(sizes_b.values()) + psutil.Process().memory_info().rss
        if total_b <= _MEMORY_PART * self._limit_b or not any(sizes_b.values()):
            return
        text = (
            f"its worker's processes took {total_b / 1e6:.0f} MB "
            f"of the {self._limit_b / 1e6:.0f} MB that the worker may have{self._job_words}"
        )
        largest = max(sizes_b, key=sizes_b.__getitem__)
        largest.kill((FailureKind.DIED, "MemoryExceeded", text))


def _job_words(worker: Any) -> str:
    """Say what the Slurm job has that holds the worker; empty if it was not made for it."""
    job_id, memory_mb = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_MEM_PER_NODE")
    if not (job_id and memory_mb and str(getattr(worker, "name", "")).endswith(f"-{job_id}")):
        return ""
    n_cpus = os.environ.get("SLURM_CPUS_PER_TASK", "1")
    return f"; its job has {memory_mb} MB for {n_cpus} CPU{'' if n_cpus == '1' else 's'}"

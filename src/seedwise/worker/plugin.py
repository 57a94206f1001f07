"""The worker plugin that brings a loss to every worker once, late ones included."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any

import attrs
import numpy as np
from distributed.diagnostics.plugin import WorkerPlugin
from numpy.typing import NDArray

from seedwise.model.loss import LossDefinition, registered_losses
from seedwise.worker.evaluate import ChunkTask, SeedBlock, evaluate_block

__all__ = ["LossPlugin", "Shipment"]


@attrs.frozen
class Shipment:
    """A loss on its way: either its pickle, or the module in which it is found by name.

    Attributes
    ----------
    name : str
        The loss's name.
    pickled : bytes or None
        The loss, pickled by value.
    module : str or None
        Module, or path of a .py file, to import instead.
    argv : tuple of str or None
        ``sys.argv`` while it is loaded; None leaves the worker's own.
    path : tuple of str
        Further entries for ``sys.path``, for what the loss imports when it is called.
    """

    name: str
    pickled: bytes | None
    module: str | None
    argv: tuple[str, ...] | None
    path: tuple[str, ...]

    def load(self) -> LossDefinition:
        """Return the loss, on the worker.

        Raises
        ------
        ImportError
            If the module does not define a loss of this name.
        """
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        with _argv(self.argv):
            if self.pickled is not None:
                loss: LossDefinition = pickle.loads(self.pickled)
                return loss
            assert self.module is not None  # one of the two is given
            _import(self.module)
        losses = registered_losses()
        if self.name not in losses:
            msg = (
                f"importing {self.module!r} defined no loss {self.name!r}, but "
                f"{sorted(losses) or 'none at all'}; sys.argv was {self.argv!r}. @loss must run "
                "when the module is imported, and not under the main guard; if the name depends "
                "on sys.argv, leave forward_sys_argv_to_workers=True."
            )
            raise ImportError(msg)
        return losses[self.name]


class LossPlugin(WorkerPlugin):  # type: ignore[misc]
    """Holds a loss on a worker, and the threads or processes that its seeds run in.

    The loss is loaded when the first chunk needs it: an error then comes back with the chunk,
    where one in `setup` would keep the worker from starting.

    Parameters
    ----------
    loss_id : str
        The loss's id in this run; the plugin's name.
    shipment : Shipment
        The loss.
    parallelism : int
        Seeds that run at once.
    use_processes : bool
        Whether they run in processes.
    """

    def __init__(
        self, loss_id: str, shipment: Shipment, parallelism: int, use_processes: bool
    ) -> None:
        self.name = loss_id
        self.shipment = shipment
        self.parallelism = parallelism
        self.use_processes = use_processes

    def setup(self, worker: Any) -> None:
        """Prepare a worker; Dask calls it on each, when it joins."""
        del worker
        self._lock = threading.Lock()
        self._loss: LossDefinition | None = None
        self._pool: Executor | None = None

    def teardown(self, worker: Any) -> None:
        """End the threads or processes; Dask calls it when the worker leaves."""
        del worker
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def evaluate(self, task: ChunkTask) -> SeedBlock:
        """Evaluate a chunk, its seeds spread over the threads or processes."""
        with self._lock:
            if self._loss is None:
                self._loss = self.shipment.load()
            if self._pool is None and (self.use_processes or self.parallelism > 1):
                self._pool = self._make_pool()
            loss, pool = self._loss, self._pool
        if pool is None:
            chunk = task.chunk
            return evaluate_block(loss, task.params, chunk.seeds, chunk.start, task.context)
        try:
            return self._spread(loss, task, pool)
        except BaseException:
            with self._lock:  # a pool that broke is of no more use; the next chunk makes another
                if self._pool is pool:
                    self._pool = None
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    def _spread(self, loss: LossDefinition, task: ChunkTask, pool: Executor) -> SeedBlock:
        # A vectorized loss is called once a chunk; the worker has as many threads as it may have
        # chunks at once.
        n_pieces = 1 if loss.vectorized else min(self.parallelism, len(task.chunk.seeds))
        start = task.chunk.start
        futures = []
        for seeds in np.array_split(task.chunk.seeds, n_pieces):
            arguments = (task.params, seeds, start, task.context)
            if self.use_processes:
                futures.append(pool.submit(_evaluate_in_child, *arguments))
            else:
                futures.append(pool.submit(evaluate_block, loss, *arguments))
            start += len(seeds)
        blocks = [future.result() for future in futures]
        for block in blocks:
            if block.failure is not None:
                return block
        return SeedBlock(np.concatenate([block.losses for block in blocks]), None)

    def _make_pool(self) -> Executor:
        if not self.use_processes:
            return ThreadPoolExecutor(self.parallelism, thread_name_prefix="seedwise-seeds")
        return ProcessPoolExecutor(
            self.parallelism,
            # A worker has threads, and a fork of a process with threads may hang.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_child,
            initargs=(self.shipment,),
        )


_child_loss: LossDefinition | None = None


def _start_child(shipment: Shipment) -> None:
    global _child_loss  # noqa: PLW0603 - the one loss of a child that exists for it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _child_loss = shipment.load()


def _end_with_parent() -> None:
    # A pool's child waits for work for ever, even when its worker was killed.
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _evaluate_in_child(
    params: dict[str, Any], seeds: NDArray[np.int64], start: int, context: dict[str, Any]
) -> SeedBlock:
    assert _child_loss is not None
    return evaluate_block(_child_loss, params, seeds, start, context)


@contextmanager
def _argv(argv: tuple[str, ...] | None) -> Iterator[None]:
    own = sys.argv
    if argv is not None:
        sys.argv = list(argv)
    try:
        yield
    finally:
        sys.argv = own


def _import(module: str) -> None:
    if not module.endswith(".py"):
        importlib.import_module(module)
        return
    spec = importlib.util.spec_from_file_location("_seedwise_loss_module", module)
    if spec is None or spec.loader is None:
        raise ImportError(f"loss_module={module!r}: no such Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)

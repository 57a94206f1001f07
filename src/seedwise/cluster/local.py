"""LocalCluster: workers on this machine."""

from __future__ import annotations

import ast
import inspect
import logging
import sys
import tokenize
import warnings
from pathlib import Path
from types import FrameType

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from seedwise.cluster.place import Demand, Place, dashboard_port
from seedwise.errors import MainGuardError
from seedwise.model.options import ExecutionMode, RunOptions

__all__ = ["open_local", "require_main_guard"]


def open_local(options: RunOptions, demand: Demand) -> Place:
    """Start a LocalCluster.

    Parameters
    ----------
    options : RunOptions
        The run's options; `workers`, `worker_parallelism` and `use_processes` count here.
    demand : Demand
        How much work the run can have in flight.

    Returns
    -------
    Place
        The open cluster, bound to the loopback interface.

    Raises
    ------
    MainGuardError
        If the calling script has no main guard.
    """
    require_main_guard()
    _forget_standard_input()
    workers = options.workers
    if workers is None:
        workers = demand.workers(max(1, CPU_COUNT // options.worker_parallelism))
    low, high = workers if isinstance(workers, tuple) else (workers, workers)
    with (
        warnings.catch_warnings(),
        # A worker with processes of its own may not be a daemon.
        dask.config.set({"distributed.worker.daemon": not options.use_processes}),
    ):
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = LocalCluster(
            n_workers=low,
            threads_per_worker=demand.chunks_per_worker,
            processes=True,
            dashboard_address="127.0.0.1:8787",
            silence_logs=logging.ERROR,
        )
        client = Client(cluster, set_as_default=False)
    if high > low:
        cluster.adapt(minimum=low, maximum=high)
        description = f"{low} to {high} workers on this machine"
    else:
        description = f"{low} worker{'s' if low > 1 else ''} on this machine"
    port = dashboard_port(client)
    return Place(
        client=client,
        mode=ExecutionMode.SINGLE,
        description=description,
        dashboard=f"http://127.0.0.1:{port}/status" if port else None,
        owned=(client, cluster),
    )


def require_main_guard() -> None:
    """Refuse a script that calls us outside of ``if __name__ == "__main__":``.

    Local workers are spawned, and a spawned process imports the main script: an unguarded call
    would be made again by each of them.

    Raises
    ------
    MainGuardError
        If the call stack starts at an unguarded line of the main script.
    """
    frame = _main_frame()
    if frame is None:
        return
    script = frame.f_code.co_filename
    if not Path(script).is_file():  # a notebook's cell, python -c, standard input
        return
    with tokenize.open(script) as file:
        source = file.read()
    if not _is_guarded(source, frame.f_lineno):
        raise MainGuardError(script, frame.f_lineno)


def _forget_standard_input() -> None:
    """Let a script that is read from standard input start workers.

    Python calls its file "<stdin>", which a spawned process would try to read.
    """
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) == "<stdin>":
        del main.__file__


def _main_frame() -> FrameType | None:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            return frame
        frame = frame.f_back
    return None


def _is_guarded(source: str, line: int) -> bool:
    """Tell whether a line of a script lies in a top-level ``if`` about ``__name__``."""
    for node in ast.parse(source).body:
        if node.lineno <= line <= (node.end_lineno or node.lineno):
            return isinstance(node, ast.If) and any(
                isinstance(part, ast.Name) and part.id == "__name__"
                for part in ast.walk(node.test)
            )
    return True

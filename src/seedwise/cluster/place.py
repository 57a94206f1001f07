"""The place where a run's work is done, once it is open."""

from __future__ import annotations

import contextlib
import getpass
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import attrs
import dask
from distributed import Client

from seedwise.model.execution_mode import ExecutionMode

__all__ = [
    "SCHEDULER_SETTINGS",
    "WORKER_SETTINGS",
    "Demand",
    "Place",
    "RunTag",
    "dashboard_port",
    "quiet_dask",
    "tunnel_command",
]

#: Dask configuration of our schedulers: when a worker is lost, we are told at once of each chunk
#: that it had, and have it run again; Dask would blame bystanders after some losses.
SCHEDULER_SETTINGS = {"distributed.scheduler.allowed-failures": 0}

#: Dask configuration of our workers. The memory that a loss takes can be neither spilled nor
#: waited for: a worker that pauses because of it would pause for ever.
WORKER_SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}

_MESSAGES_KEPT = 10


@attrs.frozen
class Demand:
    """How much work a run can have in flight.

    Attributes
    ----------
    chunks : int
        Chunks in flight at most.
    chunks_per_worker : int
        Chunks that one worker evaluates at once.
    """

    chunks: int
    chunks_per_worker: int

    def workers(self, most: int) -> int:
        """Workers that this work can keep busy, up to `most`."""
        return max(1, min(most, -(-self.chunks // self.chunks_per_worker)))


@attrs.frozen
class RunTag:
    """What a place is told about the run that it is for.

    Attributes
    ----------
    name : str
        The run's name.
    run_id : str
        What tells it from all other runs; its jobs carry it.
    log_dir : pathlib.Path
        Folder for the jobs' logs.
    """

    name: str
    run_id: str
    log_dir: Path


@attrs.frozen
class Place:
    """An open cluster, and how to reach it.

    Attributes
    ----------
    client : distributed.Client
        Its client.
    mode : ExecutionMode
        What the result calls it.
    description : str
        Where the work runs, in words.
    slots : int
        Chunks that it evaluates at once, when it has all the workers that it may have.
    dashboard : str or None
        Link to the Dask dashboard.
    tunnel : str or None
        Command that makes the link work from a laptop; None if it needs none.
    check : callable
        Called now and then; mends the place, or raises if it can do no work and says why.
    cancel_at_once : callable
        Has the jobs end without waiting for anything, for a driver that ends now.
    closing : contextlib.ExitStack
        Closes in the end what is ours; empty for what the caller passed.
    """

    client: Client
    mode: ExecutionMode
    description: str
    slots: int = 1
    dashboard: str | None = None
    tunnel: str | None = None
    check: Callable[[], None] = lambda: None
    cancel_at_once: Callable[[], object] = lambda: None
    closing: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack, repr=False)

    def __enter__(self) -> Self:
        """Return the place itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is ours; a caller's cluster is left as it is."""
        self.closing.close()


@contextlib.contextmanager
def quiet_dask() -> Iterator[None]:
    """Keep Dask from logging what we do on purpose, while a cluster of ours is open.

    It calls a chunk of a lost worker failed, which is run again, and logs a traceback for a
    connection that ends because we close it. Its loggers are silent while a cluster is open, and
    speak again before the last of its connections is gone. Of the messages to each worker it keeps
    the last thousand in memory, which are whole tasks; a few will do.
    """
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)
    scheduler = logging.getLogger("distributed.scheduler")
    scheduler.addFilter(_is_news)
    try:
        with dask.config.set({"distributed.admin.low-level-log-length": _MESSAGES_KEPT}):
            yield
    finally:
        scheduler.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return "workers died while trying to run it" not in str(record.msg)


def dashboard_port(client: Client) -> int | None:
    """Return the port of the dashboard; None if there is none."""
    port: int | None = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    return port


def tunnel_command(port: int) -> str:
    """Return the ssh command that brings this machine's `port` to a laptop."""
    host = socket.getfqdn()
    if host.startswith("localhost"):  # the name of the loopback interface is no way here
        host = socket.gethostname()
    return f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{host}"

"""The place where a run's work is done, once it is open."""

from __future__ import annotations

import contextlib
import getpass
import logging
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import dask
from distributed import Client

from seedwise.errors import OptionError
from seedwise.model.execution_mode import ExecutionMode
from seedwise.model.pool import PoolNews, PoolStatus
from seedwise.model.work_options import WorkOptions

__all__ = [
    "SCHEDULER_SETTINGS",
    "WORKER_SETTINGS",
    "Demand",
    "Place",
    "RunTag",
    "dashboard_address",
    "dashboard_port",
    "own_scratch",
    "quiet_dask",
    "run_soon",
    "thread_settings",
    "tunnel_command",
]

#: Dask configuration of our schedulers: when a worker is lost, we are told at once of each chunk
#: that it had, and have it run again; Dask would blame bystanders after some losses.
#: Nor is a worker lost that is silent because a loss holds the GIL, or this machine slept.
SCHEDULER_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": None,
}

#: Dask configuration of our workers. The memory that a loss takes can be neither spilled nor
#: waited for: a worker that pauses because of it would pause for ever.
WORKER_SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}

_MESSAGES_KEPT = 10
_LOOPBACK = "127.0.0.1"
_USUAL_PORT = 8787


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
    driver_id : str
        What tells this driver from all others of the run; its jobs carry it, too.
    log_dir : pathlib.Path
        Folder for the jobs' logs.
    key_dir : pathlib.Path
        Folder for the keys of its connections; it is made and removed with the place.
    jobs_file : pathlib.Path
        File that the id of each job is written to before it is used.
    """

    name: str
    run_id: str
    log_dir: Path
    key_dir: Path
    jobs_file: Path
    driver_id: str = attrs.field(factory=lambda: uuid.uuid4().hex[:8])

    @property
    def job_tag(self) -> str:
        """The comment of this driver's jobs; that of the run's jobs begins with its id."""
        return f"{self.run_id}.{self.driver_id}"


def _refuse_to_scale(low: int, high: int) -> None:
    raise OptionError("workers", (low, high), "left to the owner of a cluster that was passed")


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
    walltime_s : float or None
        Seconds after which the workers' jobs end; None if they do not.
    dashboard : str or None
        Link to the Dask dashboard.
    tunnel : str or None
        Command that makes the link work from a laptop; None if it needs none.
    check : callable
        Called now and then; mends the place, or raises if it can do no work and says why.
    scale : callable
        Changes the bounds of the number of workers, least and most; takes effect soon after.
    follow : callable
        Takes what tells how many chunks are out, which the number of workers is to follow, and
        what has the worker that it runs on finish what it does, and leave.
    proved : callable
        Called when a chunk was evaluated, so that workers are known to be of use.
    fault : callable
        Tells by a worker's name why it was lost, if that was its own doing, as it is not if others
        cancel its job; empty if it was not, None while nobody knows.
    news : callable
        Returns what happened to the workers since it was last called.
    pool : callable
        Tells how many workers there are and are wanted; None of a cluster that was passed.
    cancel_at_once : callable
        Has the jobs end without waiting for anything, for a driver that ends now.
    closing : contextlib.ExitStack
        Closes in the end what is ours; empty for what the caller passed.
    """

    client: Client
    mode: ExecutionMode
    description: str
    slots: int = 1
    walltime_s: float | None = None
    dashboard: str | None = None
    tunnel: str | None = None
    check: Callable[[], None] = lambda: None
    scale: Callable[[int, int], None] = _refuse_to_scale
    follow: Callable[[Callable[[], int], Callable[..., None]], None] = lambda *_: None
    proved: Callable[[], None] = lambda: None
    fault: Callable[[str], str | None] = lambda _: ""
    news: Callable[[], Sequence[PoolNews]] = tuple
    pool: Callable[[], PoolStatus | None] = lambda: None
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


def thread_settings(options: WorkOptions) -> dict[str, str]:
    """Return the variables that tell numeric libraries how many threads each seed may have.

    They are the same here and on Slurm, for the number of threads may change the last bit of a
    sum.
    """
    n_threads = str(max(1, options.cpus_per_task // options.worker_parallelism))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, n_threads)


@contextlib.contextmanager
def own_scratch() -> Iterator[None]:
    """Have Dask's servers here put temporary files into a folder that goes away with them."""
    with (
        tempfile.TemporaryDirectory(prefix="seedwise-", ignore_cleanup_errors=True) as folder,
        dask.config.set({"temporary-directory": folder}),
    ):
        yield


def dashboard_address() -> str:
    """Return where the scheduler's pages are to be: Dask's usual port, or any if it is taken.

    Dask would find another one itself, and leave a socket open.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((_LOOPBACK, _USUAL_PORT))
        except OSError:
            return f"{_LOOPBACK}:0"
    return f"{_LOOPBACK}:{_USUAL_PORT}"


def dashboard_port(client: Client) -> int | None:
    """Return the port of the dashboard; None if there is none."""
    port: int | None = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    return port


def run_soon(
    client: Client, function: Callable[..., None], addresses: Sequence[str], **keywords: Any
) -> None:
    """Have workers call a function when they get to it; one that is lost by then does not."""

    async def call() -> None:
        await client.run(
            function, workers=[*addresses], on_error="ignore", asynchronous=True, **keywords
        )

    if addresses:
        client.loop.add_callback(call)


def tunnel_command(port: int) -> str:
    """Return the ssh command that brings this machine's `port` to a laptop."""
    host = socket.getfqdn()
    if host.startswith("localhost"):  # the name of the loopback interface is no way here
        host = socket.gethostname()
    return f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{host}"

"""The Dask settings of our own clusters."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import dask

from seedwise.errors import ClusterStartError
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.work import WorkOptions

# What each of Dask's servers does all the time. At Dask's 20 ms, 10 ms, 500 ms and 100 ms, an idle
# driver takes 8 % of a core, and a loss that holds the GIL is interrupted 500 times a second.
_INTERVALS = {
    "distributed.admin.tick.interval": "500 ms",
    "distributed.worker.profile.interval": "100 ms",
    "distributed.admin.system-monitor.interval": "2 s",
    "distributed.worker.memory.monitor-interval": "200 ms",
}

#: Dask configuration of our schedulers. When a worker is lost, they report each of its chunks at
#: once, and we run it again; Dask itself would blame bystanders after some losses. A silent worker
#: is not lost: perhaps a loss holds the GIL, or this machine slept.
SCHEDULER_SETTINGS = {
    **_INTERVALS,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": None,
}

#: Dask configuration of our workers. A loss may start processes; a daemonic worker may not. The
#: memory that it takes can't be spilled, and a worker that paused because of it would pause for
#: ever.
WORKER_SETTINGS = {
    **_INTERVALS,
    "distributed.worker.daemon": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


@contextlib.contextmanager
def tidy_dask() -> Iterator[None]:
    """Keep Dask from logging what we do on purpose, and from leaving files, while it is ours.

    We run a chunk of a lost worker again, and close connections. Of the messages to each worker,
    which hold whole tasks, few are kept in memory. A script that shows INFO would get some sixty
    messages of a run; a level that the user gave stays.
    """
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)
    scheduler, all_loggers = map(logging.getLogger, ("distributed.scheduler", "distributed"))
    has_own_level = dask.config.get("logging", None) is None and all_loggers.level == logging.INFO
    scheduler.addFilter(_is_news)
    try:
        if has_own_level:
            all_loggers.setLevel(logging.WARNING)
        with (
            tempfile.TemporaryDirectory(prefix="seedwise-", ignore_cleanup_errors=True) as folder,
            dask.config.set({"distributed.admin.low-level-log-length": 10}),
            dask.config.set({"temporary-directory": folder}),
        ):
            yield
    finally:
        if has_own_level:
            all_loggers.setLevel(logging.INFO)
        scheduler.removeFilter(_is_news)


@contextlib.contextmanager
def starting(what: str) -> Iterator[None]:
    """Start a cluster; raises ClusterStartError if it does not start."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise ClusterStartError(what, str(error)) from error


def _is_news(record: logging.LogRecord) -> bool:
    return "workers died while trying to run it" not in str(record.msg)


def site_scheduler() -> dict[str, Any]:
    """Return what the site has set for schedulers of Slurm jobs."""
    options = dask.config.get("jobqueue.slurm.scheduler-options", None) or {}
    return {name.replace("-", "_"): value for name, value in options.items()}


def scheduler_interface(slurm: SlurmOptions) -> str | None:
    """Return this machine's interface that the jobs reach it over; None leaves it to Dask."""
    given = slurm.scheduler_interface or slurm.interface or site_scheduler().get("interface")
    interface: str | None = given or dask.config.get("jobqueue.slurm.interface", None)
    return interface


def thread_settings(options: WorkOptions) -> dict[str, str]:
    """Return the variables for a seed's threads, as on Slurm: they may change a sum's last bit."""
    n_threads = str(max(1, options.cpus_per_task // options.worker_parallelism))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, n_threads)

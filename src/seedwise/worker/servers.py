"""Our workers and nannies: without an HTTP port, and with an end of all that they begin.

Any user of the machine could read such a port. They do not log connections without a key, either:
that could fill the disk. This module is a preload of both.
"""

import atexit
import logging
import multiprocessing
import os
import shutil
from typing import Any

from distributed import Nanny, Worker
from distributed.core import Status

# It would log each connection that is refused: there may be millions.
_TCP = logging.getLogger("distributed.comm.tcp")

# Waits for the end of its input, which is the worker's.
_KILL_GROUP = 'read _; kill -9 "-$0" 2>/dev/null'


def dask_setup(server: Worker | Nanny) -> None:
    """Prepare a worker's process or a nanny's; Dask calls this in its main thread."""
    if isinstance(server, Nanny):
        _TCP.setLevel(logging.ERROR)
        # The job's script made it and then became the nanny, so the script can't remove it.
        if path := os.environ.get("SEEDWISE_SCRATCH"):
            atexit.register(shutil.rmtree, path, ignore_errors=True)
        return
    # A group of its own, which ends with the worker, however that ends: idle processes of a loss's
    # pool would wait for ever. Ctrl-C in a terminal does not reach it; the driver acts on that.
    os.setpgid(0, 0)
    theirs, ours = os.pipe()
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", _KILL_GROUP, str(os.getpid())],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0)],
        setpgroup=0,
    )
    os.close(theirs)
    # What the worker forks must not keep that input open.
    os.register_at_fork(after_in_child=os.fdopen(ours, "wb").close)
    # The worker itself was spawned, and would hand that down.
    multiprocessing.set_start_method(None, force=True)


class LockedWorker(Worker):  # type: ignore[misc]
    """A worker without HTTP pages."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        _TCP.setLevel(logging.ERROR)
        super().__init__(*args, **keywords)

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no port: Dask would open one even without a dashboard."""
        self._dashboard = False  # else Dask adds its pages to the missing server


class LockedNanny(Nanny):  # type: ignore[misc]
    """A nanny of a `LockedWorker`, for clusters that can't be told the worker's class."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, worker_class=LockedWorker, **keywords)

    async def _on_worker_exit(self, exitcode: int) -> None:
        # Before 2026.6, distributed starts a worker over and over whose process dies as it starts.
        if self.status not in (Status.init, Status.starting):
            await super()._on_worker_exit(exitcode)

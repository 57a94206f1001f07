"""Workers and nannies without an HTTP port, which any user of the machine could read.

They do not log connections without a key, either: that could fill the disk.
"""

import logging
from typing import Any

from distributed import Nanny, Worker
from distributed.core import Status


def pass_over_strangers() -> None:
    """Have this process not log the connections that it refuses: there may be millions."""
    logging.getLogger("distributed.comm.tcp").setLevel(logging.ERROR)


class LockedWorker(Worker):  # type: ignore[misc]
    """A worker without HTTP pages."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        pass_over_strangers()
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

"""Workers that open no HTTP port: what it shows would be anybody's to see.

Nor do they write a line for everyone who connects and has no key: their logs would fill the disk.
"""

from __future__ import annotations

import logging
from typing import Any

from distributed import Nanny, Worker


def pass_over_strangers() -> None:
    """Have this process not log connections that it refuses, of which there may be millions."""
    logging.getLogger("distributed.comm.tcp").setLevel(logging.ERROR)


class LockedWorker(Worker):  # type: ignore[misc]
    """A worker without pages; its connections are what its `security` makes them."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        pass_over_strangers()
        super().__init__(*args, **keywords)

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no port; Dask opens one even without a dashboard."""
        self._dashboard = False  # it would be added to the pages that there are not


class LockedNanny(Nanny):  # type: ignore[misc]
    """A nanny of a `LockedWorker`, for clusters that can't be told the worker's class.

    It takes what Dask's does.
    """

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, worker_class=LockedWorker, **keywords)

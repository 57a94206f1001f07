"""Pages of our own in an HTTP server: the scheduler's, beside those of Dask, or another."""

import asyncio
import contextlib
from typing import Any

from bokeh.resources import Resources
from bokeh.server.tornado import BokehTornado
from distributed import Scheduler, Status
from tornado.ioloop import IOLoop

from seedwise.cluster.place import STUDY, Pages

_END_S = 3.0
_PANEL = "individual-study"  # JupyterLab's panel lists what begins with this word


class OwnPages(BokehTornado):  # type: ignore[misc]
    """Serves pages under `STUDY`, and beside Dask's also for JupyterLab; begins at once.

    It is to be made in the event loop of its server.
    """

    def __init__(self, pages: Pages, dasks: BokehTornado | None = None) -> None:
        paths = [STUDY] if dasks is None else [STUDY, _PANEL]
        super().__init__(
            {f"/{path}": pages.application() for path in paths},
            prefix="" if dasks is None else dasks.prefix,
            absolute_url="",  # a proxy may serve it below another path
            extra_websocket_origins=["*"],  # as Dask's own: the lock knows whom to let in
            use_index=False,
        )
        self._others = frozenset() if dasks is None else dasks.app_paths
        self.initialize(IOLoop.current())
        self.start()

    def resources(self, absolute_url: str | bool | None = True) -> Resources:
        """Have the page's scripts come from this server."""
        return super().resources(absolute_url)

    @property
    def app_paths(self) -> set[str]:
        """All pages of the server: JupyterLab's panel lists those of its first application."""
        return {*super().app_paths, *self._others}


def with_pages(kind: type[Scheduler], pages: Pages) -> type[Scheduler]:
    """Return a class of schedulers that serve these pages, too, and whose bar leads there."""

    class PagedScheduler(kind):  # type: ignore[misc]
        """Serves pages of our own."""

        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **keywords)
            applications = self.http_application.applications
            dasks = next((one for one in applications if isinstance(one, BokehTornado)), None)
            self._own_pages = OwnPages(pages, dasks)
            applications.insert(0, self._own_pages)
            if dasks is not None:
                _link_from_dasks(self)

        async def close(self, *args: Any, **keywords: Any) -> None:
            if self.status not in (Status.closing, Status.closed):
                # A browser that does not answer is not a reason to lose the run.
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(_END_S):
                        await pages.end()
                self._own_pages.stop()
            await super().close(*args, **keywords)

    return PagedScheduler


def _link_from_dasks(scheduler: Scheduler) -> None:
    """Link to our pages from Dask's pages of this scheduler, and of no other."""
    from distributed.dashboard.scheduler import template_variables

    variables = template_variables(scheduler)  # it is made once for each
    variables["pages"].insert(1, STUDY)
    variables["plots"].append({"url": _PANEL, "name": "Study"})

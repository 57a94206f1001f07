"""Pages of our own in an HTTP server: the scheduler's, beside those of Dask, or another."""

from bokeh.resources import Resources
from bokeh.server.tornado import BokehTornado
from distributed import Scheduler
from tornado.ioloop import IOLoop

from seedwise.cluster.place import STUDY, Pages

_PANEL = "individual-study"  # JupyterLab's panel lists what begins with this word


class OwnPages(BokehTornado):  # type: ignore[misc]
    """Serves pages under `STUDY`, beside Dask's also for JupyterLab; made in the event loop."""

    def __init__(self, pages: Pages, dasks: BokehTornado | None = None) -> None:
        paths = [STUDY] if dasks is None else [STUDY, _PANEL]
        super().__init__(
            {f"/{path}": pages.application() for path in paths},
            prefix="" if dasks is None else dasks.prefix,
            absolute_url="",  # a proxy may serve it below another path
            extra_websocket_origins=["*"],  # as Dask's own: the lock knows whom to let in
            use_index=False,
        )
        self._pages = pages
        self._others = frozenset() if dasks is None else dasks.app_paths
        self.initialize(IOLoop.current())
        self.start()

    async def end(self) -> None:
        """Have those who look see the last, and stop."""
        try:
            await self._pages.end()
        finally:
            self.stop()

    def resources(self, absolute_url: str | bool | None = True) -> Resources:
        """Have the page's scripts come from this server."""
        return super().resources(absolute_url)

    @property
    def app_paths(self) -> set[str]:
        """All pages of the server: JupyterLab's panel lists those of its first application."""
        return {*super().app_paths, *self._others}


def link_from_dasks(scheduler: Scheduler) -> None:
    """Link to our pages from Dask's pages of this scheduler, and of no other."""
    from distributed.dashboard.scheduler import template_variables

    variables = template_variables(scheduler)  # it is made once for each
    variables["pages"].insert(1, STUDY)
    variables["plots"].append({"url": _PANEL, "name": "Study"})

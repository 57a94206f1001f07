"""The scheduler of our own clusters: its pages are locked, and made when one is asked for."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from distributed import Scheduler, Status

from seedwise.cluster.pages import lock
from seedwise.cluster.place import Pages

_END_S = 3.0
_logger = logging.getLogger(__name__)


def scheduler_class(
    token: str | None, host: str | None = None, pages: Callable[[], Pages] | None = None
) -> type[Scheduler]:
    """Return a class of schedulers whose pages ask for a token, if there is one: see `lock`.

    `pages` makes what they serve beside Dask's pages. No scheduler of the class has the token
    among its attributes, because Dask shows these.
    """

    class OwnScheduler(Scheduler):  # type: ignore[misc]
        """Imports Bokeh, which takes a second, once somebody wants to see a page."""

        def __init__(self, *args: Any, dashboard: bool = True, **keywords: Any) -> None:
            self._has_dasks_pages = dashboard
            self._prefix = keywords.get("http_prefix", "/")
            self._own_pages: Any = None
            super().__init__(*args, dashboard=False, **keywords)

        def start_http_server(self, *args: Any, **keywords: Any) -> None:
            super().start_http_server(*args, **keywords)
            # The event loop waits for us here.
            lock(self.http_server, token, host, self._make_pages)

        async def _make_pages(self) -> None:
            own = await asyncio.to_thread(_imported, pages)
            applications, dasks = self.http_application.applications, None
            if self._has_dasks_pages:
                from distributed.dashboard.scheduler import connect

                connect(self.http_application, self.http_server, self, prefix=self._prefix)
                applications.insert(0, dasks := applications.pop())  # before Jupyter's, if any
            if own is not None:
                from seedwise.cluster.own_pages import OwnPages, link_from_dasks

                self._own_pages = OwnPages(own, dasks)
                applications.insert(0, self._own_pages)
                if dasks is not None:
                    link_from_dasks(self)

        async def close(self, *args: Any, **keywords: Any) -> None:
            if self._own_pages is not None and self.status not in (Status.closing, Status.closed):
                # A browser that does not answer is not a reason to lose the run.
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(_END_S):
                        await self._own_pages.end()
            await super().close(*args, **keywords)

    return OwnScheduler


def _imported(pages: Callable[[], Pages] | None) -> Pages | None:
    """Import what pages need, in a thread; return our own."""
    import distributed.dashboard.scheduler  # noqa: F401

    try:
        return None if pages is None else pages()
    except Exception:  # Dask's pages are of use without ours
        _logger.exception("the study page can't be served")
        return None

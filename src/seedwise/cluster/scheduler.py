"""The scheduler of our own clusters: its pages are locked, and made when one is asked for."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Scheduler, Status
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)

from seedwise.cluster.pages import lock
from seedwise.cluster.place import Pages

_END_S = 3.0


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
            server = self.http_server
            server.request_callback = _Late(server.request_callback, self._make_pages)
            if token is not None:
                lock(server, token, host)  # the event loop waits for us here

        async def _make_pages(self) -> None:
            own = await asyncio.to_thread(_imported, pages)
            applications, dasks = self.http_application.applications, None
            if self._has_dasks_pages:
                from distributed.dashboard.scheduler import connect

                connect(self.http_application, self.http_server, self, prefix=self._prefix)
                dasks = applications[-1]
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

    return None if pages is None else pages()


class _Late(HTTPServerConnectionDelegate):  # type: ignore[misc]
    """Has an application be completed before it gets its first request."""

    def __init__(
        self,
        application: HTTPServerConnectionDelegate,
        complete: Callable[[], Awaitable[None]],
    ) -> None:
        self.application = application
        self._complete = complete
        self._completing: asyncio.Future[None] | None = None

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        return _LateRequest(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self.application.on_close(server_conn)

    async def completed(self) -> None:
        """Wait until the application is complete."""
        if self._completing is None:
            self._completing = asyncio.ensure_future(self._complete())
        await asyncio.shield(self._completing)


class _LateRequest(HTTPMessageDelegate):  # type: ignore[misc]
    """One request, which waits at its headers."""

    def __init__(self, late: _Late, server_conn: Any, connection: Any) -> None:
        self._late, self._of = late, (server_conn, connection)
        self._inner = HTTPMessageDelegate()  # which drops what it gets

    async def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        await self._late.completed()
        self._inner = self._late.application.start_request(*self._of)
        if (waited_for := self._inner.headers_received(start_line, headers)) is not None:
            await waited_for

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        waited_for: Awaitable[None] | None = self._inner.data_received(chunk)
        return waited_for

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()

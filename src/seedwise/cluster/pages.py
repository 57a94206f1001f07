"""The scheduler's pages, only for those who hold the run's token."""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import attrs
import tornado.httputil as httputil
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, RequestStartLine
from tornado.iostream import IOStream

_NO_TOKEN = (
    b"This page is locked. Open the link that was printed when the run started: it holds the "
    b"token.\n"
)
_OTHER_HOST = (
    b"This page is locked: it was asked for under a host name that is not its own, or by a page "
    b"of another host. Open the link that was printed when the run started. If a proxy leads "
    b"here, such as JupyterHub's, name its link in Dask's setting distributed.dashboard.link "
    b"before the run starts.\n"
)

# The names that a browser has for us, also through an ssh tunnel. Any other name is a proxy's, or
# comes from a foreign page whose name leads here (DNS rebinding).
_OUR_NAMES = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?", re.IGNORECASE)

_COOKIE = "seedwise-"

# Everybody on this machine can connect. Dask allows any number of connections, and each to be
# silent for an hour: they would use up the files that this process can have open.
_SILENT_S = 10.0
_MOST_STRANGERS = 64
_MOST_HEADER_BYTES = 32 * 1024  # with the cookies of everything on localhost
_MOST_BODY_BYTES = 1024 * 1024


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(32)


def lock(
    server: HTTPServer,
    token: str | None,
    proxy_host: str | None = None,
    complete: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Have all that a server serves ask for a token, if any, and silent connections be closed.

    `proxy_host` is the host name under which a proxy serves the pages, too; empty is any. Nothing
    may have been served yet. Routes that are added later belong to the application, so they are
    behind the lock as well: `complete` may add them, before the first request is let through.
    """
    strangers = _Strangers(server.handle_stream)
    application = server.request_callback
    server.request_callback = _Lock(application, token, proxy_host, strangers, complete)
    server.handle_stream = strangers.handle_stream
    # A websocket is exempt once it is open.
    server.conn_params.header_timeout = server.conn_params.body_timeout = _SILENT_S
    server.conn_params.max_header_size = _MOST_HEADER_BYTES
    server.conn_params.max_body_size = _MOST_BODY_BYTES


class _Strangers:
    """Connections that have not shown the token: there are few, and the oldest has to go.

    If the newest were refused, strangers could keep out those who have the token.
    """

    def __init__(self, handle_stream: Callable[[IOStream, Any], Any]) -> None:
        self._handle_stream = handle_stream
        self._streams: dict[IOStream, None] = {}  # in the order in which they came

    def handle_stream(self, stream: IOStream, address: Any) -> Any:
        """Take a connection in place of the server's own function, and pass it on."""
        self._streams = {one: None for one in self._streams if not one.closed()}
        if len(self._streams) >= _MOST_STRANGERS:
            oldest = next(iter(self._streams))
            del self._streams[oldest]
            oldest.close()
        self._streams[stream] = None
        return self._handle_stream(stream, address)

    def let_in(self, connection: Any) -> None:
        """Note that a connection has shown the token."""
        self._streams.pop(connection.stream, None)


@attrs.frozen
class _Answer:
    """An answer in the application's place; without more than a body it is a refusal."""

    body: bytes
    status: int = 403
    reason: str = "Forbidden"
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Lock(httputil.HTTPServerConnectionDelegate):  # type: ignore[misc]
    """Stands before an application, and lets only requests with the token through."""

    application: httputil.HTTPServerConnectionDelegate
    _token: str | None = attrs.field(repr=False)
    _proxy_host: str | None
    strangers: _Strangers
    _complete: Callable[[], Coroutine[Any, Any, None]] | None
    _completing: asyncio.Task[None] | None = None

    def start_request(self, server_conn: Any, request_conn: Any) -> "_Request":
        return _Request(self, server_conn, request_conn)

    async def completed(self) -> None:
        """Wait until the application is complete."""
        if self._complete is not None:
            if self._completing is None:
                self._completing = asyncio.create_task(self._complete())
            await asyncio.shield(self._completing)

    def answer(self, start_line: RequestStartLine, headers: HTTPHeaders) -> _Answer | None:
        """Return what to answer; None if the request is the application's."""
        if (token := self._token) is None:
            return None

        def fits(given: str) -> bool:
            return secrets.compare_digest(given.encode(), token.encode())

        host = headers.get("Host", "")
        name = _OUR_NAMES.fullmatch(host)
        # Pages of another origin, even of another port here, may not use ours.
        origin = headers.get("Origin", f"//{host}").partition("//")[2]
        is_the_proxys = self._proxy_host in ("", re.sub(r":\d*$", "", host).lower())
        if not (name or is_the_proxys) or origin != host or not start_line.path.startswith("/"):
            return _Answer(_OTHER_HOST)
        # The ports of a host share their cookies, and so do the paths of a proxy.
        cookie = f"{_COOKIE}{name[1] or 80}" if name else f"{_COOKIE}proxy"
        query = parse_qsl(start_line.path.partition("?")[2], keep_blank_values=True)
        if any(key == "token" and fits(value) for key, value in query):
            is_page = start_line.method in ("GET", "HEAD") and "Upgrade" not in headers
            redirect = _redirect(start_line.path, f"{cookie}={token}", bool(name))
            return redirect if is_page else None
        scheme, _, in_header = headers.get("Authorization", "").partition(" ")
        given = [httputil.parse_cookie(headers.get("Cookie", "")).get(cookie, "")]
        given += [in_header.strip()] if scheme.lower() == "token" else []
        return None if any(map(fits, given)) else _Answer(_NO_TOKEN)


@attrs.define(eq=False)
class _Request(httputil.HTTPMessageDelegate):  # type: ignore[misc]
    """One request: passed to the application from its headers on, or answered here at its end."""

    _lock: _Lock
    _server_conn: Any
    _connection: Any
    _answer: _Answer | None = None
    _is_head: bool = False
    _inner: Any = attrs.field(factory=httputil.HTTPMessageDelegate)  # which drops what it gets

    async def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        self._answer = self._lock.answer(start_line, headers)
        self._is_head = start_line.method == "HEAD"
        if self._answer is not None:
            return
        self._lock.strangers.let_in(self._server_conn)
        await self._lock.completed()
        self._inner = self._lock.application.start_request(self._server_conn, self._connection)
        # The application must not see the token: Bokeh writes the cookies that it gets into its
        # pages, where scripts can read them.
        start_line = start_line._replace(path=_without_token(start_line.path))
        waits = self._inner.headers_received(start_line, _without_secrets(headers))
        if waits is not None:
            await waits

    def data_received(self, chunk: bytes) -> Any:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        if (answer := self._answer) is None:
            self._inner.finish()
            return
        headers = HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=UTF-8",
                "Content-Length": str(len(answer.body)),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                **answer.headers,
            }
        )
        line = httputil.ResponseStartLine("HTTP/1.1", answer.status, answer.reason)
        body = None if self._is_head else answer.body
        written = self._connection.write_headers(line, headers, body)
        # The client may have gone away by now, which is not to be logged.
        written.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._connection.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


def _redirect(path: str, cookie: str, is_direct: bool) -> _Answer:
    """Have the browser keep the token, and come again without it in the address."""
    path = _without_token(path)
    if is_direct:
        # More than one slash in front would make it the name of another host.
        location, place = "/" + path.lstrip("/\\"), "; Path=/"
    else:
        # Only the proxy knows what comes before the path, and others have pages on its host: the
        # browser goes on from the path that it knows, and keeps the cookie for that.
        route, mark, query = path.partition("?")
        location, place = f"./{route.rpartition('/')[2]}{mark}{query}", ""
    headers = {
        "Location": location,
        "Set-Cookie": f"{cookie}; HttpOnly; SameSite=Strict{place}",
        "Referrer-Policy": "no-referrer",
    }
    return _Answer(b"", 302, "Found", headers)


def _without_token(path: str) -> str:
    route, _, query = path.partition("?")
    pieces = [
        piece for piece in query.split("&") if unquote_plus(piece.partition("=")[0]) != "token"
    ]
    return "?".join(filter(None, [route, "&".join(pieces)]))


def _without_secrets(headers: HTTPHeaders) -> HTTPHeaders:
    kept = headers.copy()
    kept.pop("Authorization", None)
    pieces = [piece.strip() for piece in kept.pop("Cookie", "").split(";")]
    cookies = [piece for piece in pieces if piece and not piece.startswith(_COOKIE)]
    if cookies:
        kept["Cookie"] = "; ".join(cookies)
    return kept

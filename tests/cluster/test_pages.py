"""The scheduler's pages are for who has the token, and work for them as they always did."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket

import dask
import pytest
import tornado.web
from bokeh.util.token import get_token_payload
from distributed import Client, LocalCluster
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from seedwise.cluster import local
from seedwise.cluster.dashboard import dashboard_link, proxy_host
from seedwise.cluster.pages import new_token
from seedwise.cluster.scheduler import scheduler_class
from tests.testbed.daemons import poll

TOKEN = new_token()
WRONG = {
    "none": "",
    "a word": "wrong",
    "shorter": TOKEN[:-1],
    "longer": f"{TOKEN}a",
    "not ASCII": "é",
    "a zero byte": "%00",
    "another": new_token(),
}

#: Of each kind: the dashboard, its static files, what is read by programs, what is not there.
PATHS = [
    "/status",
    "/",
    "/individual-task-stream",
    "/status/ws",
    "/info/main/workers.html",
    "/info/main/logs.html",
    "/json/identity.json",
    "/json/counts.json",
    "/health",
    "/metrics",
    "/statics/css/base.css",
    "/static/js/bokeh.min.js",
    "/no/such/page",
]


@pytest.fixture(scope="module")
def cluster():
    """Give a cluster of one worker, whose scheduler asks for TOKEN."""
    with local._Cluster(
        scheduler_class(TOKEN),
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_class="seedwise.worker.servers.LockedNanny",
        scheduler_sync_interval=1,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def port(cluster):
    return cluster.scheduler.http_server.port


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = dict(response.getheaders())
        self.body = response.read()


def ask(port, path, headers=None, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        return Reply(connection.getresponse())


def cookie(port, token=TOKEN):
    return {"Cookie": f"other=1; seedwise-{port}={token}"}


HEADER = {"Authorization": f"token {TOKEN}"}


def test_tokens_are_long_and_differ():
    assert len({new_token() for _ in range(100)}) == 100
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", TOKEN)


def test_the_link():
    assert dashboard_link(8787, TOKEN) == f"http://127.0.0.1:8787/status?token={TOKEN}"
    assert dashboard_link(8787, None) == "http://127.0.0.1:8787/status"


LINK = {
    "of our own": (None, {}, "http://127.0.0.1:8787/status", None),
    "of a proxy": ("https://hub.example.org/p/{port}/status", {}, None, "hub.example.org"),
    "of this host": ("http://localhost:{port}/status", {}, None, None),
    "of a user's server": (
        "{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status",
        {"JUPYTERHUB_SERVICE_PREFIX": "/user/ann/"},
        "/user/ann/proxy/8787/status",
        "",
    ),
    "of our own in a user's server": (
        *(None, {"JUPYTERHUB_SERVICE_PREFIX": "/user/ann/"}),
        *("http://127.0.0.1:8787/status", ""),
    ),
    "with a query": (
        *("http://{host}:{port}/status?theme=dark", {}),
        *("http://127.0.0.1:8787/status?theme=dark", None),
    ),
    "with a fragment": ("https://x.edu/p/{port}/#top", {}, "https://x.edu/p/8787/", "x.edu"),
    "with a variable that is not set": ("{NOPE}/status", {}, "http://127.0.0.1:8787/status", None),
}


@pytest.mark.parametrize(("setting", "variables", "link", "host"), LINK.values(), ids=LINK)
def test_the_link_follows_dasks_setting(monkeypatch, setting, variables, link, host):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with dask.config.set({"distributed.dashboard.link": setting} if setting else {}):
        expected = link or setting.format(port=8787)
        mark = "&" if "?" in expected else "?"
        assert dashboard_link(8787, "secret") == f"{expected}{mark}token=secret"
        assert proxy_host() == host


# Without the token.


def assert_refused(reply, why=b"it holds the token"):
    assert reply.status == 403
    assert why in reply.body
    assert reply.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert b"Open the link that was printed when the run started" in reply.body
    assert TOKEN not in f"{reply.headers} {reply.body!r}"
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_refused_without_the_token(port, path):
    assert_refused(ask(port, path))


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_every_method_is_refused_without_the_token(port, method):
    reply = ask(port, "/status", method=method)
    assert reply.status == 403
    assert bool(reply.body) is (method != "HEAD")


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_token_is_refused(port, wrong):
    quoted = wrong.encode("ascii", "ignore").decode()
    assert_refused(ask(port, f"/status?token={quoted}"))
    assert_refused(ask(port, f"/status?token={quoted}&token="))
    assert_refused(ask(port, "/status", cookie(port, wrong.encode().decode("latin-1"))))
    for header in (f"token {wrong}", f"Bearer {wrong}", wrong, f"Basic {wrong}"):
        assert_refused(ask(port, "/status", {"Authorization": header.encode()}))


def test_the_token_in_a_wrong_place_is_refused(port):
    assert_refused(ask(port, f"/status#token={TOKEN}"))
    assert_refused(ask(port, f"/{TOKEN}"))
    assert_refused(ask(port, f"/status?nekot={TOKEN}"))
    assert_refused(ask(port, "/status", {"Cookie": f"seedwise-1={TOKEN}"}))
    assert_refused(ask(port, "/status", {"Authorization": f"Bearer {TOKEN}"}))
    body = f"token={TOKEN}"
    assert_refused(ask(port, "/status", method="POST", body=body))


@pytest.mark.parametrize("n_bytes", [10, 1_000_000])
def test_a_refused_body_is_read_and_dropped_and_the_connection_goes_on(port, n_bytes):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("POST", "/api/v1/retire_workers", b"x" * n_bytes)
            assert_refused(Reply(connection.getresponse()))
        connection.request("GET", "/health", headers=HEADER)
        assert Reply(connection.getresponse()).body == b"ok"


def test_a_client_that_goes_away_does_no_harm(port):
    for text in (
        b"GET /status HTT",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(text + b"\r\n")
    assert ask(port, "/health", HEADER).status == 200


@pytest.mark.parametrize("headers", [{}, HEADER], ids=["without", "with"])
def test_more_than_any_page_is_sent_is_not_read(port, headers):
    """Neither in the body nor in the headers."""
    sent = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    for more in ("Content-Length: 3000000\r\n\r\n", f"X-Many: {'x' * 40_000}\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{sent}{more}".encode())
            assert is_closed(connection)


# Who only sits there: anybody can connect.

OPEN_AT_MOST = 64


def is_closed(connection):
    """Tell whether the other side closes a connection, whatever it says before."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(10_000):
            pass
    return True


def is_open(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


@contextlib.contextmanager
def connections(port, number):
    with contextlib.ExitStack() as closing:
        yield [
            closing.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(number)
        ]


@pytest.fixture
def short(cluster, monkeypatch):
    """Have silent connections closed soon; they would be after ten seconds."""
    parameters = cluster.scheduler.http_server.conn_params
    assert (parameters.header_timeout, parameters.body_timeout) == (10, 10)
    monkeypatch.setattr(parameters, "header_timeout", 0.3)
    monkeypatch.setattr(parameters, "body_timeout", 0.3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /sta",
        "GET /status HTTP/1.1\r\nHost: localhost\r\n",
        "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
    ],
    ids=["silent", "a line", "headers", "between requests", "a body"],
)
def test_a_silent_connection_is_closed(port, short, text):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(text.encode())
        assert is_closed(connection)


def test_a_websocket_may_be_silent(cluster, port, short):
    async def talk():
        request = HTTPRequest(f"ws://127.0.0.1:{port}/eventstream", headers=HEADER)
        opened = await websocket_connect(request)
        assert json.loads(await opened.read_message())["name"] == "add_worker"
        await asyncio.sleep(1)
        await opened.write_message('{"name": "ping"}')
        try:
            return json.loads(await opened.read_message())["name"]
        finally:
            opened.close()

    assert cluster.sync(talk) == "pong"


def test_strangers_take_up_no_more_than_so_many_connections(cluster, port):
    """And keep nobody out who has the token."""
    server = cluster.scheduler.http_server
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(kept):
        kept.request("GET", "/health", headers=HEADER)
        assert Reply(kept.getresponse()).body == b"ok"
        n_before = len(server._connections)
        with connections(port, 3 * OPEN_AT_MOST) as strangers:
            assert ask(port, "/health", HEADER).body == b"ok"
            assert_refused(ask(port, "/health"))
            most = n_before + OPEN_AT_MOST
            poll(lambda: len(server._connections) <= most, "the oldest to be closed")
            still_open = [is_open(stranger) for stranger in strangers]
            assert sum(still_open) <= OPEN_AT_MOST
            assert still_open[-1]
            kept.request("GET", "/health", headers=HEADER)
            assert Reply(kept.getresponse()).body == b"ok"
            assert json.loads(open_websocket(cluster, "/eventstream", HEADER))
        # Who has shown the token is no stranger, however many they are.
        header = f"Authorization: {HEADER['Authorization']}"
        request = f"GET /health HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode()
        with contextlib.ExitStack() as closing:
            ours = []
            for _ in range(2 * OPEN_AT_MOST):
                (connection,) = closing.enter_context(connections(port, 1))
                connection.sendall(request)
                assert connection.recv(1000).split()[1] == b"200"
                ours.append(connection)
            assert all(map(is_open, ours))


# With the token.


@pytest.mark.parametrize("way", ["cookie", "header"])
def test_the_pages_work_with_the_token(port, cluster, way):
    headers = HEADER if way == "header" else cookie(port)
    status = ask(port, "/status", headers)
    assert (status.status, b"<title>Dask" in status.body) == (200, True)
    script = re.search(rb'src="(static/js/[^"]+)"', status.body)
    assert script is not None
    assert ask(port, f"/{script[1].decode()}", headers).status == 200
    assert ask(port, "/statics/css/base.css", headers).status == 200
    (worker,) = cluster.scheduler.workers
    for page in ("main/workers", "main/logs", f"worker/{worker.replace('/', '%2F')}"):
        assert ask(port, f"/info/{page}.html", headers).status == 200
    identity = json.loads(ask(port, "/json/identity.json", headers).body)
    assert identity["address"] == cluster.scheduler_address
    assert ask(port, "/no/such/page", headers).status == 404


def test_the_link_sets_a_cookie_and_leads_to_the_page_without_the_token(port):
    reply = ask(port, f"/individual-progress?theme=dark&token={TOKEN}&x=%20")
    assert reply.status == 302
    assert reply.headers["Location"] == "/individual-progress?theme=dark&x=%20"
    kept, *attributes = reply.headers["Set-Cookie"].split("; ")
    assert kept == f"seedwise-{port}={TOKEN}"
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.body == b""
    page = ask(port, reply.headers["Location"], {"Cookie": kept})
    assert page.status == 200
    assert TOKEN not in f"{page.headers} {page.body!r}"


@pytest.mark.parametrize(
    "path", ["//elsewhere.org/status", "/\\elsewhere.org", "///elsewhere.org"]
)
def test_the_link_leads_nowhere_else(port, path):
    location = ask(port, f"{path}?token={TOKEN}").headers["Location"]
    assert re.match(r"/[^/\\]", location)


def test_through_a_tunnel_the_cookie_is_of_the_port_that_the_browser_sees(port):
    for host, at in (("localhost:9999", 9999), ("127.0.0.1:9999", 9999), ("[::1]", 80)):
        reply = ask(port, f"/status?token={TOKEN}", {"Host": host})
        kept = reply.headers["Set-Cookie"].partition(";")[0]
        assert kept == f"seedwise-{at}={TOKEN}"
        assert ask(port, "/status", {"Host": host, "Cookie": kept}).status == 200
        assert_refused(ask(port, "/status", {"Cookie": kept}))


def test_the_token_goes_no_further(cluster, port):
    """What the application is not told, it can't show."""
    seen = []

    class Echo(tornado.web.RequestHandler):
        def post(self):
            seen.append(self.request.uri)
            assert TOKEN not in repr(dict(self.request.headers))
            assert set(self.request.cookies) in ({"other"}, set())
            assert self.request.body == b"x"

    cluster.scheduler.http_application.add_handlers(".*", [("/echo", Echo)])
    assert ask(port, f"/echo?a=1&token={TOKEN}", method="POST", body="x").status == 200
    assert ask(port, f"/echo?%74oken={TOKEN}", method="POST", body="x").status == 200
    assert ask(port, f"/echo?token={TOKEN}", HEADER, method="POST", body="x").status == 200
    assert ask(port, "/echo", {**cookie(port), **HEADER}, method="POST", body="x").status == 200
    assert seen == ["/echo?a=1", "/echo", "/echo", "/echo"]


def test_routes_that_are_added_later_are_locked_too(cluster, port):
    class Later(tornado.web.RequestHandler):
        def get(self):
            self.write("later")

    cluster.scheduler.http_application.add_handlers(".*", [("/later", Later)])
    assert_refused(ask(port, "/later"))
    assert ask(port, "/later", HEADER).body == b"later"


# Who calls us by another name, or comes from another page.


@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.org",
        "elsewhere.org:8787",
        "localhost.elsewhere.org",
        "127.0.0.1.elsewhere.org:80",
        "127.0.0.1@elsewhere.org",
        "localhost:80:80",
        "localhost:",
        "0.0.0.0:8787",
        "",
    ],
)
def test_another_name_is_refused_with_any_token(port, host):
    given = {**HEADER, **cookie(port), "Host": host}
    assert_refused(ask(port, f"/status?token={TOKEN}", given), b"a host name that is not its own")


def test_a_request_without_a_host_is_refused(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /status?token={TOKEN} HTTP/1.0\r\n\r\n".encode())
        assert connection.recv(100).split()[1] == b"403"


@pytest.mark.parametrize("origin", ["http://elsewhere.org", "http://127.0.0.1:1", "null"])
def test_pages_of_others_have_no_business_here(port, origin):
    given = {**cookie(port), "Origin": origin}
    assert_refused(ask(port, "/status", given), b"or by a page of another host")
    own = {**cookie(port), "Origin": f"http://127.0.0.1:{port}"}
    assert ask(port, "/status", own).status == 200


# Behind a proxy, such as JupyterHub's.

HUB = "hub.example.org"


@pytest.fixture(scope="module")
def ports():
    """Ports of clusters behind the hub, and behind a proxy of any name."""
    with contextlib.ExitStack() as closing:
        yield {
            host: closing.enter_context(
                local._Cluster(
                    scheduler_class(TOKEN, host),
                    n_workers=0,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                )
            ).scheduler.http_server.port
            for host in (HUB, "")
        }


@pytest.mark.parametrize(
    ("host", "name"),
    [(HUB, HUB), (HUB, "HUB.example.org:443"), (HUB, "localhost"), ("", HUB), ("", "other.org")],
)
def test_a_proxy_needs_the_token(ports, host, name):
    port, headers = ports[host], {"Host": name, "Origin": f"https://{name}"}
    assert_refused(ask(port, "/status", headers))
    assert_refused(ask(port, f"/status?token={new_token()}", headers))
    assert ask(port, "/status", {**headers, **HEADER}).status == 200


@pytest.mark.parametrize("name", ["elsewhere.org", f"x.{HUB}", f"{HUB}.elsewhere.org", "[", ""])
def test_another_name_than_the_proxys_is_refused(ports, name):
    reply = ask(ports[HUB], f"/status?token={TOKEN}", {"Host": name})
    assert_refused(reply, b"a host name that is not its own")


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/status", "./status"),
        ("/info/main/workers.html?a=1", "./workers.html?a=1"),
        ("/", "./"),
        ("//elsewhere.org/x", "./x"),
        ("/http:%2F%2Felsewhere.org", "./http:%2F%2Felsewhere.org"),
    ],
)
def test_behind_a_proxy_the_browser_stays_below_the_path_that_it_knows(ports, path, location):
    """And so does its cookie: the paths beside it are other users'."""
    mark = "&" if "?" in path else "?"
    reply = ask(ports[HUB], f"{path}{mark}token={TOKEN}", {"Host": HUB})
    assert (reply.status, reply.headers["Location"]) == (302, location)
    kept, *attributes = reply.headers["Set-Cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", "SameSite=Strict"]
    assert ask(ports[HUB], "/status", {"Host": HUB, "Cookie": kept}).status == 200


# Websockets.


def open_websocket(cluster, path, headers, **keywords):
    """Open a websocket; return the first message and what it was asked for."""
    port = cluster.scheduler.http_server.port

    async def talk():
        request = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers=headers)
        socket = await websocket_connect(request, **keywords)
        await socket.write_message('{"name": "ping"}')
        try:
            return await socket.read_message()
        finally:
            socket.close()

    return cluster.sync(talk)


@pytest.mark.parametrize("path", ["/eventstream", "/status/ws"])
@pytest.mark.parametrize("wrong", [*WRONG.values()][:4], ids=[*WRONG][:4])
def test_a_websocket_is_refused_without_the_token(cluster, port, path, wrong):
    for headers in ({}, cookie(port, wrong), {"Authorization": f"token {wrong}"}):
        with pytest.raises(HTTPClientError, match="403"):
            open_websocket(cluster, path, headers)
    with pytest.raises(HTTPClientError, match="403"):
        open_websocket(cluster, f"{path}?token={wrong}", {})


def test_a_websocket_of_another_page_is_refused_with_the_cookie(cluster, port):
    with pytest.raises(HTTPClientError, match="403"):
        open_websocket(cluster, "/eventstream", {**cookie(port), "Origin": "http://elsewhere.org"})


@pytest.mark.parametrize("way", ["cookie", "header", "query"])
def test_the_event_stream_works_with_the_token(cluster, port, way):
    headers = {"cookie": cookie(port), "header": HEADER, "query": {}}[way]
    path = f"/eventstream?token={TOKEN}" if way == "query" else "/eventstream"
    message = json.loads(open_websocket(cluster, path, headers))
    assert message == {"name": "add_worker", "worker": next(iter(cluster.scheduler.workers))}


@pytest.mark.parametrize("host", [None, "localhost:9999"])
def test_the_dashboard_draws_with_the_cookie(cluster, port, host):
    """Bokeh acknowledges its websocket, through a tunnel from another port as well."""
    at = host or f"127.0.0.1:{port}"
    headers = {**cookie(at.rpartition(":")[2]), "Host": at, "Origin": f"http://{at}"}
    page = ask(port, "/status", headers)
    token = re.search(rb'"token":"([^"]+)"', page.body)
    assert token is not None
    first = open_websocket(
        cluster, "/status/ws", headers, subprotocols=["bokeh", token[1].decode()]
    )
    assert json.loads(first)["msgtype"] == "ACK"
    # Bokeh packs the request into its page.
    packed = get_token_payload(token[1].decode())
    assert packed["headers"]["Host"] == at
    assert TOKEN not in repr(packed)


def test_a_client_is_not_asked_for_the_token_of_the_pages(cluster):
    with Client(cluster, set_as_default=False) as client:
        assert client.submit(sum, (1, 2)).result() == 3
        assert TOKEN not in repr(client.scheduler_info())
        assert TOKEN not in repr(cluster.sync(cluster.scheduler.get_cluster_state, ()))


def test_the_same_without_lock():
    """Were the pages not locked, the tests above would see it."""
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as plain:
        port = plain.scheduler.http_server.port
        assert {path for path in PATHS if ask(port, path).status == 403} == set()
        assert ask(port, "/status", {"Host": "elsewhere.org"}).status == 200
        assert json.loads(open_websocket(plain, "/eventstream", {}))["name"] == "pong"

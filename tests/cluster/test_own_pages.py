"""Pages of our own beside Dask's: behind the same lock, linked from them, and gone with them."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.models import Div
from distributed import LocalCluster

from seedwise.cluster import local, scheduler
from seedwise.cluster.pages import new_token
from seedwise.cluster.scheduler import scheduler_class
from tests.cluster.test_pages import ask

TOKEN = new_token()
HEADER = {"Authorization": f"token {TOKEN}"}
PATHS = ["/study", "/study/ws", "/individual-study", "/static/js/bokeh.min.js"]


class Pages:
    """A page of one word."""

    def __init__(self):
        self.n_ends = 0

    def application(self):
        return Application(FunctionHandler(lambda doc: doc.add_root(Div(text="hello"))))

    async def end(self):
        self.n_ends += 1


@pytest.fixture(scope="module")
def pages():
    return Pages()


@pytest.fixture(scope="module")
def port(pages):
    kind = scheduler_class(TOKEN, pages=lambda: pages)
    with local._Cluster(
        kind, n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler.http_server.port
        assert pages.n_ends == 0
    assert pages.n_ends == 1


@pytest.mark.parametrize("path", PATHS)
def test_they_are_refused_without_the_token(port, path):
    assert ask(port, path).status == 403
    assert ask(port, path, {"Authorization": "token wrong"}).status == 403


def test_the_page_has_its_scripts_from_here(port):
    reply = ask(port, "/study", HEADER)
    assert reply.status == 200
    assert b'src="static/js/bokeh.min.js' in reply.body
    assert b"//cdn" not in reply.body
    assert ask(port, "/static/js/bokeh.min.js", HEADER).status == 200


@pytest.mark.parametrize("path", ["/status", "/graph"])
def test_dasks_pages_work_and_lead_there(port, path):
    reply = ask(port, path, HEADER)
    assert reply.status == 200
    assert b'href="study"' in reply.body


def test_the_list_for_jupyterlabs_panel_has_dasks_and_ours(port):
    plots = json.loads(ask(port, "/individual-plots.json", HEADER).body)
    assert plots["Individual Study"] == "/individual-study"
    assert plots["Individual Task Stream"] == "/individual-task-stream"
    assert ask(port, "/individual-study", HEADER).status == 200


def test_other_schedulers_of_this_process_are_as_they_were(port):
    assert port
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as plain:
        plain_port = plain.scheduler.http_server.port
        assert b'href="study"' not in ask(plain_port, "/status").body
        assert ask(plain_port, "/study").status == 404
        assert b"Individual Study" not in ask(plain_port, "/individual-plots.json").body


@pytest.mark.parametrize("token", [TOKEN, None], ids=["locked", "open"])
def test_pages_are_made_once_when_one_is_asked_for(token):
    made = []

    def make() -> Pages:
        made.append(Pages())
        return made[-1]

    kind = scheduler_class(token, pages=make)
    with local._Cluster(
        kind, n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        port = cluster.scheduler.http_server.port
        if token is not None:
            assert ask(port, "/study").status == 403
        assert cluster.scheduler.http_application.applications == made == []
        with ThreadPoolExecutor(4) as threads:
            replies = threads.map(lambda path: ask(port, path, HEADER), ["/study", "/status"] * 2)
            assert [reply.status for reply in replies] == [200] * 4
        assert len(made) == 1
        assert len(cluster.scheduler.http_application.applications) == 2
    assert made[0].n_ends == 1


def test_a_page_that_cannot_end_does_not_keep_the_scheduler_from_ending(monkeypatch):
    monkeypatch.setattr(scheduler, "_END_S", 0.1)

    class Stuck(Pages):
        async def end(self):
            await super().end()
            await asyncio.Event().wait()

    class Broken(Pages):
        async def end(self):
            await super().end()
            raise RuntimeError("no")

    for pages in (Stuck(), Broken()):
        with local._Cluster(
            scheduler_class(TOKEN, pages=lambda pages=pages: pages),
            n_workers=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster:
            assert ask(cluster.scheduler.http_server.port, "/study", HEADER).status == 200
        assert cluster.scheduler.status.name == "closed"
        assert pages.n_ends == 1

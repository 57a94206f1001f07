"""The serving of a run's page, or of its studies, from its folder and without a cluster."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, FallbackHandler
from tornado.wsgi import WSGIContainer

from seedwise.cluster.dashboard import dashboard_address, page_link, proxy_host, tunnel_command
from seedwise.cluster.own_pages import OwnPages
from seedwise.cluster.pages import lock, new_token
from seedwise.cluster.place import STUDY
from seedwise.errors import MissingExtraError, NotARunError
from seedwise.folder.find import existing_run
from seedwise.results.read import entry_folders
from seedwise.study.follow import followed_storage
from seedwise.view.page.pages import StudyPages


def show_page(run_dir: str | Path, say: Callable[[str], None]) -> None:
    """Serve the page of a run, or of an entry, until Ctrl-C; the link is said, and the tunnel."""
    pages = StudyPages(existing_run(run_dir))
    _serve(lambda: OwnPages(pages), STUDY, say)


def show_optuna(run_dir: str | Path, say: Callable[[str], None]) -> None:
    """Serve optuna-dashboard over a run's studies until Ctrl-C; it can't change them."""
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise MissingExtraError("--optuna", extra="optuna-dashboard") from None
    directory = existing_run(run_dir)
    meta = directory.read_meta()
    if meta["kind"] == "sweep":
        raise NotARunError(directory.path, "a sweep has no Optuna study; --page shows it")
    files = {entry: folder.study_file for entry, folder in entry_folders(directory).items()}
    if meta["kind"] == "run":
        files = {meta["study_name"]: directory.study_file}
    fallback = {"fallback": WSGIContainer(wsgi(followed_storage(files)))}
    _serve(lambda: Application([(r".*", FallbackHandler, fallback)]), "dashboard", say)


def _serve(application: Callable[[], Any], path: str, say: Callable[[str], None]) -> None:
    async def serve() -> None:
        host, _, wanted = dashboard_address().partition(":")
        sockets = bind_sockets(int(wanted), host)
        port: int = sockets[0].getsockname()[1]
        server, token = HTTPServer(application()), new_token()
        lock(server, token, proxy_host())
        server.add_sockets(sockets)
        say(f"open {page_link(port, token, path)}")
        say(f"from a laptop, first: {tunnel_command(port)}")
        say("it follows the run until Ctrl-C")
        await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())

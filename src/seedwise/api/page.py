"""The serving of a run's page from its folder, without a cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from seedwise.cluster.dashboard import (
    dashboard_address,
    dashboard_link,
    proxy_host,
    study_link,
    tunnel_command,
)
from seedwise.cluster.own_pages import OwnPages
from seedwise.cluster.pages import lock, new_token
from seedwise.folder.find import existing_run
from seedwise.view.page.pages import StudyPages


def show_page(run_dir: str | Path, say: Callable[[str], None]) -> None:
    """Serve the page of a run, or of an entry, until Ctrl-C; the link is said, and the tunnel."""
    pages = StudyPages(existing_run(run_dir), is_live=False)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(pages, say))


async def _serve(pages: StudyPages, say: Callable[[str], None]) -> None:
    host, _, wanted = dashboard_address().partition(":")
    sockets = bind_sockets(int(wanted), host)
    port: int = sockets[0].getsockname()[1]
    application = OwnPages(pages)
    server = HTTPServer(application)
    token = new_token()
    lock(server, token, proxy_host())
    server.add_sockets(sockets)
    say(f"study      {study_link(dashboard_link(port, token))}")
    say(f"from a laptop, first: {tunnel_command(port)}")
    say("to end: Ctrl-C")
    try:
        await asyncio.Event().wait()
    finally:
        application.stop()
        server.stop()

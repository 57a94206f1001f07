"""The address of the scheduler's pages, and the link to them."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

from distributed import Client

from seedwise.cluster.keys import write_link

_LOOPBACK = "127.0.0.1"
_USUAL_PORT = 8787


def dashboard_address() -> str:
    """Return where to serve the scheduler's pages: at Dask's usual port, or at any if it is taken.

    Dask would find another port itself, but leave a socket open.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((_LOOPBACK, _USUAL_PORT))
        except OSError:
            return f"{_LOOPBACK}:0"
    return f"{_LOOPBACK}:{_USUAL_PORT}"


def dashboard_port(client: Client) -> int | None:
    """Return the port of the dashboard; None if there is none."""
    port: int | None = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    return port


def tunnel_command(port: int) -> str:
    """Return the ssh command that brings this machine's `port` to a laptop."""
    host = socket.getfqdn()
    if host.startswith("localhost"):  # the name of the loopback interface does not lead here
        host = socket.gethostname()
    return f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{host}"


def dashboard_link(port: int, token: str | None) -> str:
    """Return the link to the dashboard; with a token in it, it is a secret.

    The token is None if the pages ask for none.

    >>> dashboard_link(8787, "secret")
    'http://127.0.0.1:8787/status?token=secret'
    """
    link = f"http://127.0.0.1:{port}/status"
    return link if token is None else f"{link}?token={token}"


def published_link(
    client: Client, token: str | None, key_dir: Path
) -> tuple[str | None, str | None]:
    """Return the dashboard's link and the command that brings it to a laptop.

    A link with a token is written down for `seedwise status`, which may be called elsewhere.
    """
    port = dashboard_port(client)
    if not port:
        return None, None
    link = dashboard_link(port, token)
    if token:
        write_link(key_dir, link)
    return link, tunnel_command(port)

"""The address of the scheduler's pages, and the link to them."""

from __future__ import annotations

import getpass
import socket

from distributed import Client

_LOOPBACK = "127.0.0.1"


_USUAL_PORT = 8787


def dashboard_address() -> str:
    """Return where the scheduler's pages are to be: Dask's usual port, or any if it is taken.

    Dask would find another one itself, and leave a socket open.
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
    if host.startswith("localhost"):  # the name of the loopback interface is no way here
        host = socket.gethostname()
    return f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{host}"


def dashboard_link(port: int, token: str | None) -> str:
    """Return the link to the dashboard.

    Parameters
    ----------
    port : int
        Port of the scheduler's pages.
    token : str or None
        The token that they ask for; None if they ask for none.

    Returns
    -------
    str
        The link; with a token in it, it is a secret.

    Examples
    --------
    >>> dashboard_link(8787, "secret")
    'http://127.0.0.1:8787/status?token=secret'
    """
    link = f"http://127.0.0.1:{port}/status"
    return link if token is None else f"{link}?token={token}"

"""The address of the scheduler's pages, and the link to them."""

import getpass
import os
import socket
from typing import Any
from urllib.parse import urldefrag, urlsplit, urlunsplit

from distributed import Client
from distributed.utils import format_dashboard_link

from seedwise.cluster.keys import write_link
from seedwise.cluster.place import STUDY, RunTag

#: The variable that names the login node from which a driver's job was submitted.
LOGIN_VARIABLE = "SEEDWISE_LOGIN_HOST"

_LOOPBACK = "127.0.0.1"
_USUAL_PORT = 8787


def dashboard_address() -> str:
    """Return where to serve the pages: at Dask's usual port, or at any if it is taken."""
    # Dask would find another port itself, but leave a socket open.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((_LOOPBACK, _USUAL_PORT))
        except OSError:
            return f"{_LOOPBACK}:0"
    return f"{_LOOPBACK}:{_USUAL_PORT}"


def host_name() -> str:
    """Return the name by which others reach this machine."""
    host = socket.getfqdn()
    # The name of the loopback interface does not lead here.
    return socket.gethostname() if host.startswith("localhost") else host


def tunnel_command(port: int) -> str:
    """Return the ssh command that brings this machine's `port` to a laptop."""
    user, host = getpass.getuser(), host_name()
    login = os.environ.get(LOGIN_VARIABLE) or os.environ.get("SLURM_SUBMIT_HOST")
    is_here = login in (None, host, socket.gethostname())
    through = "" if is_here else f"-J {user}@{login} "
    return f"ssh -N -L {port}:127.0.0.1:{port} {through}{user}@{host}"


def dashboard_link(port: int, token: str | None) -> str:
    """Return the link to the dashboard by Dask's setting; with a token in it, it is a secret."""
    link: str
    try:
        link = format_dashboard_link(_LOOPBACK, port)
    except (LookupError, ValueError):  # it names a variable that is not set
        link = f"http://{_LOOPBACK}:{port}/status"
    if token is None:
        return link
    link = urldefrag(link).url
    return f"{link}{'&' if '?' in link else '?'}token={token}"


def proxy_host() -> str | None:
    """Return the host of a proxy that serves the pages; empty for any, None if there is none."""
    host = urlsplit(dashboard_link(_USUAL_PORT, None)).hostname or ""
    if host not in (_LOOPBACK, "localhost", "::1"):
        return host
    return "" if "JUPYTERHUB_SERVICE_PREFIX" in os.environ else None


def page_link(port: int, token: str | None, path: str) -> str:
    """Return the link to another page of the dashboard's server."""
    parts = urlsplit(dashboard_link(port, token))
    folder = parts.path.removesuffix("/status").rstrip("/")
    return urlunsplit(parts._replace(path=f"{folder}/{path}"))


def published_links(client: Client, token: str | None, tag: RunTag) -> dict[str, Any]:
    """Return what a `Place` has of its pages; the link to the dashboard is kept in a file, too."""
    port: int | None = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    if not port:
        return {}
    link = dashboard_link(port, token)
    if token:
        write_link(tag.key_dir, link)
    is_here = urlsplit(link).hostname == _LOOPBACK
    return {
        "dashboard": link,
        "study": None if tag.pages is None else page_link(port, token, STUDY),
        "tunnel": tunnel_command(port) if is_here else None,
    }

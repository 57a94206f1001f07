"""The command that brings the dashboard to a laptop."""

from __future__ import annotations

import getpass
import socket

import dask
import pytest

from seedwise.cluster.dashboard import LOGIN_VARIABLE, host_name, page_link, tunnel_command

#: The login node as `seedwise submit` names it, and as Slurm does; by way of which machine.
WAYS = {
    "no job": (None, None, None),
    "a job": (None, "login1", "login1"),
    "a submitted driver": ("login1.example.org", "login1", "login1.example.org"),
    "one that a node submitted": ("login1.example.org", "node7", "login1.example.org"),
    "a job on the login node": (None, socket.gethostname(), None),
    "a driver on the machine it was submitted from": (host_name(), None, None),
}


@pytest.mark.parametrize(("ours", "slurms", "through"), WAYS.values(), ids=WAYS)
def test_a_node_is_reached_through_the_login_node(monkeypatch, ours, slurms, through):
    for name, value in ((LOGIN_VARIABLE, ours), ("SLURM_SUBMIT_HOST", slurms)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    user = getpass.getuser()
    way = "" if through is None else f"-J {user}@{through} "
    assert tunnel_command(8787) == f"ssh -N -L 8787:127.0.0.1:8787 {way}{user}@{host_name()}"


LINKS = {
    "our own": ("http://{host}:{port}/status", "http://127.0.0.1:8787/study?token=secret"),
    "with a query": (
        "http://{host}:{port}/status?theme=dark",
        "http://127.0.0.1:8787/study?theme=dark&token=secret",
    ),
    "a proxy's": ("https://x.edu/p/{port}/status", "https://x.edu/p/8787/study?token=secret"),
    "a folder's": ("https://x.edu/p/{port}/", "https://x.edu/p/8787/study?token=secret"),
    "without a page": ("https://x.edu/p/{port}", "https://x.edu/p/8787/study?token=secret"),
}


@pytest.mark.parametrize(("setting", "link"), LINKS.values(), ids=LINKS)
def test_another_page_has_the_link_of_the_dashboard(setting, link):
    with dask.config.set({"distributed.dashboard.link": setting}):
        assert page_link(8787, "secret", "study") == link

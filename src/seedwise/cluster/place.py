"""The place where a run's work is done, once it is open."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Callable
from typing import Any, Protocol, Self

import attrs
from distributed import Client

from seedwise.model.options import ExecutionMode

__all__ = ["Demand", "Place", "dashboard_port", "tunnel_command"]


@attrs.frozen
class Demand:
    """How much work a run can have in flight.

    Attributes
    ----------
    chunks : int
        Chunks in flight at most.
    chunks_per_worker : int
        Chunks that one worker evaluates at once.
    """

    chunks: int
    chunks_per_worker: int

    def workers(self, most: int) -> int:
        """Workers that this work can keep busy, up to `most`."""
        return max(1, min(most, -(-self.chunks // self.chunks_per_worker)))


class _Closeable(Protocol):
    def close(self) -> Any: ...


@attrs.frozen
class Place:
    """An open cluster, and how to reach it.

    Attributes
    ----------
    client : distributed.Client
        Its client.
    mode : ExecutionMode
        What the result calls it.
    description : str
        Where the work runs, in words.
    dashboard : str or None
        Link to the Dask dashboard.
    tunnel : str or None
        Command that makes the link work from a laptop; None if it needs none.
    check : callable
        Raises if the place can do no work, and says why.
    owned : tuple
        What to close in the end; empty for what the caller passed.
    """

    client: Client
    mode: ExecutionMode
    description: str
    dashboard: str | None = None
    tunnel: str | None = None
    check: Callable[[], None] = lambda: None
    owned: tuple[_Closeable, ...] = ()

    def __enter__(self) -> Self:
        """Return the place itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is ours; a caller's cluster is left as it is."""
        for part in self.owned:
            # dask-jobqueue 0.9.0 asserts on closing after a refused job; all is cancelled by then.
            with contextlib.suppress(AssertionError):
                part.close()


def dashboard_port(client: Client) -> int | None:
    """Return the port of the dashboard; None if there is none."""
    port: int | None = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    return port


def tunnel_command(port: int) -> str:
    """Return the ssh command that brings this machine's `port` to a laptop."""
    return f"ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@{socket.getfqdn()}"

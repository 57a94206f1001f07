"""A cluster, client or scheduler address of the caller's, used as it is."""

from __future__ import annotations

from typing import Any

from distributed import Client, LocalCluster

from seedwise.cluster.place import Place
from seedwise.errors import AddressError, OptionError
from seedwise.model.options import ExecutionMode

__all__ = ["open_passed"]

_CONNECT_TIMEOUT_S = 10


def open_passed(cluster: Any) -> Place:
    """Use what the caller passed; it is neither closed nor scaled.

    Parameters
    ----------
    cluster : distributed Cluster, Client or str
        The cluster, its client, or its scheduler's address.

    Returns
    -------
    Place
        The place; of it only a client that was made here is closed in the end.

    Raises
    ------
    AddressError
        If no scheduler answers at the address.
    OptionError
        If the client is asynchronous.
    """
    owned: tuple[Client, ...] = ()
    if isinstance(cluster, Client):
        client = cluster
    elif isinstance(cluster, str):
        try:
            client = Client(cluster, set_as_default=False, timeout=_CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise AddressError(cluster, str(error).partition("\n")[0]) from error
        owned = (client,)
    else:
        client = Client(cluster, set_as_default=False)
        owned = (client,)
    if client.asynchronous:
        raise OptionError("cluster", cluster, "a client or cluster made with asynchronous=False")
    local = isinstance(client.cluster, LocalCluster)
    return Place(
        client=client,
        mode=ExecutionMode.SINGLE if local else ExecutionMode.DISTRIBUTED,
        description=f"the Dask cluster at {client.scheduler.address}, as it was passed",
        dashboard=client.dashboard_link or None,
        owned=owned,
    )

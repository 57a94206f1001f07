"""A cluster, client or scheduler address of the caller's, used as it is."""

from __future__ import annotations

import contextlib
from typing import Any

from distributed import Client, LocalCluster

from seedwise.cluster.place import Place
from seedwise.errors import AddressError, OptionError
from seedwise.model.options.mode import ExecutionMode, execution_mode
from seedwise.model.options.work import WorkOptions

_CONNECT_TIMEOUT_S = 10

# It may be scaled up by its owner.
_LEAST_SLOTS = 16


def open_passed(options: WorkOptions) -> Place:
    """Use what the caller passed; it is neither closed nor scaled.

    Parameters
    ----------
    options : WorkOptions
        The run's options; `cluster` is a Dask cluster, a client, or a scheduler's address.

    Returns
    -------
    Place
        The place; of it only a client that was made here is closed in the end.

    Raises
    ------
    AddressError
        If no scheduler answers at the address.
    OptionError
        If the client is asynchronous, or `mode` contradicts it.
    """
    with contextlib.ExitStack() as closing:
        client = _client(options.cluster, closing)
        local = isinstance(client.cluster, LocalCluster)
        mode = ExecutionMode.SINGLE if local else ExecutionMode.DISTRIBUTED
        _check(client, mode, options)
        return Place(
            client=client,
            mode=mode,
            description=f"the Dask cluster at {client.scheduler.address}, as it was passed",
            slots=max(_LEAST_SLOTS, sum(client.nthreads().values())),
            dashboard=client.dashboard_link or None,
            closing=closing.pop_all(),
        )


def _client(cluster: Any, closing: contextlib.ExitStack) -> Client:
    if isinstance(cluster, Client):
        return cluster
    try:
        client = Client(cluster, set_as_default=False, timeout=_CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise AddressError(str(cluster), str(error).partition("\n")[0]) from error
    return closing.enter_context(client)


def _check(client: Client, mode: ExecutionMode, options: WorkOptions) -> None:
    if client.asynchronous:
        raise OptionError("cluster", client, "a client or cluster made with asynchronous=False")
    asked = execution_mode(options.mode)
    if "mode" in options.given and asked is not mode:
        raise OptionError("mode", asked.value, f"{mode.value!r} for this cluster, or left out")

"""A cluster, client or scheduler address of the caller's, used as it is."""

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


def mode_of(cluster: Any) -> ExecutionMode:
    """Return the mode that a run has on a cluster, a client or an address of the caller's."""
    cluster = cluster.cluster if isinstance(cluster, Client) else cluster
    is_local = isinstance(cluster, LocalCluster)
    return ExecutionMode.SINGLE if is_local else ExecutionMode.DISTRIBUTED


def open_passed(options: WorkOptions) -> Place:
    """Use what the caller passed; of it only a client that was made here is closed in the end."""
    mode = mode_of(options.cluster)
    with contextlib.ExitStack() as closing:
        client = _client(options.cluster, closing)
        if client.asynchronous:
            allowed = "a client or cluster made with asynchronous=False"
            raise OptionError("cluster", client, allowed)
        asked = execution_mode(options.mode)
        if "mode" in options.given and asked is not mode:
            raise OptionError("mode", asked.value, f"{mode.value!r} for this cluster, or left out")
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

"""Opening the place that a run's options name."""

import contextlib
import multiprocessing
import warnings
from typing import Any

from distributed import Client, LocalCluster, get_worker
from distributed.threadpoolexecutor import thread_state

from seedwise.cluster.dask_settings import scheduler_interface
from seedwise.cluster.job import require_python
from seedwise.cluster.local import open_local
from seedwise.cluster.place import Demand, Place, RunTag
from seedwise.errors import AddressError, NestedDriverError, OptionError
from seedwise.model.options.work import ExecutionMode, WorkOptions, execution_mode
from seedwise.slurm.queue import require_slurm
from seedwise.usercode.find import require_main_guard

_CONNECT_TIMEOUT_S = 10

# It may be scaled up by its owner.
_LEAST_SLOTS = 16


def check_place(options: WorkOptions) -> None:
    """Refuse what can't work here, before anything is made."""
    require_main_guard()
    if options.place == "local":
        if multiprocessing.current_process().daemon:
            raise NestedDriverError(
                "this process is daemonic, as those of multiprocessing.Pool and of Dask workers "
                "are, and may not start the processes of local workers",
                "Use concurrent.futures.ProcessPoolExecutor, or Dask workers with the setting "
                "distributed.worker.daemon=False, or begin the run in the script itself.",
            )
    elif options.place == "slurm":
        slurm = options.slurm_settings
        keyword = "interface" if slurm.scheduler_interface is None else "scheduler_interface"
        require_slurm(scheduler_interface(slurm), keyword)
        require_python(slurm)
    elif options.workers is not None:
        allowed = "None for a cluster that you pass: it is never scaled"
        raise OptionError("workers", options.workers, allowed)
    else:
        _refuse_own_task(options.cluster)


def place_mode(options: WorkOptions) -> ExecutionMode:
    """Return what the result calls the place that a run's options name."""
    if options.place == "local":
        return ExecutionMode.SINGLE
    if options.place == "slurm":
        return ExecutionMode.DISTRIBUTED
    cluster = options.cluster
    cluster = cluster.cluster if isinstance(cluster, Client) else cluster
    is_local = isinstance(cluster, LocalCluster)
    return ExecutionMode.SINGLE if is_local else ExecutionMode.DISTRIBUTED


def open_place(options: WorkOptions, demand: Demand, tag: RunTag) -> Place:
    """Open the place where a run's work is done; as a context it closes in the end."""
    if options.insecure and options.place in ("local", "slurm"):
        warnings.warn(
            "insecure=True: the connections of this run have no TLS, and its pages no token. "
            "Anyone who can reach this machine or its workers, every user of it included, can "
            "run code as you while the run goes on.",
            stacklevel=2,
        )
    if options.place == "local":
        return open_local(options, demand, tag)
    if options.place == "slurm":
        # Imported when needed: dask-jobqueue reads and writes configuration on import.
        from seedwise.cluster.slurm import open_slurm

        return open_slurm(options, demand, tag)
    return _open_passed(options)


def _open_passed(options: WorkOptions) -> Place:
    """Use what the caller passed; of it only a client that was made here is closed in the end."""
    with contextlib.ExitStack() as closing:
        client = options.cluster
        if not isinstance(client, Client):
            try:
                client = Client(client, set_as_default=False, timeout=_CONNECT_TIMEOUT_S)
            except (OSError, ValueError) as error:
                raise AddressError(str(client), str(error).partition("\n")[0]) from error
            closing.enter_context(client)
        if client.asynchronous:
            allowed = "a client or cluster made with asynchronous=False"
            raise OptionError("cluster", client, allowed)
        asked, mode = execution_mode(options.mode), place_mode(options)
        if "mode" in options.given and asked is not mode:
            raise OptionError("mode", asked.value, f"{mode.value!r} for this cluster, or left out")
        return Place(
            client=client,
            description=f"the Dask cluster at {client.scheduler.address}, as it was passed",
            slots=max(_LEAST_SLOTS, sum(client.nthreads().values())),
            dashboard=client.dashboard_link or None,
            closing=closing.pop_all(),
        )


def _refuse_own_task(cluster: Any) -> None:
    """Refuse a task of the cluster's: the thread that it takes may be the one for its chunks."""
    try:
        worker = get_worker()
    except ValueError:
        return
    if isinstance(cluster, Client):
        cluster = cluster.scheduler.address
    address = getattr(cluster, "scheduler_address", cluster)
    # A task that has seceded, as `worker_client` has it do, takes none.
    if address == worker.scheduler.address and getattr(thread_state, "proceed", False):
        raise NestedDriverError(
            "this is a task of the cluster that is to evaluate the chunks; they may wait for ever "
            "for the thread that it takes",
            "Begin the run in the script itself, or pass the client of "
            "distributed.worker_client().",
        )

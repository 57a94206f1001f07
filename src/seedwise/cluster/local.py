"""LocalCluster: workers on this machine."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from multiprocessing import spawn
from typing import Any

import dask
from distributed import Client, LocalCluster, Scheduler, Security

from seedwise.cluster.dashboard import dashboard_address, published_links, scheduler_class
from seedwise.cluster.dask_settings import (
    SCHEDULER_SETTINGS,
    WORKER_SETTINGS,
    own_scratch,
    quiet_dask,
    starting,
    thread_settings,
)
from seedwise.cluster.keys import run_keys
from seedwise.cluster.pages import new_token
from seedwise.cluster.place import Demand, RunTag
from seedwise.cluster.pool.local import LocalPlace
from seedwise.cluster.pool.size import Target, span, worker_bounds
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.work import WorkOptions


def open_local(options: WorkOptions, demand: Demand, tag: RunTag) -> LocalPlace:
    """Start a LocalCluster, bound to the loopback interface."""
    low, high = worker_bounds(options, demand)
    with contextlib.ExitStack() as closing:
        closing.enter_context(quiet_dask())
        # For as long as it is open: workers that are started later are to have it, too.
        closing.enter_context(dask.config.set(_settings(options)))
        closing.enter_context(_environment_kept(thread_settings(options)))
        security = None if options.insecure else closing.enter_context(run_keys(tag.key_dir))
        token = None if options.insecure else new_token()
        closing.enter_context(own_scratch())
        closing.enter_context(_spawned_without_script())
        first, kind = max(low, demand.workers(high)), scheduler_class(token, tag.pages)
        cluster = closing.enter_context(_start(first, demand.chunks_per_worker, security, kind))
        client = closing.enter_context(Client(cluster, set_as_default=False))
        dashboard, study, tunnel = published_links(client, token, tag)
        return LocalPlace(
            client=client,
            mode=ExecutionMode.SINGLE,
            description=f"{span(low, high, 'worker')} on this machine",
            slots=high * demand.chunks_per_worker,
            dashboard=dashboard,
            study=study,
            tunnel=tunnel,
            cluster=cluster,
            target=Target(low, high, demand.chunks_per_worker),
            closing=closing.pop_all(),
        )


def _settings(options: WorkOptions) -> dict[str, Any]:
    before = dask.config.get("distributed.nanny.pre-spawn-environ")
    return {
        **SCHEDULER_SETTINGS,
        **WORKER_SETTINGS,
        # Dask would close a worker that takes longer to start anew, and go on counting it; how
        # long that takes depends on what the user's script imports. The pool looks after it.
        "distributed.deploy.lost-worker-timeout": "3650 days",
        "distributed.nanny.pre-spawn-environ": {**before, **thread_settings(options)},
    }


@contextlib.contextmanager
def _environment_kept(names: Iterable[str]) -> Iterator[None]:
    """Undo what Dask's nannies do to our own variables: the next run would take it as given."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class _Cluster(LocalCluster):  # type: ignore[misc]
    """A LocalCluster that is told the class of its scheduler, and tells how workers start."""

    def __init__(self, scheduler_class: type[Scheduler], **keywords: Any) -> None:
        #: Why workers last failed to start.
        self.start_error: Exception | None = None
        self._scheduler_class = scheduler_class
        super().__init__(**keywords)

    async def _start(self) -> None:
        self.scheduler_spec["cls"] = self._scheduler_class
        await super()._start()

    @property
    def is_creating(self) -> bool:
        """Whether it makes workers right now, or is about to; to be asked in its loop."""
        return self._correct_state_waiting is not None or self._lock.locked()

    async def _correct_state_internal(self) -> None:
        try:
            await super()._correct_state_internal()
        except Exception as error:
            self.start_error = error
            raise


def _start(
    n_workers: int, threads: int, security: Security | None, kind: type[Scheduler]
) -> LocalCluster:
    with starting("local workers"):
        return _Cluster(
            kind,
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            protocol="tcp://" if security is None else "tls://",
            security=security,
            worker_class="seedwise.worker.servers.LockedNanny",
            dashboard_address=dashboard_address(),
            silence_logs=logging.ERROR,
            preload=["seedwise.worker.servers"],
        )


_spawning = threading.Lock()
_n_spawning = 0
_prepared = spawn.get_preparation_data


@contextlib.contextmanager
def _spawned_without_script() -> Iterator[None]:
    """Have multiprocessing not import the script in workers, which import a snapshot of it."""
    global _n_spawning  # noqa: PLW0603 - several runs may be at work
    with _spawning:
        _n_spawning += 1
        spawn.get_preparation_data = _prepared_without_script
    try:
        yield
    finally:
        with _spawning:
            _n_spawning -= 1
            if not _n_spawning:
                spawn.get_preparation_data = _prepared


def _prepared_without_script(name: str) -> dict[str, Any]:
    data = _prepared(name)
    if name == "Dask Worker process (from Nanny)":
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data

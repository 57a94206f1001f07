"""LocalCluster: workers on this machine, as many as are wanted, and a new one for each lost."""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import spawn
from typing import Any

import attrs
import dask
from distributed import Client, LocalCluster, Scheduler
from distributed.core import Status

from seedwise.cluster.dashboard import dashboard_address, proxy_host, published_links
from seedwise.cluster.dask_settings import (
    SCHEDULER_SETTINGS,
    WORKER_SETTINGS,
    starting,
    thread_settings,
    tidy_dask,
)
from seedwise.cluster.keys import run_keys
from seedwise.cluster.pages import new_token
from seedwise.cluster.place import Demand, Place, RunTag, run_soon
from seedwise.cluster.pool.size import Backoff, Budget, Target, span, worker_bounds
from seedwise.cluster.scheduler import scheduler_class
from seedwise.errors import ClusterStartError
from seedwise.model.options.work import WorkOptions
from seedwise.model.status import PoolStatus

# Within seconds a nanny restarts a worker that died, unless it has given it up.
_ANEW_S = 10.0
# A worker that is alive is back when it has imported the user's script, unless it hangs.
_ABSENT_S = 300.0
_ASK_AGAIN_S = 30.0
_MOST_FAILED_STARTS = 3
_GIVEN_UP = {Status.closing, Status.closed, Status.failed, Status.closing_gracefully}


def open_local(options: WorkOptions, demand: Demand, tag: RunTag) -> Place:
    """Start a LocalCluster, bound to the loopback interface."""
    low, high = worker_bounds(options, demand)
    with contextlib.ExitStack() as closing:
        closing.enter_context(tidy_dask())
        # For as long as it is open: workers that are started later are to have it, too.
        closing.enter_context(dask.config.set(_settings(options)))
        closing.enter_context(_environment_kept(thread_settings(options)))
        security = None if options.insecure else closing.enter_context(run_keys(tag.key_dir))
        token = None if options.insecure else new_token()
        closing.enter_context(_spawned_without_script())
        with starting("local workers"):
            cluster = _Cluster(
                scheduler_class(token, proxy_host(), tag.pages),
                n_workers=max(low, demand.workers(high)),
                threads_per_worker=demand.chunks_per_worker,
                processes=True,
                host="127.0.0.1",
                protocol="tcp://" if security is None else "tls://",
                security=security,
                worker_class="seedwise.worker.servers.LockedNanny",
                dashboard_address=dashboard_address(),
                silence_logs=logging.ERROR,
                preload=["seedwise.worker.servers"],
            )
        closing.enter_context(cluster)
        client = closing.enter_context(Client(cluster, set_as_default=False))
        return LocalPlace(
            client=client,
            description=f"{span(low, high, 'worker')} on this machine",
            slots=high * demand.chunks_per_worker,
            **published_links(client, token, tag),
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


@attrs.define(eq=False, kw_only=True)
class LocalPlace(Place):
    """A LocalCluster of ours, which keeps as many workers as are wanted."""

    cluster: _Cluster
    target: Target
    clock: Callable[[], float] = time.monotonic
    #: When each worker that must leave was last asked to.
    _leaving: dict[Any, float] = attrs.field(init=False, factory=dict)
    _dead_since_s: dict[Any, float] = attrs.field(init=False, factory=dict)
    _absent_since_s: dict[Any, float] = attrs.field(init=False, factory=dict)
    _joined: set[Any] = attrs.field(init=False, factory=set)
    _failed_starts: Backoff = attrs.field(init=False, factory=lambda: Backoff(2.0, 60.0))
    _budget: Budget = attrs.field(init=False, factory=Budget)
    _error: ClusterStartError | None = attrs.field(init=False, default=None)
    _n_lost: int = attrs.field(init=False, default=0)
    _wanted: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with the workers of the cluster, which have joined: else there would be none."""
        self._note_joined(set(self.cluster.worker_spec))
        self._wanted = len(self._joined)

    def scale(self, least: int, most: int) -> None:
        """Change the bounds of the number of workers."""
        self.target.scale(least, most)
        self.say("scaled", self.target.words, warns=True)
        self.check()

    def pool(self) -> PoolStatus:
        """Return how many workers there are and are wanted."""
        # The loop's thread may be changing these: they may be counted, but not iterated.
        joined = len(self.cluster.scheduler.workers)
        return PoolStatus(
            least=self.target.least,
            most=self.target.most,
            wanted=self._wanted,
            joined=joined,
            pending=max(0, len(self.cluster.worker_spec) - len(self._leaving) - joined),
            lost=self._n_lost,
        )

    def check(self) -> None:
        """Compare once what is wanted with what there is; raise if none starts any more."""
        self._wanted = self.target.wanted(self.chunks_out(), self.clock())
        self.cluster.sync(self._mend)

    async def _mend(self) -> None:
        """Act in the loop of the cluster, because that loop changes what is looked at here."""
        await self._look()
        if self._error is not None:
            raise self._error
        self._fit()

    async def _look(self) -> None:
        """Note the workers that have joined, and forget those that are gone for good."""
        cluster, now_s = self.cluster, self.clock()
        names = cluster.worker_spec.keys() | cluster.workers.keys()
        self._joined &= names
        # A worker may have come and gone since the last look; one that never came has failed.
        started = {n for n, nanny in cluster.workers.items() if nanny.status is not Status.failed}
        new = ((self._present().keys() | started) & names) - self._joined
        if new:
            self._note_joined(new)
            self._failed_starts.succeeded()
        gone = self._gone(now_s)
        nannies = [cluster.workers[name] for name in gone if name in cluster.workers]
        failed = [name for name in gone if not self._forget(name)]
        if failed:
            self._start_failed(len(failed), now_s)
        # A nanny that can't be closed is useless too, but no reason to end the run.
        await asyncio.gather(*(nanny.close() for nanny in nannies), return_exceptions=True)

    def _note_joined(self, names: set[Any]) -> None:
        self._joined |= names
        for name in sorted(names, key=str):
            self.say("joined", f"worker {name} joined")

    def _present(self) -> dict[Any, Any]:
        return {worker.name: worker for worker in self.cluster.scheduler.workers.values()}

    def _gone(self, now_s: float) -> list[Any]:
        """Return the names of workers that will not come or not come back."""
        cluster = self.cluster
        # Dask lists the workers that it creates once all of them have started or failed. It counts
        # those that it could not make, or has closed after a long absence, but does not list them.
        unlisted = [name for name in cluster.worker_spec if name not in cluster.workers]
        gone = [] if cluster.is_creating else unlisted
        present = self._present()
        for name, nanny in cluster.workers.items():
            dead_s = _elapsed_s(self._dead_since_s, name, now_s, ends=nanny.is_alive())
            absent_s = _elapsed_s(self._absent_since_s, name, now_s, ends=name in present)
            given_up = nanny.status in _GIVEN_UP and not nanny.is_alive()
            if given_up or dead_s > _ANEW_S or absent_s > _ABSENT_S:
                gone.append(name)
        return gone

    def _forget(self, name: Any) -> bool:
        """Forget a worker; return whether it had joined or was to leave."""
        # Dask's own callbacks may have forgotten it already.
        self.cluster.worker_spec.pop(name, None)
        self.cluster.workers.pop(name, None)
        self._dead_since_s.pop(name, None)
        self._absent_since_s.pop(name, None)
        had_joined = name in self._joined
        self._joined.discard(name)  # another one may get its name
        if self._leaving.pop(name, None) is not None:
            self.say("left", f"worker {name} left")
            return True
        self._n_lost += 1
        if had_joined:
            self.say("lost", f"worker {name} was lost, and does not come back", warns=True)
        return had_joined

    def _start_failed(self, n_workers: int, now_s: float) -> None:
        self._failed_starts.failed(now_s)
        n_failed = self._failed_starts.n_failures
        error: BaseException | None = self.cluster.start_error
        while error is not None and error.__cause__ is not None:  # Dask only says: a nanny failed
            error = error.__cause__
        why = "no reason given" if error is None else f"{type(error).__name__}: {error}"
        workers = span(n_workers, n_workers, "worker")
        self.say("lost", f"{workers} did not start: {why}", warns=True)
        # Workers that had joined and are away are restarted by their nannies.
        if n_failed >= _MOST_FAILED_STARTS and not self._joined:
            problem = f"{n_failed} attempts in a row failed, the last one with {why}"
            self._error = ClusterStartError("local workers", problem)

    def _fit(self) -> None:
        """Start workers, or have some leave."""
        now_s, spec, present = self.clock(), self.cluster.worker_spec, self._present()
        again = [name for name, asked_s in self._leaving.items() if now_s > asked_s + _ASK_AGAIN_S]
        # Their nannies may have restarted them.
        again = [n for n in again if n in present and present[n].status is Status.running]
        self._let_go(again, present)
        n_alive = len(spec) - len(self._leaving)
        if n_alive < self._wanted:
            self._start(self._wanted - n_alive, now_s)
        elif n_alive > self._wanted:
            staying = [n for n in reversed(list(spec)) if n in present and n not in self._leaving]
            idle = [name for name in staying if not present[name].processing]
            busy = [name for name in staying if present[name].processing]
            going = idle[: n_alive - self._wanted]
            # After the bounds were lowered, busy workers may have to go as well.
            going += busy[: max(0, n_alive - self.target.most - len(going))]
            self._let_go(going, present)

    def _start(self, n_missing: int, now_s: float) -> None:
        if not self._failed_starts.is_over(now_s):
            return
        n_there = len(self.cluster.worker_spec)
        if self._failed_starts.is_on:  # one shows whether starting works again
            n_missing = min(n_missing, 1) if n_there == len(self._joined) else 0
        n_new = min(n_missing, self._budget.left(self.target.most, now_s))
        for _ in range(n_new):
            self._budget.spend(now_s)
        if n_new:
            self.cluster.scale(n_there + n_new)

    def _let_go(self, names: Sequence[Any], present: Mapping[Any, Any]) -> None:
        self._leaving |= dict.fromkeys(names, self.clock())
        addresses = [present[name].address for name in names]
        run_soon(self.client, self.depart, addresses, reason="not needed")


def _elapsed_s(since_s: dict[Any, float], name: Any, now_s: float, *, ends: bool) -> float:
    """Return for how long something holds, and note since when; it `ends` if it does not hold."""
    if ends:
        since_s.pop(name, None)
        return 0.0
    return now_s - since_s.setdefault(name, now_s)


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

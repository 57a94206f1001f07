"""Clusters that a test may do harm to: a real one, and one of threads that does as Dask does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import cloudpickle
import dask
import distributed
from distributed import Client, KilledWorker, LocalCluster, Reschedule

from seedwise.cluster.dask_settings import SCHEDULER_SETTINGS
from seedwise.worker import chunk, departure
from seedwise.worker.departure import depart, is_departing
from tests.testbed.daemons import poll


class RealCluster:
    """A LocalCluster of two workers, with the settings of our own clusters."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def workers(self) -> list[str]:
        return list(self.client.scheduler_info(n_workers=-1)["workers"])

    def name_of(self, worker: str) -> str:
        return str(self.client.scheduler_info(n_workers=-1)["workers"][worker]["name"])

    @property
    def pids(self) -> set[int]:
        return set(self.client.run(os.getpid).values())

    def await_all(self, futures: Sequence[Any]) -> None:
        with self.client.as_current():
            distributed.wait(futures)

    def kill(self, *workers: str) -> None:
        for pid in self.client.run(os.getpid, workers=list(workers)).values():
            os.kill(pid, signal.SIGKILL)

    def retire(self, *workers: str) -> None:
        # Not Dask's retire_workers, after which a nanny may start its worker again.
        for worker in workers:
            self.depart(worker)
        poll(lambda: not set(workers) & set(self.workers), "the workers to leave")

    def add_worker(self) -> None:
        self.client.cluster.scale(3)  # it counts those that were retired

    def depart(self, worker: str) -> None:
        self.client.run(depart, reason="fewer are wanted", workers=[worker])

    def ends_in(self, worker: str, seconds: float) -> None:
        """Have a worker's job end in so many seconds."""
        ends_at = str(time.time() + seconds)
        self.client.run(lambda: os.environ.update(SEEDWISE_JOB_ENDS_AT=ends_at), workers=[worker])


@contextlib.contextmanager
def real_cluster() -> Iterator[RealCluster]:
    with (
        dask.config.set(SCHEDULER_SETTINGS),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield RealCluster(client)


# What losses do, on either.


def die() -> None:
    """Take down the worker."""
    worker = distributed.get_worker()
    if hasattr(worker, "die"):
        worker.die()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def hang() -> float:
    """Never come back, for as long as the worker lives."""
    ended = getattr(distributed.get_worker(), "ended", threading.Event())
    return float(ended.wait())


# One of threads.


class FakeFuture:
    """A task and what became of it."""

    def __init__(self, key: str, order: tuple[int, int], call: Callable[[], Any]) -> None:
        self.key = key
        self.order = order
        self.call = call
        self.status = "pending"
        self.result: Any = None
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[FakeFuture], None]] = []

    def exception(self) -> BaseException | None:
        return self.error

    def add_done_callback(self, callback: Callable[[FakeFuture], None]) -> None:
        self.callbacks.append(callback)
        if self.status in ("finished", "error", "cancelled"):
            self.tell()

    def tell(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback(self)


class FakeWorker:
    """A worker as plugin, `evaluate_chunk` and `depart` see it."""

    def __init__(self, cluster: FakeCluster, name: int, address: str) -> None:
        self.name = name
        self.address = address
        self.plugins: dict[str, Any] = {}
        self.loop = SimpleNamespace(add_callback=lambda *_: cluster.stir())
        self.ended = threading.Event()
        self.ends_s: float | None = None
        self.task: FakeFuture | None = None
        self.n_begun = 0
        self.results: weakref.WeakSet[FakeFuture] = weakref.WeakSet()
        self.thread = threading.Thread(target=cluster.work, args=[self], daemon=True)
        self._cluster = cluster

    def log_event(self, topic: str, message: dict[str, Any]) -> None:
        self._cluster.topics[topic]((time.time(), message))

    def die(self) -> None:
        self._cluster.kill(self.address)


class FakeCluster:
    """A scheduler, its client and two workers, which are threads that evaluate chunks.

    It does what `bring` and `DaskDispatcher` ask of a client: tasks go out by priority, those
    that run on a worker that is killed fail with KilledWorker, its results are evaluated again,
    and another worker takes its place; what a worker gives back goes to another.
    """

    status = "running"

    def __init__(self) -> None:
        self.topics: dict[str, Callable[[Any], None]] = {}
        self.scheduler_comm = SimpleNamespace(interval=0.01)
        self._plugins: dict[str, bytes] = {}
        self._queue: list[FakeFuture] = []
        self._members: dict[str, FakeWorker] = {}
        self._ports = itertools.count(1)
        self._count = itertools.count()
        self._changed = threading.Condition(threading.RLock())
        self._threads: list[threading.Thread] = []
        self._local = threading.local()
        self._timeout_s = 0.0

    # What a test does.

    @property
    def client(self) -> FakeCluster:
        return self

    @property
    def workers(self) -> list[str]:
        return list(self._members)

    def name_of(self, worker: str) -> str:
        return str(self._members[worker].name)

    @property
    def pids(self) -> set[int]:
        return {os.getpid()}

    def await_all(self, futures: Sequence[FakeFuture]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: all(f.status != "pending" for f in futures), 30)

    def kill(self, *workers: str) -> None:
        with self._changed:
            lost = [self._members.pop(address) for address in workers]
            failed = [worker.task for worker in lost if worker.task is not None]
            for worker in lost:
                if worker.task is not None and worker.task.status == "pending":
                    about = SimpleNamespace(name=worker.name, address=worker.address)
                    worker.task.error = KilledWorker(worker.task.key, about, 0)
                    worker.task.status = "error"
                for future in worker.results:
                    if future.status == "finished":
                        future.status = "lost"
                        self._queue.append(future)
            for worker in lost:
                self._end(worker)
                self.add_worker(worker.name)
        for future in failed:
            future.tell()

    def retire(self, *workers: str) -> None:
        with self._changed:
            for address in workers:
                self._end(self._members.pop(address))

    def add_worker(self, name: int | None = None) -> None:
        port = next(self._ports)
        worker = FakeWorker(self, port if name is None else name, f"tcp://fake:{port}")
        with self._changed:
            for loss_id, plugin in self._plugins.items():
                self._set_up(worker, loss_id, plugin)
            self._members[worker.address] = worker
        self._threads.append(worker.thread)
        worker.thread.start()

    def depart(self, worker: str) -> None:
        depart(self._members[worker], "fewer are wanted")

    def ends_in(self, worker: str, seconds: float) -> None:
        self._members[worker].ends_s = time.monotonic() + seconds

    def stir(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        self.retire(*self.workers)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    # What workers do.

    def this_worker(self) -> FakeWorker:
        return self._local.worker

    def left_s(self) -> float | None:
        ends_s = self.this_worker().ends_s
        return None if ends_s is None else ends_s - time.monotonic()

    def work(self, worker: FakeWorker) -> None:
        self._local.worker = worker
        while self._evaluate(worker):
            pass

    def _evaluate(self, worker: FakeWorker) -> bool:
        """Evaluate a task; without one, because the worker has ended, return False."""
        future = self._next(worker)
        if future is None:
            return False
        status, result = "finished", None
        try:
            result = pickle.loads(pickle.dumps(future.call()))
        except Reschedule:
            status = "pending"
        except Exception as error:
            status, result = "error", error
        with self._changed:
            worker.task = None
            if worker.ended.is_set() or future.status != "pending":
                return True  # it was lost, or called off
            future.status = status
            if status == "pending":
                self._queue.append(future)
            elif status == "error":
                future.error = result
            else:
                future.result = result
                worker.results.add(future)
            self._changed.notify_all()
        if status != "pending":
            future.tell()
        return True

    def _next(self, worker: FakeWorker) -> FakeFuture | None:
        with self._changed:
            while not worker.ended.is_set():
                if is_departing(worker):
                    if not worker.results:
                        self.retire(worker.address)
                    # What it holds is released without a word.
                    self._changed.wait(0.01)
                elif self._queue and self._is_next(worker):
                    future = min(self._queue, key=lambda future: future.order)
                    self._queue.remove(future)
                    future.status = "pending"
                    worker.task = future
                    worker.n_begun += 1
                    self._changed.notify_all()
                    return future
                else:
                    self._changed.wait()
        return None

    def _is_next(self, worker: FakeWorker) -> bool:
        """Tell whether no idle worker has begun fewer tasks: the work is spread, as Dask does."""
        idle = [one for one in self._members.values() if one.task is None]
        waiting = [one.n_begun for one in idle if not is_departing(one)]
        return worker.n_begun <= min(waiting)

    def _end(self, worker: FakeWorker) -> None:
        worker.ended.set()
        for plugin in worker.plugins.values():
            plugin.teardown(worker)
        self._changed.notify_all()

    def _set_up(self, worker: FakeWorker, loss_id: str, plugin: bytes) -> None:
        worker.plugins[loss_id] = pickle.loads(plugin)
        worker.plugins[loss_id].setup(worker)

    # What a client does.

    def register_plugin(self, plugin: Any) -> None:
        with self._changed:
            self._plugins[plugin.name] = cloudpickle.dumps(plugin)
            for worker in self._members.values():
                self._set_up(worker, plugin.name, self._plugins[plugin.name])

    def unregister_worker_plugin(self, name: str) -> None:
        with self._changed:
            del self._plugins[name]
            for worker in self._members.values():
                worker.plugins.pop(name).teardown(worker)

    def subscribe_topic(self, topic: str, handler: Callable[[Any], None]) -> None:
        self.topics[topic] = handler

    def unsubscribe_topic(self, topic: str) -> None:
        self.topics[topic] = lambda _: None

    def map(
        self,
        function: Callable[[Any], Any],
        arguments: Sequence[Any],
        *,
        key: Sequence[str],
        priority: int,
        pure: bool,
    ) -> list[FakeFuture]:
        assert not pure
        futures = []
        for one, argument in zip(key, arguments, strict=True):
            sent = pickle.dumps(argument)
            call = lambda sent=sent: function(pickle.loads(sent))  # noqa: E731
            futures.append(FakeFuture(one, (-priority, next(self._count)), call))
        with self._changed:
            self._queue += futures
            self._changed.notify_all()
        return futures

    def cancel(self, futures: Iterable[FakeFuture], reason: str) -> None:
        assert reason
        with self._changed:
            for future in futures:
                future.status = "cancelled"
                if future in self._queue:
                    self._queue.remove(future)

    def sync(self, function: Callable[[], Any], callback_timeout: float) -> Any:
        self._timeout_s = callback_timeout
        return asyncio.run(function())

    async def gather(self, futures: Sequence[FakeFuture], asynchronous: bool) -> list[Any]:
        assert asynchronous
        with self._changed:
            ends = ("finished", "error")
            if not self._changed.wait_for(
                lambda: all(future.status in ends for future in futures), self._timeout_s
            ):
                raise TimeoutError
            for future in futures:
                if future.error is not None:
                    raise future.error
            return [future.result for future in futures]

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": dict.fromkeys(self._members)}

    def restart_workers(self, workers: Sequence[str], raise_for_error: bool) -> None:
        assert not raise_for_error
        self.kill(*workers)


@contextlib.contextmanager
def fake_cluster(monkeypatch) -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    monkeypatch.setattr(distributed, "get_worker", cluster.this_worker)
    for module in (departure, chunk):
        monkeypatch.setattr(module, "job_left_s", cluster.left_s)
    for _ in range(2):
        cluster.add_worker()
    try:
        yield cluster
    finally:
        cluster.close()

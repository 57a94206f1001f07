"""The dispatcher: it sends chunks out with `client.map` and collects their results."""

import itertools
import math
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import attrs
import numpy as np
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from seedwise.dispatch.channel import Blame, Channel, Order, Traffic, failed
from seedwise.dispatch.clock import TrialClock, Walltime
from seedwise.dispatch.self_check import SelfCheck
from seedwise.dispatch.sizes import ChunkSizes, PackSize
from seedwise.errors import ClusterError
from seedwise.model.events import ChunkLost
from seedwise.model.statistics import component_mean
from seedwise.model.trials import ChunkResult
from seedwise.worker.chunk import ChunkTask, evaluate_chunk, evaluate_pack

_MOMENT_S = 0.05
# Tasks in a message: the event loop of the scheduler, which is the client's as well, takes 0.1
# to 0.4 ms for each, by the machine, and does nothing else meanwhile.
_MOST_IN_MESSAGE = 100
# Tasks that are out at once: enough for all slots, and what more of them cost the scheduler.
_LEAST_OUT = 1000
_OUT_PER_SLOT = 3
# How long after a message a client holds the next one back. Dask's 10 ms are longer than all else
# that a short trial takes.
_SEND_INTERVAL_S = 0.001


@attrs.frozen(eq=False)
class _Sent:
    """A Dask task of one chunk or of a pack of them."""

    orders: Sequence[Order]
    future: Future


@attrs.define
class Evaluated:
    """What came back from the workers."""

    n_chunks: int = 0
    #: Those of chunks that failed not included.
    n_seeds: int = 0
    #: Seconds that workers took for the chunks, together.
    busy_s: float = 0.0


class DaskDispatcher(AbstractContextManager["DaskDispatcher"]):
    """Has chunks evaluated by a Dask cluster.

    A chunk whose worker is lost is evaluated again, at no charge, in a process of its own: if the
    chunk has killed the worker, only that process will die, and the reason will be known. `check`
    is called about every second; it mends the cluster, or raises if no work is possible.
    """

    def __init__(
        self,
        client: Client,
        check: Callable[[], None],
        traffic: Traffic,
        self_check: SelfCheck | None = None,
    ) -> None:
        self.token = uuid.uuid4().hex[:8]
        self._client = client
        self._check = check
        self._traffic = traffic
        self._self_check = self_check
        limit_s = traffic.running_limit_s
        self._clock = TrialClock(math.inf if limit_s is None else limit_s)
        #: Dask topic on which workers say that they start a chunk; None if that is not needed.
        self.topic = None if limit_s is None else f"seedwise-{self.token}"
        self._out: dict[str, _Sent] = {}
        self._backlog: list[Order] = []
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._n_sent = 0
        self.pack = PackSize(traffic.slots)
        self.sizes = ChunkSizes(traffic.slots, traffic.chunk_limit_s)
        walltime_s = traffic.walltime_s
        self._walltime = Walltime(walltime_s, self._clock) if walltime_s is not None else None
        self._blame = Blame(traffic.fault)
        self._checked_s = self._looked_s = time.monotonic()
        self.evaluated = Evaluated()
        self._interval_s = client.scheduler_comm.interval
        client.scheduler_comm.interval = _SEND_INTERVAL_S
        if self.topic is not None:
            client.subscribe_topic(self.topic, self._clock.note_start)

    @property
    def n_outstanding(self) -> int:
        """How many Dask tasks are out, held back or waiting to be sent."""
        return len(self._out) + len(self._blame) + -(-len(self._backlog) // self.pack.size)

    def send(self, orders: Sequence[Order]) -> None:
        """Send out chunks of one trial, or let them wait for others to share a task with.

        They also wait while as many as are of use are out.
        """
        if self._self_check is not None:
            orders = list(map(self._self_check.with_reference, orders))
        if orders[0].task.isolated:
            self._send([[order] for order in orders])
            return
        self._backlog += orders
        if not self._traffic.packs:
            self._backlog.sort(key=lambda order: order.task.trial)
            self._send_backlog()

    def wait(self) -> list[tuple[Channel, ChunkResult]]:
        """Wait until there are results, or for a second; raise what is to end the run."""
        self._send_backlog()
        self._check_if_due()  # before results are taken: if it raises, none is lost
        again, results = self._blame.settled()
        for order in again:
            self._send_again(order)
        results += self._collect(self._done_keys())
        if not results:
            self._check_if_due()
        if time.monotonic() - self._looked_s >= self._traffic.tick_s:
            self._looked_s = time.monotonic()
            results += self._overdue()
        if self._self_check is not None:
            results = self._self_check.passed(results)
        return [(order.channel, result) for order, result in results]

    def cancel(self, unwanted: Callable[[Order], bool]) -> None:
        """Forget chunks that are still out; a pack only if all of its chunks are unwanted."""
        self._blame.forget(unwanted)
        self._call_off(unwanted)

    def __exit__(self, *_: object) -> None:
        """Forget all chunks that are still out."""
        if self._client.status == "running":
            if self.topic is not None:
                self._client.unsubscribe_topic(self.topic)
            self._client.cancel([sent.future for sent in self._out.values()], reason="run ended")
            self._client.scheduler_comm.interval = self._interval_s
        self._out.clear()
        self._backlog.clear()

    def _call_off(self, unwanted: Callable[[Order], bool]) -> None:
        self._backlog = [order for order in self._backlog if not unwanted(order)]
        self._withdraw(lambda sent: all(map(unwanted, sent.orders)), "trial decided")

    def _withdraw(self, which: Callable[[_Sent], bool], reason: str) -> list[Order]:
        """Forget some of the tasks that are out; return their chunks."""
        keys = [key for key, sent in self._out.items() if which(sent)]
        sents = [self._out.pop(key) for key in keys]
        self._client.cancel([sent.future for sent in sents], reason=reason)
        orders = [order for sent in sents for order in sent.orders]
        self._forget_starts(orders)
        return orders

    def _check_if_due(self) -> None:
        if time.monotonic() - self._checked_s < self._traffic.pause_s:
            return
        self._checked_s = time.monotonic()
        self._check()
        if self._walltime is not None:
            self._walltime.check()

    def _send_backlog(self) -> None:
        size = self.pack.size
        room = max(_LEAST_OUT, _OUT_PER_SLOT * self._traffic.slots()) - len(self._out)
        waiting = self._backlog[: max(0, room) * size]
        del self._backlog[: len(waiting)]
        packs = [waiting[i : i + size] for i in range(0, len(waiting), size)]
        # A message has one priority, so that of a search has the chunks of one trial.
        of_trial = itertools.groupby(
            packs, lambda pack: None if self._traffic.packs else pack[0].task.trial
        )
        for _, group in of_trial:
            left = list(group)
            while left:
                self._send(left[:_MOST_IN_MESSAGE])
                del left[:_MOST_IN_MESSAGE]

    def _send(self, packs: Sequence[Sequence[Order]], suffix: str = "") -> None:
        if self._walltime is not None:
            packs = [list(map(self._walltime.with_needs, pack)) for pack in packs]
        first = packs[0][0]
        alone = len(packs[0]) == 1
        self._n_sent += 1
        keys = [
            f"{pack[0].channel.key_stem}-{_key_end(pack[0].task)}{suffix}"
            if alone
            else f"{first.channel.key_stem}-p{self._n_sent:06}-{index:03}"
            for index, pack in enumerate(packs)
        ]
        futures = self._client.map(
            evaluate_chunk if alone else evaluate_pack,
            [pack[0].task if alone else [order.task for order in pack] for pack in packs],
            key=keys,
            priority=-first.task.trial,
            pure=False,
        )
        for pack, future in zip(packs, futures, strict=True):
            self._watch(_Sent(pack, future))

    def _done_keys(self) -> list[str]:
        """Wait for a task to finish, and a moment longer for others: each fetch takes about 1 ms.

        It ends when the earliest trial of a channel is complete, since it can be told then.
        """
        missing = self._earliest()
        keys: list[str] = []
        waits = self._self_check is not None and self._self_check.waits_for_driver
        until_s = time.monotonic() + (_MOMENT_S / 5 if waits else self._traffic.pause_s)
        while all(missing) or not keys:
            try:
                key = self._done.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                break
            if not keys:
                until_s = time.monotonic() + (0 if self._traffic.packs else _MOMENT_S)
            keys.append(key)
            for trial in missing:
                trial.discard(key)
        return keys

    def _earliest(self) -> list[set[str]]:
        """Return, for each channel, the keys of its earliest trial that are out."""
        if self._traffic.packs:
            return []
        trials: dict[Channel, dict[int, set[str]]] = {}
        for key, sent in self._out.items():
            order = sent.orders[0]
            trials.setdefault(order.channel, {}).setdefault(order.task.trial, set()).add(key)
        return [keys[min(keys)] for keys in trials.values()]

    def _collect(self, keys: Iterable[str]) -> list[tuple[Order, ChunkResult]]:
        results: list[tuple[Order, ChunkResult]] = []
        finished: list[_Sent] = []
        for key in keys:
            if key not in self._out:  # cancelled in the meantime
                continue
            sent = self._out.pop(key)
            status = sent.future.status
            if status == "finished":
                finished.append(sent)
            elif status == "error" and isinstance(sent.future.exception(), KilledWorker):
                self._run_again(sent, sent.future.exception())
            elif status == "error":
                error = sent.future.exception()
                why = type(error).__name__, str(error)
                results += [(order, failed(order.task, *why)) for order in sent.orders]
            elif status in ("pending", "lost"):  # finished, and then its worker was lost
                self._wait_again(sent)
            else:
                msg = f"Dask gave up {key} ({status}): the connection to the scheduler broke."
                raise ClusterError(msg)
        results += self._fetch(finished)
        for order, result in results:
            self._note(order, result)
        return results

    def _note(self, order: Order, result: ChunkResult) -> None:
        if not self.evaluated.n_seeds:
            warn_if_averaged(result)
        self.evaluated.n_chunks += 1
        self.evaluated.n_seeds += 0 if result.losses is None else result.n_seeds
        self.evaluated.busy_s += result.duration_s
        self._clock.note_end(order.trial, result.chunk)
        if self._walltime is not None:
            self._walltime.note(order, result)
        if result.failure is None and not order.task.isolated:
            self.sizes.note(result.worker, result.n_seeds, result.duration_s)

    def _fetch(self, finished: Sequence[_Sent]) -> list[tuple[Order, ChunkResult]]:
        async def gather() -> list[Any]:
            futures = [sent.future for sent in finished]
            return list(await self._client.gather(futures, asynchronous=True))

        # If a worker is lost between the end of its chunk and the fetch, Dask has the chunk
        # evaluated again and waits for it. We do not wait here: the time-out ends that.
        try:
            fetched = self._client.sync(gather, callback_timeout=self._traffic.tick_s)
        except (KilledWorker, TimeoutError):
            for sent in finished:
                self._wait_again(sent)
            return []
        results: list[tuple[Order, ChunkResult]] = []
        for sent, one in zip(finished, fetched, strict=True):
            done = one if isinstance(one, list) else [one]
            results += zip(sent.orders, done, strict=False)
            left = sent.orders[len(done) :]  # of a pack that took too long; they go out first
            self._forget_starts(left)
            self._backlog[:0] = left
        if self._traffic.packs and results:
            self.pack.note([result.duration_s for _, result in results])
        return results

    def _wait_again(self, sent: _Sent) -> None:
        self._forget_starts(sent.orders)
        self._watch(sent)

    def _run_again(self, sent: _Sent, killed: KilledWorker) -> None:
        worker = killed.last_worker.address
        orders = sent.orders
        is_alone = orders[0].task.isolated
        if self._walltime is not None and self._clock.at_its_end(worker):
            orders, is_alone = self._walltime.note_taken(orders, worker), False
            # The job must last for the chunk itself now.
            orders = [Order(o.channel, attrs.evolve(o.task, reference=None)) for o in orders]
        elif not is_alone:
            orders = [Order(o.channel, attrs.evolve(o.task, isolated=True)) for o in orders]
        self._forget_starts(orders)
        for order in orders:
            task = order.task
            order.channel.on_lost(ChunkLost(task.trial, int(task.chunk.seeds[0]), worker))
            if is_alone:
                self._blame.hold(order, str(killed.last_worker.name))
            else:
                self._send_again(order)

    def _send_again(self, order: Order) -> None:
        self._send([[order]], suffix=f"-r{self._n_sent}")

    def _forget_starts(self, orders: Iterable[Order]) -> None:
        for order in orders:
            self._clock.forget(order.trial, order.task.chunk.index)

    def _watch(self, sent: _Sent) -> None:
        self._out[str(sent.future.key)] = sent
        sent.future.add_done_callback(lambda done: self._done.put(done.key))

    def _overdue(self) -> list[tuple[Order, ChunkResult]]:
        """Fail the trials that have run for too long, and free the workers that run them."""
        if self.topic is None:
            return []
        orders = [order for sent in self._out.values() for order in sent.orders] + self._backlog
        results: list[tuple[Order, ChunkResult]] = []
        out = {order.trial for order in orders}
        self._clock.keep_only(out)
        for trial in self._clock.late(out):
            if not self._clock.late([trial]):  # it shared a pack with one before, and goes again
                continue
            if not self._traffic.ends_late_trials:
                self._traffic.on_late(trial)
                continue
            late = [order for order in orders if order.trial == trial]
            workers = self._clock.stop(trial)
            packs = self._withdraw(
                lambda sent, trial=trial: (  # type: ignore[misc]
                    len(sent.orders) > 1 and any(order.trial == trial for order in sent.orders)
                ),
                "run again one by one",
            )
            # Chunks that are held back do not run, and are settled by themselves.
            self._call_off(lambda order, trial=trial: order.trial == trial)  # type: ignore[misc]
            # A running task can't be cancelled, so its worker is restarted.
            known = workers & set(self._client.scheduler_info(n_workers=-1)["workers"])
            self._client.restart_workers(list(known), raise_for_error=False)
            if packs:  # which trial is late is seen when each chunk runs alone
                for order in packs + [order for order in late if order not in packs]:
                    self._forget_starts([order])
                    self._send_again(order)
            else:
                self._traffic.on_late(trial)
                limit = f"slurm_timeout_minutes={self._clock.limit_s / 60:g}"
                why = "TrialTimeout", f"the trial ran for more than {limit}"
                results += [(order, failed(order.task, *why)) for order in late]
        return results


def _key_end(task: ChunkTask) -> str:
    return f"t{task.trial:05}-c{task.chunk.index:05}-a{task.attempt}"


def warn_if_averaged(result: ChunkResult) -> None:
    """Warn if the first loss is the mean of several numbers, one of which is named ``loss``."""
    parts = result.components
    if result.losses is None or "loss" not in parts or len(parts) == 1:
        return
    if result.losses[0] == component_mean(np.array([part[0] for part in parts.values()])):
        warnings.warn(
            "the loss returns a dict with a key 'loss': its value is the mean of all numbers in "
            "the dict. If 'loss' alone counts, return {'total_loss': ..., 'components': {...}}.",
            stacklevel=2,
        )

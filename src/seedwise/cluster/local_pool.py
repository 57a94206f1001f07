"""The pool of local workers: as many as are wanted, and another for each that is gone for good."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client
from distributed.core import Status

from seedwise.cluster.place import run_soon
from seedwise.cluster.target import Target
from seedwise.model.pool import PoolNews, PoolStatus

__all__ = ["LocalPool"]

# A nanny starts a worker that died anew in seconds, unless it has given it up.
_ANEW_S = 10.0
_ASK_AGAIN_S = 30.0
_GIVEN_UP = {Status.closing, Status.closed, Status.failed, Status.closing_gracefully}


class LocalPool:
    """Keeps as many local workers as are wanted.

    Parameters
    ----------
    cluster : distributed.LocalCluster
        The cluster.
    client : distributed.Client
        Its client.
    target : Target
        How many workers are wanted.
    """

    def __init__(self, cluster: Any, client: Client, target: Target) -> None:
        #: Tells how many chunks are out.
        self.chunks_out: Callable[[], int] = lambda: 0
        #: Has the worker that it runs on finish what it does, and leave.
        self.depart: Callable[..., None] = lambda **_: None
        self._cluster = cluster
        self._client = client
        self._target = target
        self._news: collections.deque[PoolNews] = collections.deque()
        #: When each of those that are to leave was last asked to.
        self._leaving: dict[Any, float] = {}
        self._dead_since_s: dict[Any, float] = {}
        self._n_lost = 0
        self._wanted = target.least

    def follow(self, chunks_out: Callable[[], int], depart: Callable[..., None]) -> None:
        """Have the number of workers follow the work."""
        self.chunks_out, self.depart = chunks_out, depart

    def scale(self, least: int, most: int) -> None:
        """Change the bounds of the number of workers."""
        self._target.scale(least, most)
        bounds = f"{least} to {most} workers" if least != most else f"{most} workers"
        self._news.append(PoolNews(kind="scaled", text=f"asked for {bounds}", warns=True))
        self.step()

    def news(self) -> Sequence[PoolNews]:
        """Return what happened since this was last called."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def status(self) -> PoolStatus:
        """Return how many workers there are and are wanted."""
        joined = len(self._cluster.scheduler.workers)
        return PoolStatus(
            least=self._target.least,
            most=self._target.most,
            wanted=self._wanted,
            joined=joined,
            pending=max(0, len(self._cluster.worker_spec) - len(self._leaving) - joined),
            lost=self._n_lost,
        )

    def step(self) -> None:
        """Compare what is wanted with what there is, and act, once."""
        idle, busy = self._cluster.sync(self._look)
        self._wanted = self._target.wanted(self.chunks_out(), time.monotonic())
        n_alive = len(self._cluster.worker_spec) - len(self._leaving)
        if n_alive < self._wanted:
            self._cluster.scale(self._wanted + len(self._leaving))
        elif n_alive > self._wanted:
            going = idle[: n_alive - self._wanted]
            # The bounds were lowered: more have to go than have nothing to do.
            going += busy[: max(0, n_alive - self._target.most - len(going))]
            self._let_go(going)

    async def _look(self) -> tuple[list[Any], list[Any]]:
        """Forget workers that are gone; return the names of idle and of busy ones."""
        cluster, now_s = self._cluster, time.monotonic()
        workers = {worker.name: worker for worker in cluster.scheduler.workers.values()}
        for name, nanny in list(cluster.workers.items()):
            if nanny.is_alive():
                self._dead_since_s.pop(name, None)
                continue
            dead_s = now_s - self._dead_since_s.setdefault(name, now_s)
            if nanny.status in _GIVEN_UP or dead_s > _ANEW_S:
                await self._forget(name, nanny)
        again = [name for name, asked_s in self._leaving.items() if now_s > asked_s + _ASK_AGAIN_S]
        # Its nanny may have started it anew.
        self._let_go(
            [name for name in again if name in workers and workers[name].status is Status.running]
        )
        there = [name for name in cluster.worker_spec if name in workers]
        staying = [name for name in there if name not in self._leaving]
        idle = [name for name in reversed(staying) if not workers[name].processing]
        return idle, [name for name in reversed(staying) if workers[name].processing]

    async def _forget(self, name: Any, nanny: Any) -> None:
        del self._cluster.worker_spec[name], self._cluster.workers[name]
        del self._dead_since_s[name]
        if name in self._leaving:
            del self._leaving[name]
            self._news.append(PoolNews(kind="left", text=f"worker {name} left"))
        else:
            self._n_lost += 1
            text = f"worker {name} was lost, and does not come back"
            self._news.append(PoolNews(kind="lost", text=text, warns=True))
        await nanny.close()

    def _let_go(self, names: Sequence[Any]) -> None:
        self._leaving |= dict.fromkeys(names, time.monotonic())
        workers = list(self._cluster.scheduler.workers.values())
        addresses = [worker.address for worker in workers if worker.name in names]
        run_soon(self._client, self.depart, addresses, reason="not needed")

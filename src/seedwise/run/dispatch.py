"""The road to the workers and back: chunks out with `client.map`, results in as they come."""

from __future__ import annotations

import queue
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import attrs
from distributed.scheduler import KilledWorker

from seedwise.errors import ClusterError
from seedwise.model.records import ChunkLost, ChunkResult, Proposal, SeedFailure
from seedwise.model.seeds import Chunk
from seedwise.worker.evaluate import ChunkTask, evaluate_chunk

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskDispatcher", "Errand"]

_MOMENT_S = 0.05


@attrs.frozen
class Errand:
    """What all chunks of a run have in common.

    Attributes
    ----------
    loss_id : str
        The loss's id in this run; the plugin of this name holds it on the workers.
    loss_name : str
        The loss's name; tasks on the Dask dashboard are called by it.
    run_name : str
        The run's name.
    entry_id : str or None
        The entry that the run is for.
    chunk_timeout_s : float or None
        Seconds that a chunk may take; None is no limit.
    """

    loss_id: str
    loss_name: str
    run_name: str
    entry_id: str | None = None
    chunk_timeout_s: float | None = None


class DaskDispatcher:
    """Has chunks evaluated by a Dask cluster.

    A chunk whose worker is lost is evaluated again, at no charge, in a process of its own: if it
    was the chunk that killed the worker, only that process dies, and it is known why.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    errand : Errand
        What the chunks have in common.
    check : callable
        Called at each tick; mends the cluster, or raises if it can do no work.
    tick_s : float
        Seconds between ticks; `wait` returns without a result after as many.
    running_limit_s : float or None
        Seconds that a trial may run from its first chunk's start; None is no limit.
    on_lost : callable
        Takes an event for each chunk whose worker was lost.
    """

    def __init__(
        self,
        client: Client,
        errand: Errand,
        check: Callable[[], None],
        tick_s: float,
        running_limit_s: float | None = None,
        on_lost: Callable[[ChunkLost], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._errand = errand
        self._check = check
        self._tick_s = tick_s
        self._limit_s = running_limit_s
        self._on_lost = on_lost
        token = uuid.uuid4().hex[:8]
        self._key_stem = f"{_key_prefix(errand.loss_name)}-{errand.run_name}-{token}"
        self._topic = f"seedwise-{token}" if running_limit_s is not None else None
        self._out: dict[str, tuple[ChunkTask, Future[ChunkResult]]] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._n_lost = 0
        # By trial: when its first chunk started (driver's clock), and where each chunk runs.
        self._started_s: dict[int, float] = {}
        self._runs_on: dict[tuple[int, int], str] = {}
        self._looked_s = time.monotonic()
        if self._topic is not None:
            client.subscribe_topic(self._topic, self._note_start)

    def submit(
        self, proposal: Proposal, chunks: Sequence[Chunk], attempt: int, isolated: bool = False
    ) -> None:
        """Have chunks of a trial evaluated; earlier trials go first."""
        tasks = [
            ChunkTask(
                loss_id=self._errand.loss_id,
                trial=proposal.number,
                params=proposal.params,
                entry_id=self._errand.entry_id,
                chunk=chunk,
                attempt=attempt,
                topic=self._topic,
                isolated=isolated,
                time_limit_s=self._errand.chunk_timeout_s,
            )
            for chunk in chunks
        ]
        self._send(tasks, suffix="")

    def _send(self, tasks: Sequence[ChunkTask], suffix: str) -> None:
        keys = [
            f"{self._key_stem}-t{task.trial:05}-c{task.chunk.index:05}-a{task.attempt}{suffix}"
            for task in tasks
        ]
        futures = self._client.map(
            evaluate_chunk, tasks, key=keys, priority=-tasks[0].trial, pure=False
        )
        for key, task, future in zip(keys, tasks, futures, strict=True):
            self._out[key] = (task, future)
            self._watch(future)

    def wait(self) -> list[ChunkResult]:
        """Wait for results until some have come, or until the tick."""
        results = self._collect(self._done_keys())
        if time.monotonic() - self._looked_s >= self._tick_s:
            self._looked_s = time.monotonic()
            self._check()
            results += self._overdue()
        return results

    def _done_keys(self) -> list[str]:
        """Wait for a chunk that is done, and a moment longer for others.

        Fetching results costs driver and worker about a millisecond each time, not for each
        result. The moment ends when the earliest trial is complete: it can be told.
        """
        first = min((task.trial for task, _ in self._out.values()), default=None)
        missing = {key for key, (task, _) in self._out.items() if task.trial == first}
        keys: list[str] = []
        until_s = time.monotonic() + self._tick_s
        while missing or not keys:
            try:
                key = self._done.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                break
            if not keys:
                until_s = time.monotonic() + _MOMENT_S
            keys.append(key)
            missing.discard(key)
        return keys

    def cancel(self, trial: int, first_chunk: int = 0) -> None:
        """Forget a trial's chunks that are still out, from `first_chunk` on."""
        keys = [
            key
            for key, (task, _) in self._out.items()
            if task.trial == trial and task.chunk.index >= first_chunk
        ]
        self._client.cancel([self._out.pop(key)[1] for key in keys], reason="trial decided")

    def __enter__(self) -> Self:
        """Return the dispatcher itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget all chunks that are still out."""
        if self._client.status == "running":
            if self._topic is not None:
                self._client.unsubscribe_topic(self._topic)
            self._client.cancel([future for _, future in self._out.values()], reason="run ended")
        self._out.clear()

    def _collect(self, keys: Iterable[str]) -> list[ChunkResult]:
        results: list[ChunkResult] = []
        finished: list[tuple[ChunkTask, Future[ChunkResult]]] = []
        for key in keys:
            if key not in self._out:  # cancelled by us in the meantime
                continue
            task, future = self._out.pop(key)
            if future.status == "finished":
                finished.append((task, future))
            elif future.status == "error" and isinstance(future.exception(), KilledWorker):
                self._run_again(task, future.exception())
            elif future.status == "error":
                results.append(_lost(task, future.exception()))
            elif future.status in ("pending", "lost"):  # finished, and then its worker was lost
                self._forget_starts([task])
                self._out[key] = (task, future)
                self._watch(future)
            else:
                msg = (
                    f"Dask gave up {key} ({future.status}): the connection to its scheduler broke."
                )
                raise ClusterError(msg)
        results.extend(self._fetch(finished))
        for result in results:
            self._runs_on.pop((result.trial, result.chunk), None)
        return results

    def _fetch(
        self, finished: Sequence[tuple[ChunkTask, Future[ChunkResult]]]
    ) -> list[ChunkResult]:
        async def gather() -> list[ChunkResult]:
            futures = [future for _, future in finished]
            return list(await self._client.gather(futures, asynchronous=True))

        # If a worker is lost after its chunk was done and before it is fetched, Dask has the chunk
        # evaluated again and waits for it, which is not for us to do here.
        try:
            results: list[ChunkResult] = self._client.sync(gather, callback_timeout=self._tick_s)
        except (KilledWorker, TimeoutError):
            self._forget_starts(task for task, _ in finished)
            for task, future in finished:
                self._out[str(future.key)] = (task, future)
                self._watch(future)
            return []
        return results

    def _run_again(self, task: ChunkTask, killed: KilledWorker) -> None:
        self._n_lost += 1
        worker = killed.last_worker.address
        self._forget_starts([task])
        self._on_lost(ChunkLost(task.trial, int(task.chunk.seeds[0]), worker))
        self._send([attrs.evolve(task, isolated=True)], suffix=f"-r{self._n_lost}")

    def _forget_starts(self, tasks: Iterable[ChunkTask]) -> None:
        """Stop the clock of trials of which nothing runs any more: what waits does not count."""
        for task in tasks:
            self._runs_on.pop((task.trial, task.chunk.index), None)
            if not any(trial == task.trial for trial, _ in self._runs_on):
                self._started_s.pop(task.trial, None)

    def _watch(self, future: Future[ChunkResult]) -> None:
        future.add_done_callback(lambda done: self._done.put(done.key))

    def _note_start(self, event: tuple[float, dict[str, Any]]) -> None:
        # Runs in the client's event loop.
        _, message = event
        self._started_s.setdefault(message["trial"], time.monotonic())
        self._runs_on[message["trial"], message["chunk"]] = message["worker"]

    def _overdue(self) -> list[ChunkResult]:
        """Fail the chunks of trials that ran for too long; free the workers that run them."""
        if self._limit_s is None:
            return []
        now_s = time.monotonic()
        due_s = now_s - self._limit_s
        running = {task.trial for task, _ in self._out.values()}
        late = [trial for trial in running if self._started_s.get(trial, now_s) < due_s]
        results: list[ChunkResult] = []
        for trial in late:
            tasks = [task for task, _ in self._out.values() if task.trial == trial]
            self.cancel(trial)
            self._started_s.pop(trial, None)
            workers = {self._runs_on.pop((trial, task.chunk.index), None) for task in tasks}
            # A running task can't be cancelled: its worker is begun anew.
            known = workers & set(self._client.scheduler_info(n_workers=-1)["workers"])
            self._client.restart_workers(list(known), raise_for_error=False)
            results.extend(_overran(task, self._limit_s) for task in tasks)
        return results


def _key_prefix(loss_name: str) -> str:
    # Dask's dashboard colours and times tasks by the key's first word, which is to be letters.
    word = re.sub(r"[^A-Za-z0-9_]", "_", loss_name)
    return word if word[0].isalpha() else f"loss_{word}"


def _lost(task: ChunkTask, error: BaseException | None) -> ChunkResult:
    return _failed(task, type(error).__name__, str(error))


def _overran(task: ChunkTask, limit_s: float) -> ChunkResult:
    text = f"the trial ran for more than slurm_timeout_minutes={limit_s / 60:g}"
    return _failed(task, "TrialTimeout", text)


def _failed(task: ChunkTask, exception_type: str, text: str) -> ChunkResult:
    message = text.partition("\n")[0]
    failure = SeedFailure(task.chunk.start, None, exception_type, message, text)
    return ChunkResult(
        trial=task.trial,
        chunk=task.chunk.index,
        attempt=task.attempt,
        start=task.chunk.start,
        n_seeds=len(task.chunk.seeds),
        failure=failure,
    )

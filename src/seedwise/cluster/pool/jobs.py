"""The pool's jobs: in Slurm's queue, at the scheduler, and what is known about each."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs
from distributed import Client
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

from seedwise.cluster.place import RunTag, run_soon
from seedwise.slurm import queue
from seedwise.slurm.commands import CommandError
from seedwise.slurm.job_ids import job_name
from seedwise.slurm.queue import QueuedJob

#: A worker is named by its job's id, after this.
WORKER = "job-"
_TAKES_WORK = {Status.init, Status.running}


@attrs.frozen
class Member:
    """A worker that has joined."""

    #: Tasks that it evaluates or holds.
    n_tasks: int
    #: Whether it gets tasks; otherwise it leaves.
    takes_work: bool


class Members(SchedulerPlugin):  # type: ignore[misc]
    """The workers that have joined the scheduler, which is in this process."""

    def __init__(self, client: Client, scheduler: Any) -> None:
        self._client = client
        self._scheduler = scheduler
        #: Jobs whose worker has joined, and has said that it leaves; it may be gone by now.
        self.joined: set[str] = set()
        self.leaving: set[str] = set()
        scheduler.add_plugin(self, name="seedwise-members")

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Note that a worker joins: it may be gone at the next look."""
        self.joined.add(_job_id(scheduler.workers[worker]))

    def log_event(self, topic: str, msg: Any) -> None:
        """Note that a worker is about to leave: it may be gone at the next look."""
        if isinstance(msg, dict) and msg.get("status") == Status.paused.name:
            worker = self._scheduler.workers.get(topic)
            if worker is not None:
                self.leaving.add(_job_id(worker))

    def look(self) -> Mapping[str, Member]:
        """Return them by the id of their job."""
        return {
            _job_id(worker): Member(len(worker.processing), worker.status in _TAKES_WORK)
            for worker in self._workers()
        }

    def depart(self, job_ids: Collection[str], depart: Callable[..., None]) -> None:
        """Have workers finish what they do, and leave."""
        addresses = [worker.address for worker in self._workers() if _job_id(worker) in job_ids]
        run_soon(self._client, depart, addresses, reason="not needed")

    def _workers(self) -> list[Any]:
        # The event loop adds and removes workers meanwhile.
        workers = self._scheduler.workers
        found = [workers.get(address) for address in list(workers)]
        return [worker for worker in found if worker is not None]


def _job_id(worker: Any) -> str:
    return str(worker.name).removeprefix(WORKER)


@attrs.define
class Queue:
    """Slurm's queue, limited to the run's jobs."""

    script: str
    tag: RunTag
    _excluded: Collection[str] = attrs.field(init=False, default=())

    def submit(self) -> str | None:
        """Submit a job and return its id; None if sbatch printed no id."""
        return queue.submit_job(self.script, *self._excluded)

    def list(self, known: Collection[str]) -> Mapping[str, QueuedJob]:
        """Return the jobs that are queued or run."""
        return queue.list_jobs(self.tag.job_tag, known, name=job_name(self.tag.name))

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs."""
        queue.scancel([*job_ids])

    def exclude(self, nodes: Collection[str], waiting: Collection[str]) -> None:
        """Keep jobs off these nodes: those to come, and those that wait. Others are allowed."""
        self._excluded = nodes
        queue.exclude_nodes(self.script, nodes, waiting)

    def try_without(self, nodes: Collection[str]) -> CommandError | None:
        """Return why Slurm would not take a job that may not run on these nodes."""
        return queue.test_submit(self.script, *nodes)


@attrs.define(eq=False)
class PoolJob:
    """A job of the pool."""

    job_id: str
    #: What the queue last said about it.
    queued: QueuedJob | None = None
    #: When it was first seen running.
    started_s: float | None = None
    #: Whether its worker has ever joined.
    joined: bool = False
    #: Its worker; None while it is not there.
    member: Member | None = None
    #: When its worker first joined, and when it was last there.
    joined_s: float = 0.0
    seen_s: float = 0.0
    #: Whether its worker finishes what it does, and then leaves.
    leaving: bool = False
    #: When its worker was last asked to leave.
    asked_s: float = float("inf")
    #: Whether we cancelled it.
    cancelled: bool = False
    #: Whether that was because its worker did not join.
    given_up: bool = False
    #: How often in a row the queue said that it can't start, or did not list it.
    doomed_looks: int = 0
    missing_looks: int = 0

    @property
    def counts(self) -> bool:
        """Whether it counts as one of the workers that are wanted."""
        return not (self.leaving or self.cancelled)

    @property
    def is_idle(self) -> bool:
        """Whether its worker is there and has nothing to do."""
        return self.member is not None and self.member.n_tasks == 0

"""The pool's jobs: in Slurm's queue, at the scheduler, and why they wait."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from distributed import Client
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

from seedwise.cluster.place import RunTag, run_soon
from seedwise.errors import JobNeverStartsError
from seedwise.slurm import queue
from seedwise.slurm.commands import CommandError
from seedwise.slurm.queue import QueuedJob, job_name
from seedwise.slurm.reasons import explain

#: A worker is named by its job's id, after this.
WORKER = "job-"
_TAKES_WORK = {Status.init, Status.running}

_OF_A_PARTITION = {
    *("AccountNotAllowed", "BadConstraints", "MaxMemPerLimit", "PartitionTimeLimit"),
    "QOSNotAllowed",
}


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
    queued: QueuedJob | None = None
    started_s: float | None = None
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


def never_clears(queued: QueuedJob) -> bool:
    """Tell whether a job waits in vain, as far as its reason says."""
    reason = explain(queued.reason)
    # If there are several partitions, the reason is that of the one that Slurm tried last.
    may_be_another = "," in queued.partition and reason.code in _OF_A_PARTITION
    return reason.never_clears and not may_be_another


def never_starts(job: PoolJob) -> JobNeverStartsError:
    """Return the error of a job that waits in vain."""
    reason = explain(job.queued.reason if job.queued else "")
    return JobNeverStartsError(job.job_id, reason.code, reason.words, reason.advice)


def waiting_words(pending: Sequence[PoolJob]) -> str | None:
    """Return why most of these jobs wait; None if unknown."""
    reasons = [one.reason for one in (job.queued for job in pending) if one and one.is_pending]
    if not reasons:
        return None
    (common, _), *_ = Counter(reasons).most_common(1)
    reason = explain(common)
    if reason.code in ("", "None"):  # Slurm has not looked at it yet
        return None
    advice = f"; {reason.advice}" if reason.advice else ""
    return f"{reason.words} ({reason.code}){advice}"


def expected_start_utc(pending: Sequence[PoolJob]) -> str | None:
    """Return when the first of these jobs will start, in ISO 8601; None if unknown."""
    starts = []
    for job in pending:
        try:
            start = datetime.fromisoformat(job.queued.start if job.queued else "")
        except ValueError:  # N/A
            continue
        starts.append(start.astimezone(UTC))  # Slurm writes local time
    return min(starts).isoformat(timespec="seconds") if starts else None

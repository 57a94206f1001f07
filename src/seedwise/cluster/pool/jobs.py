"""The pool's jobs: in Slurm's queue, at the scheduler, why they wait, and why they ended."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from distributed import Client
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

from seedwise.cluster.place import run_soon
from seedwise.errors import JobNeverStartsError, WorkersFailedError
from seedwise.model.status import PoolNews
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import JobEnd, describe_end, log_tail
from seedwise.slurm.queue import QueuedJob
from seedwise.slurm.reasons import explain

#: A worker is named by its job's id, after this.
WORKER = "job-"
_TAKES_WORK = {Status.init, Status.running}

_OF_A_PARTITION = {
    *("AccountNotAllowed", "BadConstraints", "MaxMemPerLimit", "PartitionTimeLimit"),
    "QOSNotAllowed",
}

# Slurm's accounting learns of an end a moment later, or never.
_ASK_EVERY_S = 1.5
_ASK_FOR_S = 8.0

# On different nodes, if there is more than one.
_MOST_FAILED_STARTS = 3

# After such ends on so many nodes it is the command that starts Python.
_MOST_NODES_WITHOUT = 2

_LATE = "its worker did not join in time, so it was cancelled"
_BY_NODE = ("BOOT_FAIL", "NODE_FAIL")

# On one node; a single early end may be chance.
_MOST_EARLY_ENDS = 2
_FORGOTTEN_AFTER_S = 3600.0


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


@attrs.define(eq=False)
class BadNodes:
    """Counts early ends of jobs by node, and excludes nodes for an hour."""

    _try_without: Callable[[Collection[str]], CommandError | None]
    #: Whether Slurm has only bad nodes for a job, as far as it was asked.
    no_others: bool = False
    _ends_s: dict[str, list[float]] = attrs.field(factory=dict)
    #: Why each is excluded, and until when.
    _exclusions: dict[str, tuple[str, float]] = attrs.field(factory=dict)

    def excluded(self, now_s: float) -> dict[str, str]:
        """Return why nodes are excluded, by their names."""
        exclusions = self._exclusions.copy()  # another thread may ask
        return {node: why for node, (why, until_s) in exclusions.items() if now_s < until_s}

    def note_early_end(self, node: str, job_id: str, words: str, now_s: float) -> list[PoolNews]:
        """Note that a job ended before its worker joined; return the news if that is too many."""
        excluded = self.excluded(now_s)
        if node in excluded:  # it was submitted before
            return []
        since_s = now_s - _FORGOTTEN_AFTER_S
        ends_s = [*(end_s for end_s in self._ends_s.get(node, []) if end_s > since_s), now_s]
        self._ends_s[node] = ends_s
        if len(ends_s) < _MOST_EARLY_ENDS:
            return []
        refusal = self._try_without([*excluded, node])
        self.no_others = refusal is not None and not refusal.unheard
        if refusal is not None:
            return []
        self._ends_s.pop(node, None)  # it may be forgotten meanwhile
        why = f"{len(ends_s)} jobs ended there before their worker joined"
        self._exclusions[node] = f"{why}; the last one: {words}", now_s + _FORGOTTEN_AFTER_S
        text = f"excluded node {node}: {why}"
        return [PoolNews(kind="excluded", text=text, job_id=job_id, warns=True)]

    def forget(self) -> None:
        """Forget all, because other jobs are asked for now."""
        self.no_others = False
        self._ends_s.clear()
        self._exclusions.clear()


@attrs.define(eq=False)
class EndedJobs:
    """The jobs that ended without being told to."""

    _ask: Callable[[Sequence[str]], Mapping[str, JobEnd] | None]
    _log_dir: Path
    nodes: BadNodes
    #: Why jobs ended by their own fault, by id; empty if it was not that.
    faults: dict[str, str] = attrs.field(factory=dict)
    #: Jobs, each with until when Slurm is asked about it.
    _open: dict[str, tuple[PoolJob, float]] = attrs.field(factory=dict)
    _asked_s: float = float("-inf")
    #: Their nodes, since the last worker joined; None if unknown.
    _failed_starts: list[str | None] = attrs.field(factory=list)
    #: Why jobs ended early, as it was told since then.
    _told: set[str] = attrs.field(factory=set)
    _has_joined: bool = False
    #: The nodes where the command did not start, before any worker joined.
    _without_command: set[str] = attrs.field(factory=set)

    def a_worker_joined(self) -> None:
        """Note that jobs can work."""
        self._failed_starts.clear()
        self._told.clear()
        self._has_joined = True

    def add(self, job: PoolJob, now_s: float) -> None:
        """Take in a job that ended."""
        self._open[job.job_id] = job, now_s + _ASK_FOR_S

    def explain(
        self, now_s: float, *, at_work: bool
    ) -> tuple[list[PoolNews], WorkersFailedError | None]:
        """Return news of the ends that are explained by now, and an error if no job can start."""
        if not self._open or now_s < self._asked_s + _ASK_EVERY_S:
            return [], None
        self._asked_s = now_s
        ends = self._ask(list(self._open)) or {}
        news: list[PoolNews] = []
        excluded: list[PoolNews] = []
        error: WorkersFailedError | None = None
        for job_id, (job, ask_until_s) in list(self._open.items()):
            end = ends.get(job_id)
            if end is None and now_s < ask_until_s:
                continue
            del self._open[job_id]
            if job.leaving and (end is None or end.state == "COMPLETED"):
                self.faults[job_id] = ""
                news.append(PoolNews(kind="left", text="a worker left", job_id=job_id))
                continue
            words = _LATE if job.given_up else describe_end(end, self._log_dir, job_id)
            self.faults[job_id] = words if end is not None and end.is_own_fault else ""
            news.append(self._lost(job, end, words))
            if job.joined:
                continue
            excluded += self._note_early_end(job, end, words, now_s)
            if self._nothing_starts and not at_work:
                nodes = [node for node in self._failed_starts if node is not None]
                tail, n_jobs = log_tail(self._log_dir, job_id), len(self._failed_starts)
                error = WorkersFailedError(n_jobs, words, tail, nodes)
                break
        if n_alike := sum(not one.warns for one in news if one.kind == "lost"):
            more = f"{n_alike} more job{'s' if n_alike > 1 else ''} ended in the same way"
            news.append(PoolNews(kind="alike", text=more, warns=True))
        return news + excluded, error

    def _lost(self, job: PoolJob, end: JobEnd | None, words: str) -> PoolNews:
        where = f" on {end.node}" if end is not None and end.node else ""
        text, is_new = f"a worker{where} was lost: {words}", True
        if not job.joined:
            # Not in the folder's name, which may end in a number.
            of_any = re.sub(rf"\b{job.job_id}\b", "", words.replace(str(self._log_dir), ""))
            is_new = of_any not in self._told
            self._told.add(of_any)
            text = f"a job{where} ended before its worker joined: {words}"
        return PoolNews(kind="lost", text=text, job_id=job.job_id, warns=is_new)

    def _note_early_end(
        self, job: PoolJob, end: JobEnd | None, words: str, now_s: float
    ) -> list[PoolNews]:
        code, node = (0, None) if end is None else (end.exit_code, end.only_node)
        failed = self._is_own_fault(job, end)
        if failed:
            self._failed_starts.append(node)
        if failed and node is not None:
            if code in (126, 127) or "No module named" in log_tail(self._log_dir, job.job_id):
                self._without_command.add(node)
            if self._is_commands_fault:
                self.nodes.forget()
                return []
        if node is None or not (failed or (end is not None and end.state in _BY_NODE)):
            return []
        return self.nodes.note_early_end(node, job.job_id, words, now_s)

    @property
    def _is_commands_fault(self) -> bool:
        return not self._has_joined and len(self._without_command) >= _MOST_NODES_WITHOUT

    @property
    def _nothing_starts(self) -> bool:
        starts = self._failed_starts
        # A node that is unknown may be another one.
        n_nodes = len({*starts} - {None}) + starts.count(None)
        n_starts = len(starts) if self.nodes.no_others else n_nodes
        return self._is_commands_fault or n_starts >= _MOST_FAILED_STARTS

    def _is_own_fault(self, job: PoolJob, end: JobEnd | None) -> bool:
        # It ended well without a worker, or Slurm could not even open its log.
        if job.given_up or (end is not None and end.state in ("COMPLETED", "FAILED")):
            return True
        if end is not None and end.is_own_fault is not None:
            return end.is_own_fault
        # A job that was cancelled while it was queued has neither run nor written a log.
        return job.started_s is not None or bool(log_tail(self._log_dir, job.job_id))

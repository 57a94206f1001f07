"""Why jobs of the pool ended, whether it was their own fault, and which nodes are excluded."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import attrs

from seedwise.cluster.pool.jobs import PoolJob
from seedwise.errors import WorkersFailedError
from seedwise.model.status import PoolNews
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import JobEnd, describe_end, log_tail

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


class BadNodes:
    """Counts early ends of jobs by node, and excludes nodes for an hour."""

    def __init__(self, try_without: Callable[[Collection[str]], CommandError | None]) -> None:
        #: Whether Slurm has only bad nodes for a job, as far as it was asked.
        self.no_others = False
        self._try_without = try_without
        self._ends_s: dict[str, list[float]] = {}
        #: Why each is excluded, and until when.
        self._exclusions: dict[str, tuple[str, float]] = {}

    def excluded(self, now_s: float) -> dict[str, str]:
        """Return why nodes are excluded, by their names."""
        exclusions = self._exclusions.copy()  # another thread may ask
        return {node: why for node, (why, until_s) in exclusions.items() if now_s < until_s}

    def note_early_end(self, node: str, job_id: str, words: str, now_s: float) -> PoolNews | None:
        """Note that a job ended before its worker joined; return the news if that is too many."""
        excluded = self.excluded(now_s)
        if node in excluded:  # it was submitted before
            return None
        since_s = now_s - _FORGOTTEN_AFTER_S
        ends_s = [*(end_s for end_s in self._ends_s.get(node, []) if end_s > since_s), now_s]
        self._ends_s[node] = ends_s
        if len(ends_s) < _MOST_EARLY_ENDS:
            return None
        refusal = self._try_without([*excluded, node])
        self.no_others = refusal is not None and not refusal.unheard
        if refusal is not None:
            return None
        self._ends_s.pop(node, None)  # it may be forgotten meanwhile
        why = f"{len(ends_s)} jobs ended there before their worker joined"
        until_s = now_s + _FORGOTTEN_AFTER_S
        self._exclusions[node] = f"{why}; the last one: {words}", until_s
        text = f"excluded node {node}: {why}"
        return PoolNews(kind="excluded", text=text, job_id=job_id, warns=True)

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
        if job.joined:
            text = f"a worker{where} was lost: {words}"
            return PoolNews(kind="lost", text=text, job_id=job.job_id, warns=True)
        of_any = re.sub(rf"\b{job.job_id}\b", "", words)
        is_new = of_any not in self._told
        self._told.add(of_any)
        text = f"a job{where} ended before its worker joined: {words}"
        return PoolNews(kind="lost", text=text, job_id=job.job_id, warns=is_new)

    def _note_early_end(
        self, job: PoolJob, end: JobEnd | None, words: str, now_s: float
    ) -> list[PoolNews]:
        node = None if end is None else end.only_node
        failed = self._is_own_fault(job, end)
        if failed:
            self._failed_starts.append(node)
        if failed and node is not None and self._lacks_command(job, end):
            self._without_command.add(node)
            if self._is_commands_fault:
                self.nodes.forget()
                return []
        if node is None or not (failed or (end is not None and end.state in _BY_NODE)):
            return []
        found = self.nodes.note_early_end(node, job.job_id, words, now_s)
        return [] if found is None else [found]

    def _lacks_command(self, job: PoolJob, end: JobEnd | None) -> bool:
        code = 0 if end is None else end.exit_code
        return code in (126, 127) or "No module named" in log_tail(self._log_dir, job.job_id)

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

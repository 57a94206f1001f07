"""Why jobs of the pool ended, as far as that is known, and whether it was their own fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from seedwise.cluster.pool.jobs import PoolJob
from seedwise.errors import WorkersFailedError
from seedwise.model.status import PoolNews
from seedwise.slurm.ends import JobEnd, describe_end
from seedwise.slurm.logs import log_tail

# Slurm's accounting learns of an end a moment later, or never.
_ASK_EVERY_S = 1.5
_ASK_FOR_S = 8.0

_MOST_FAILED_STARTS = 3

_LATE = "its worker did not join in time, so it was cancelled"


@attrs.define
class _Grave:
    job: PoolJob
    ask_until_s: float


class EndedJobs:
    """The jobs that ended without being told to."""

    def __init__(
        self, ask: Callable[[Sequence[str]], Mapping[str, JobEnd] | None], log_dir: Path
    ) -> None:
        self._ask = ask
        self._log_dir = log_dir
        self._open: dict[str, _Grave] = {}
        self._asked_s = float("-inf")
        self._n_failed_starts = 0
        self._faults: dict[str, str] = {}

    def fault(self, job_id: str) -> str | None:
        """Return why a job ended by its own fault; empty if it was not, None if unknown yet."""
        return self._faults.get(job_id)

    def a_worker_joined(self) -> None:
        """Note that jobs can work."""
        self._n_failed_starts = 0

    def add(self, job: PoolJob, now_s: float) -> None:
        """Take in a job that ended."""
        self._open[job.job_id] = _Grave(job, now_s + _ASK_FOR_S)

    def explain(
        self, now_s: float, *, at_work: bool
    ) -> tuple[list[PoolNews], WorkersFailedError | None]:
        """Return news of the jobs whose end is explained by now, and the error that ends the run.

        There is an error if jobs fail at their start, one after the other, and no worker is
        `at_work`.
        """
        if not self._open or now_s < self._asked_s + _ASK_EVERY_S:
            return [], None
        self._asked_s = now_s
        ends = self._ask(list(self._open)) or {}
        news: list[PoolNews] = []
        for job_id, grave in list(self._open.items()):
            end = ends.get(job_id)
            if end is None and now_s < grave.ask_until_s:
                continue
            del self._open[job_id]
            if grave.job.leaving and (end is None or end.state == "COMPLETED"):
                self._faults[job_id] = ""
                news.append(PoolNews(kind="left", text="a worker left", job_id=job_id))
                continue
            words = _LATE if grave.job.given_up else describe_end(end, self._log_dir, job_id)
            self._faults[job_id] = words if end is not None and end.is_own_fault else ""
            joined = grave.job.joined
            what = "a worker was lost" if joined else "a job ended before its worker joined"
            news.append(PoolNews(kind="lost", text=f"{what}: {words}", job_id=job_id, warns=True))
            if not joined and self._is_own_fault(grave.job, end):
                self._n_failed_starts += 1
                if self._n_failed_starts >= _MOST_FAILED_STARTS and not at_work:
                    tail = log_tail(self._log_dir, job_id)
                    return news, WorkersFailedError(self._n_failed_starts, words, tail)
        return news, None

    def _is_own_fault(self, job: PoolJob, end: JobEnd | None) -> bool:
        # It ended well without a worker, or Slurm could not even open its log.
        if job.given_up or (end is not None and end.state in ("COMPLETED", "FAILED")):
            return True
        if end is not None and end.is_own_fault is not None:
            return end.is_own_fault
        # A job that was cancelled while it was queued has neither run nor written a log.
        return job.started_s is not None or bool(log_tail(self._log_dir, job.job_id))

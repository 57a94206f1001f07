"""What jobs used of what they asked for, as Slurm's accounting has it."""

import math
import re
from collections.abc import Iterable, Mapping

import attrs

from seedwise.model.slurm_time import time_s
from seedwise.slurm.ends import ask_sacct
from seedwise.slurm.words import memory_mb, rows

_COLUMNS = (
    *("JobIDRaw", "JobName", "State", "ElapsedRaw", "AllocCPUS", "TotalCPU", "MaxRSS", "ReqMem"),
)

# Of these, the accounting has all figures.
_GOES_ON = ("PENDING", "RUNNING", "SUSPENDED", "REQUEUED")
_TO_SPARE = 1.25
_WORTH_IT = 0.7
_STEP_MB = 100


@attrs.frozen
class Usage:
    """What the jobs that have ended used together."""

    n_jobs: int
    #: Seconds of all their CPUs.
    core_s: float
    #: Seconds in which their CPUs had work.
    busy_s: float
    #: CPUs of a job, at least.
    n_cpus: int
    #: The most memory that a job took; None if it is not recorded.
    peak_memory_mb: float | None
    #: What a job asked for; None without a limit.
    memory_mb: float | None

    @property
    def efficiency(self) -> float | None:
        """The share of the CPUs' time in which they had work; None if none passed."""
        return self.busy_s / self.core_s if self.core_s else None

    @property
    def fitting_mb(self) -> int | None:
        """The memory a CPU that would do, if that is clearly less than was asked for."""
        if self.peak_memory_mb is None or self.memory_mb is None:
            return None
        wanted = _STEP_MB * math.ceil(_TO_SPARE * self.peak_memory_mb / self.n_cpus / _STEP_MB)
        return wanted if wanted * self.n_cpus < _WORTH_IT * self.memory_mb else None


def ask_usage(job_ids: Iterable[str], name: str, timeout_s: float = 10.0) -> Usage | None:
    """Ask the accounting what jobs used; None if it does not answer, or knows none that ended."""
    wanted = [job_id for job_id in job_ids if re.fullmatch(r"\d+", job_id)]
    if not wanted:
        return None
    return parse_usage(ask_sacct(wanted, _COLUMNS, timeout_s) or "", name)


def parse_usage(text: str, name: str) -> Usage | None:
    """Return what sacct prints of `_COLUMNS` for jobs of a name; None if none of them ended."""
    found = rows(text, _COLUMNS)
    # Those of another name are another cluster's, where the run's folder was copied to.
    jobs = {
        row["JobIDRaw"]: row
        for row in found
        if row["JobName"] == name and not row["State"].startswith(_GOES_ON)
    }
    cpus = [int(row["AllocCPUS"]) for row in jobs.values()]
    if not any(cpus):
        return None
    elapsed_s = [int(row["ElapsedRaw"]) for row in jobs.values()]
    # The steps have the memory, the jobs the rest.
    peaks_mb = [
        memory_mb(row["MaxRSS"]) or 0.0
        for row in found
        if row["MaxRSS"] and row["JobIDRaw"].partition(".")[0] in jobs
    ]
    return Usage(
        n_jobs=len(jobs),
        core_s=float(sum(n * s for n, s in zip(cpus, elapsed_s, strict=True))),
        busy_s=sum(time_s(row["TotalCPU"]) or 0.0 for row in jobs.values()),
        n_cpus=min(filter(None, cpus)),
        peak_memory_mb=max(peaks_mb) if any(peaks_mb) else None,
        memory_mb=min(map(_asked_mb, jobs.values())) or None,
    )


def _asked_mb(row: Mapping[str, str]) -> float:
    """Return the memory that a job asked for; until Slurm 21.08 it may be said by CPU."""
    by_cpu = row["ReqMem"].endswith("c")
    return (memory_mb(row["ReqMem"] or "0") or 0.0) * (int(row["AllocCPUS"]) if by_cpu else 1)

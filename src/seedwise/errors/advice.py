"""What to do about failures that no change of the loss mends."""

import math
import re
from pathlib import Path

from seedwise.errors.commands import resume_command

_OF_TIME = {
    "ChunkTimeout": (
        "Raise chunk_timeout_seconds if a seed may take that long",
        "--chunk-timeout-seconds SECONDS",
    ),
    "TrialTimeout": (
        "Raise slurm_timeout_minutes if the loss may take that long",
        "--slurm-timeout-minutes MINUTES",
    ),
}
# The words of a worker, of Slurm, and of what was killed with signal 9.
_OF_MEMORY = re.compile(
    "MemoryExceeded: |WorkerDied: .*OUT_OF_MEMORY|ProcessDied: .*lack of memory", re.DOTALL
)
_TOOK = re.compile(r"took (\d+) MB of the (\d+) MB")
_JOB = re.compile(r"its job has (\d+) MB for (\d+) CPU")

# Memory is measured while it still grows.
_TIMES = 2


def remedy(failure: str) -> tuple[str, str] | None:
    """Return what to change after a failure, and the flags that do; None if it is the loss."""
    failure = re.sub(r"^seed -?\d+: ", "", failure)
    kind = failure.partition(":")[0]
    return _OF_TIME.get(kind) or (_more_memory(failure) if _OF_MEMORY.match(failure) else None)


def remedy_command(failure: str, run_dir: Path) -> str | None:
    """Return the remedy with the command that evaluates failed trials again."""
    found = remedy(failure)
    if found is None:
        return None
    return f"{found[0]}: {resume_command(run_dir)} --retry-failed {found[1]}".rstrip()


def _more_memory(failure: str) -> tuple[str, str]:
    took, job = _TOOK.search(failure), _JOB.search(failure)
    if took and job:
        job_mb, n_cpus = int(job[1]), int(job[2])
        more = f"{math.ceil(_TIMES * max(job_mb, int(took[1])) / n_cpus / 1024)}G"
        return (
            f"The job has {job_mb} MB: give more, such as mem_per_cpu={more!r}",
            f"--mem-per-cpu {more}",
        )
    if took:
        return (
            f"The worker may have {took[2]} MB: of fewer workers each may have more",
            "--workers 1",
        )
    return "Give more memory: a larger mem_per_cpu on Slurm, or fewer workers", ""

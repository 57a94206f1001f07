"""What was removed of a run, in lines for a terminal."""

from collections.abc import Sequence

from seedwise.errors import clean_command
from seedwise.results.cleaned import CleanedRun

_MOST_IDS = 20


def cleaned_lines(cleaned: CleanedRun) -> list[str]:
    """Return what was done as lines, and what to do if jobs may be left."""
    removed, run_dir = cleaned.removed, cleaned.run_dir
    lines = [
        _jobs(cleaned),
        f"removed: {', '.join(removed)}" if removed else "nothing was left behind to remove",
        f"the results stay in {run_dir}",
    ]
    if cleaned.jobs_unknown is not None:
        lines.append(f"to try again: {clean_command(run_dir)}")
    return lines


def _jobs(cleaned: CleanedRun) -> str:
    if cleaned.jobs_unknown is not None:
        why = " ".join(cleaned.jobs_unknown.split())
        noted = _shown(cleaned.noted_jobs) or "none"
        return (
            f"Slurm does not answer ({why}); whether jobs are left is unknown (ids noted: {noted})"
        )
    if cleaned.copy_of is not None:
        return f"no job was cancelled: this is a copy of {cleaned.copy_of}, whose jobs they are"
    jobs = cleaned.cancelled_jobs
    return f"cancelled jobs: {', '.join(jobs)}" if jobs else "no jobs were left"


def _shown(job_ids: Sequence[str]) -> str:
    # The last ones, as earlier jobs are the most likely to have ended long ago.
    few = ", ".join(job_ids[-_MOST_IDS:])
    return f"{few}, and {len(job_ids) - _MOST_IDS} before" if len(job_ids) > _MOST_IDS else few

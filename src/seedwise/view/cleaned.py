"""What was cleaned up of a run, in lines for a terminal."""

from __future__ import annotations

from seedwise.run.cleaning import CleanedRun

__all__ = ["cleaned_lines"]


def cleaned_lines(cleaned: CleanedRun) -> list[str]:
    """Return what was done, as lines."""
    jobs, removed = cleaned.cancelled_jobs, cleaned.removed
    return [
        f"cancelled jobs: {', '.join(jobs)}" if jobs else "no jobs were left",
        f"removed: {', '.join(removed)}" if removed else "nothing was left behind to remove",
        f"the results stay in {cleaned.run_dir}",
    ]

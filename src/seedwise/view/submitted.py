"""A driver's job, in lines for a terminal."""

import shlex

from seedwise.slurm.driver_job import DriverJob


def submitted_lines(job: DriverJob, job_id: str | None) -> list[str]:
    """Return where the job's files are, and how to follow it and to cancel it."""
    return [
        f"submitted: job {job_id or 'of unknown id'}, named {job.name}",
        f"log: {job.log}",
        f"to follow it: tail -F {shlex.quote(str(job.log))}",
        f"to see whether it waits: squeue --name={job.name}",
        "to see the run's progress: seedwise status RUN_DIR, with the run folder from the log",
        "dashboard: its link, and the ssh line that leads to it through the node, are in the log",
        f"to cancel it, and the jobs that follow it: scancel --name={job.name}",
    ]

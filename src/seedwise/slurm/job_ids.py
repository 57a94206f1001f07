"""The name of a run's Slurm jobs, and their ids, on disk before anything is done with them."""

import re
from datetime import UTC, datetime
from pathlib import Path

from seedwise.disk.lines import append_lines, read_lines


def job_name(run_name: str) -> str:
    """Return the name of a run's jobs: its own, of which squeue shows the first eight letters."""
    return re.sub("[^A-Za-z0-9_.-]", "_", run_name)


class JobBook:
    """A file with a line for each job that was submitted, also by a driver that was killed."""

    def __init__(self, path: Path) -> None:
        #: Ids that this very book has noted.
        self.own: list[str] = []
        self._path = path

    def note(self, job_id: str) -> None:
        """Write down a job's id; it is on disk when this returns."""
        self.own.append(job_id)
        submitted_at = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"job_id": job_id, "submitted_at_utc": submitted_at}
        append_lines(self._path, [line], durable=True)

    def ids(self) -> list[str]:
        """Return the ids of all jobs that were ever submitted for the run, in their order."""
        found = (line.get("job_id") for line in read_lines(self._path))
        return list(dict.fromkeys(job_id for job_id in found if isinstance(job_id, str)))

"""The ids of a run's Slurm jobs, on disk before anything is done with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class JobBook:
    """A file with a line for each job that was submitted; a killed driver's jobs are in it.

    Parameters
    ----------
    path : pathlib.Path
        The file; it is made with the first job.
    """

    def __init__(self, path: Path) -> None:
        #: Ids that were written down with this very book.
        self.own: list[str] = []
        self._path = path

    def note(self, job_id: str) -> None:
        """Write down a job's id."""
        self.own.append(job_id)
        line: Mapping[str, Any] = {
            "job_id": job_id,
            "submitted_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A line that was torn by a crash is to cost no other.
            size = os.fstat(handle).st_size
            is_torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, b"\n" * is_torn + f"{json.dumps(line)}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def ids(self) -> list[str]:
        """Return the ids of all jobs that were ever submitted for the run, in their order.

        A line that was torn is left out. There are none if there is no file.
        """
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        found = (_job_id(line) for line in lines)
        return list(dict.fromkeys(job_id for job_id in found if job_id is not None))


def _job_id(line: bytes) -> str | None:
    try:
        job_id = json.loads(line)["job_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return job_id if isinstance(job_id, str) else None

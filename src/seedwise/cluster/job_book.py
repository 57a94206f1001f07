"""The ids of a run's Slurm jobs, on disk before anything is done with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["JobBook"]


class JobBook:
    """A file with a line for each job that was submitted; a killed driver's jobs are in it.

    Parameters
    ----------
    path : pathlib.Path
        The file; it is made with the first job.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, job_id: str) -> None:
        """Write down a job's id."""
        line: Mapping[str, Any] = {
            "job_id": job_id,
            "submitted_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, f"{json.dumps(line)}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)

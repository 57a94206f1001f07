"""Removes the folder for a job's temporary files when its nanny ends; a preload of nannies.

The job's script makes it and becomes the nanny, so nothing of the script is left to do so.
"""

from __future__ import annotations

import atexit
import os
import shutil
from typing import Any

__all__ = ["dask_setup"]

_SCRATCH = "SEEDWISE_SCRATCH"


def dask_setup(nanny: Any) -> None:
    """Have the folder removed in the end; Dask calls this when the nanny starts."""
    del nanny
    path = os.environ.get(_SCRATCH)
    if path:
        atexit.register(shutil.rmtree, path, ignore_errors=True)

"""What a job's nanny does when it starts; a preload of nannies.

It has the folder for the job's temporary files removed in the end: the job's script makes it and
becomes the nanny, so nothing of the script is left to do so.
"""

from __future__ import annotations

import atexit
import os
import shutil
from typing import Any

from seedwise.worker.locked import pass_over_strangers

_SCRATCH = "SEEDWISE_SCRATCH"


def dask_setup(nanny: Any) -> None:
    """Have the folder removed in the end; Dask calls this when the nanny starts."""
    del nanny
    pass_over_strangers()
    path = os.environ.get(_SCRATCH)
    if path:
        atexit.register(shutil.rmtree, path, ignore_errors=True)

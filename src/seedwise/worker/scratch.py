"""A preload of a job's nanny, which has it remove the folder of temporary files in the end.

The job's script makes the folder and then becomes the nanny, so the script can't remove it.
"""

import atexit
import os
import shutil
from typing import Any

from seedwise.worker.locked import pass_over_strangers

_SCRATCH = "SEEDWISE_SCRATCH"


def dask_setup(nanny: Any) -> None:
    """Have the folder removed when the nanny ends; Dask calls this when it starts."""
    del nanny
    pass_over_strangers()
    path = os.environ.get(_SCRATCH)
    if path:
        atexit.register(shutil.rmtree, path, ignore_errors=True)

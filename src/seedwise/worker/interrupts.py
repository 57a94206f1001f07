"""A preload of local workers, which has them ignore Ctrl-C.

Ctrl-C in a terminal reaches all its processes, but only the driver acts on it.
"""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Have the worker ignore SIGINT; Dask calls this in its main thread."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)

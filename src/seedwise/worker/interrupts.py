"""Ctrl-C in a terminal reaches all its processes; it is the driver's to act on.

Local workers load this module when they start.
"""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Have a worker ignore SIGINT; it ends with its driver. Dask calls this in its main thread."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)

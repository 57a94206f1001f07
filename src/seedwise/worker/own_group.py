"""A preload of our workers, for the processes that losses start.

A worker has a process group of its own, which ends with it, however that ends: idle processes of a
pool would wait for ever. Ctrl-C in a terminal does not reach it; only the driver acts on that.
"""

import multiprocessing
import os
from typing import Any

# Waits for the end of its input, which is the worker's.
_KILL_GROUP = 'read _; kill -9 "-$0" 2>/dev/null'


def dask_setup(worker: Any) -> None:
    """Give the worker its group, and Python's start method; Dask calls this in its main thread."""
    del worker
    os.setpgid(0, 0)
    theirs, ours = os.pipe()
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", _KILL_GROUP, str(os.getpid())],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0)],
        setpgroup=0,
    )
    os.close(theirs)
    # What the worker forks must not keep that input open.
    os.register_at_fork(after_in_child=os.fdopen(ours, "wb").close)
    # The worker itself was spawned, and would hand that down.
    multiprocessing.set_start_method(None, force=True)

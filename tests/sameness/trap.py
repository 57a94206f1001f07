"""A preload of the scheduler, in the driver's process, which disturbs a run of three trials.

The worker that gets trial 1 is killed, so that the chunk is then isolated, and all that the driver
has started when trial 2 goes out, and the driver, too. The user's code knows nothing of it.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import psutil
from distributed import SchedulerPlugin

#: The file to which each trial that is done adds a line: its number, and how many processes its
#: worker has started.
LOG_VARIABLE = "SEEDWISE_SAMENESS_LOG"
#: Only an isolated chunk needs a process.
LOG_OF_A_RUN = "0 0\n1 1\n"


class Trap(SchedulerPlugin):
    def __init__(self):
        self.was_worker_killed = False

    def transition(self, key, start, finish, *args, **kwargs):
        found = re.search(r"-t(\d+)-", str(key))
        if found is None:
            return
        trial = int(found[1])
        if finish == "memory":
            with Path(os.environ[LOG_VARIABLE]).open("a") as log:
                log.write(f"{trial} {sum(len(_children(worker)) for worker in _workers())}\n")
        elif finish == "processing" and trial == 1 and not self.was_worker_killed:
            self.was_worker_killed = True
            _kill(_workers())
        elif finish == "processing" and trial == 2:
            _kill([*_workers(), psutil.Process()])


def _workers():
    return _children(psutil.Process())


def _children(process):
    """Return the child processes that live, but for the helpers of multiprocessing and ours."""
    helper = re.compile(r"multiprocessing\.(resource_tracker|forkserver)|read _; kill")
    commands = {child: _command(child) for child in process.children()}
    return [child for child, command in commands.items() if command and not helper.search(command)]


def _command(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it ends just now
        return ""


def _kill(processes):
    for process in processes:
        process.send_signal(signal.SIGKILL)


def dask_setup(scheduler):
    scheduler.add_plugin(Trap())

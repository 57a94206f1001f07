"""Processes of a testbed: starting them, knowing them again, ending them.

A process is only ever ended after it has been recognised as one of the
testbed's own: by its pid file *and* its program *and* a mention of the
testbed's folder, or, for what the daemons left behind, as `leftovers` tells.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Bounds what ends soon where all is well: a busy machine may take its time, a hang may not.
HANGS_S = 240.0

_STARTED: dict[int, subprocess.Popen[bytes]] = {}


class DeadlineError(AssertionError):
    """What was awaited did not happen in time."""


def poll(check: Callable[[], T], what: str, seconds: float = HANGS_S, pause: float = 0.05) -> T:
    """Call `check` until it returns something true, and return that.

    Parameters
    ----------
    check : callable
        Asked again and again; never after the deadline has passed.
    what : str
        What is awaited, for the message of the error.
    seconds : float
        The deadline, from now; it is there to end a hang.
    pause : float
        Seconds between two checks.

    Raises
    ------
    DeadlineError
        With `what` and the last value seen.
    """
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise DeadlineError(f"not within {seconds:g} s: {what} (last seen: {value!r})")
        time.sleep(pause)


def free_ports(count: int) -> list[int]:
    """Return `count` ports nobody listens on, below those the kernel deals out itself.

    They are drawn at random, so that two testbeds that start at the same time
    do not choose the same ones.
    """
    ports: list[int] = []
    draw = random.SystemRandom()
    while len(ports) < count:
        port = draw.randrange(12000, 32000)
        if port in ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        ports.append(port)
    return ports


def spawn(argv: list[str], env: Mapping[str, str], log: Path, pid_file: Path) -> None:
    """Start a daemon that stays in the foreground of its own session.

    Its output goes to `log`, its number to `pid_file`.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    _STARTED[child.pid] = child
    pid_file.write_text(f"{child.pid}\n")


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; ``("", 0)`` if there is none."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (fields[0], int(fields[1])) if len(fields) > 1 else ("", 0)


def all_pids() -> list[int]:
    """Numbers of all processes of the machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def alive(pid: int) -> bool:
    """Whether the process runs; a child of ours that has ended is reaped."""
    child = _STARTED.get(pid)
    if child is not None and child.poll() is not None:
        del _STARTED[pid]
        return False
    return _stat(pid)[0] not in ("", "Z", "X")


def program(pid: int) -> str:
    """Name of the program file of a process, ``""`` if there is no such process."""
    return Path(_link(Path(f"/proc/{pid}/exe")).removesuffix(" (deleted)")).name


def mentions(pid: int, folder: Path) -> bool:
    """Whether a process names the folder in its arguments or its environment."""
    pattern = str(folder)
    return pattern in _read(pid, "cmdline") or pattern in _read(pid, "environ")


def _holds(pid: int, folder: Path) -> bool:
    """Whether a process works in the folder or has a file of it open."""
    links = [Path(f"/proc/{pid}/cwd")]
    with contextlib.suppress(OSError):
        links += Path(f"/proc/{pid}/fd").iterdir()
    return any(_link(link).startswith(f"{folder}/") for link in links)


def daemon_pid(pid_file: Path, name: str, folder: Path) -> int | None:
    """Return the number in a pid file if that is still the running daemon `name`.

    A child that has not been waited for is certainly that; what another
    process started must have the right program and mention the folder.
    """
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    if not alive(pid):
        return None
    ours = pid in _STARTED or (program(pid) == name and mentions(pid, folder))
    return pid if ours else None


def leftovers(folder: Path) -> list[int]:
    """Return what still runs of a testbed whose daemons have been ended.

    That is the slurmstepd of its nodes and helpers of its daemons, all their
    descendants, and processes of jobs that outlived their slurmstepd. The
    first overwrite their arguments and environment with a title, so they are
    recognised by their open files too; the last by the environment that
    Slurm gave them. A shell that merely uses the testbed is none of these.
    """
    pids = all_pids()
    children: dict[int, list[int]] = {}
    for pid in pids:
        children.setdefault(_stat(pid)[1], []).append(pid)
    found = [
        pid
        for pid in pids
        if program(pid).startswith("slurm") and (mentions(pid, folder) or _holds(pid, folder))
    ]
    for pid in pids:
        environ = _read(pid, "environ").split("\0")
        of_job = any(entry.startswith("SLURM_JOB_ID=") for entry in environ)
        if of_job and f"SLURM_CONF={folder}/slurm.conf" in environ and pid not in found:
            found.append(pid)
    for pid in found:  # grows while it is walked: children of children
        found += [child for child in children.get(pid, []) if child not in found]
    return [pid for pid in found if alive(pid) and pid != os.getpid()]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes; those that have just ended are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end(pids: list[int], patience: float) -> None:
    """Ask processes to end, and after `patience` seconds make them.

    Parameters
    ----------
    pids : list of int
        Processes recognised by `daemon_pid` or `leftovers` just now.
    patience : float
        Seconds between SIGTERM and SIGKILL; 0 sends SIGKILL at once.
    """
    if patience > 0:
        send(pids, signal.SIGTERM)
        with contextlib.suppress(DeadlineError):
            poll(lambda: not any(alive(pid) for pid in pids), "daemons to end", patience)
    left = [pid for pid in pids if alive(pid)]
    send(left, signal.SIGKILL)
    poll(lambda: not any(alive(pid) for pid in left), f"processes {left} to be killed")

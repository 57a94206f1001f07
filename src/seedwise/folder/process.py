"""The identity of a process that holds a lease, on any host and after any reboot."""

import contextlib
import functools
import hashlib
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import attrs
import psutil  # type: ignore[import-untyped]

_START_TOLERANCE_S = 5.0  # outside of Linux starts are in wall time, and clocks are adjusted

_TEXT = attrs.validators.instance_of(str)


@attrs.frozen
class Holder:
    """A process that holds a lease; two containers do not see each other's pids."""

    host: str = attrs.field(validator=_TEXT)
    #: Tells machines of that name apart; empty if unknown.
    machine: str = attrs.field(validator=_TEXT)
    #: Tells containers on a machine apart; empty outside of Linux.
    pid_namespace: str = attrs.field(validator=_TEXT)
    #: Tells the machine's boots apart; empty outside of Linux.
    boot: str = attrs.field(validator=_TEXT)
    pid: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.gt(0)])
    #: Since the boot on Linux, else since the epoch.
    started_s: float = attrs.field(validator=attrs.validators.instance_of((int, float)))
    #: Random; tells its lease from all others.
    token: str = attrs.field(validator=_TEXT)
    #: ISO 8601, UTC.
    acquired_at: str = attrs.field(validator=lambda *given: datetime.fromisoformat(given[2]))
    #: The Slurm job that it runs in; empty if in none.
    job_id: str = attrs.field(default="", validator=_TEXT)
    #: The Slurm cluster of that job; job ids are the cluster's own.
    job_cluster: str = attrs.field(default="", validator=_TEXT)
    #: How often Slurm had restarted that job.
    job_restarts: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))

    def __str__(self) -> str:
        """Say who it is, and since when by the clock of whoever reads it."""
        since = datetime.fromisoformat(self.acquired_at).astimezone().isoformat(" ", "seconds")
        job = f" in Slurm job {self.job_id}" if self.job_id else ""
        return f"process {self.pid} on {self.host}{job}, since {since}"

    def is_of_this_host(self) -> bool:
        """Tell whether this host can see it, so that `state` has a meaning."""
        if (self.host, self.machine, self.pid_namespace) != _place():
            return False
        # Another boot of a machine without an id might as well be another machine of that name.
        return self.machine != "" or self.boot == _boot()

    def is_of_an_earlier_start(self) -> bool:
        """Tell whether Slurm has restarted its job, in which we run, so that it is dead."""
        job_id, cluster, n_restarts = _job()
        same_job = job_id != "" and (self.job_id, self.job_cluster) == (job_id, cluster)
        return same_job and self.job_restarts < n_restarts

    def state(self) -> str | None:
        """Return its state on this host, as psutil names it; None if it is dead, or a zombie."""
        if self.boot != _boot() or not psutil.pid_exists(self.pid):
            return None
        try:
            state = str(psutil.Process(self.pid).status())
            apart_s = abs(_started_s(self.pid) - self.started_s)
        except psutil.ZombieProcess:
            return None
        except (psutil.Error, OSError):
            # Gone in this moment, or another user's that we may not look at: then it is alive.
            return str(psutil.STATUS_RUNNING) if psutil.pid_exists(self.pid) else None
        reused = apart_s > _START_TOLERANCE_S if sys.platform != "linux" else apart_s > 0.005
        return None if reused or state in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else state


def this_process(token: str) -> Holder:
    """Return this process as one that gets a lease now."""
    now, pid = datetime.now(UTC).isoformat(timespec="seconds"), os.getpid()
    return Holder(*_place(), _boot(), pid, _started_s(pid), token, now, *_job())


def _job() -> tuple[str, str, int]:
    """Return id, cluster and restarts of the Slurm job that this process runs in."""
    said = os.environ.get
    n_restarts = said("SLURM_RESTART_COUNT", "")  # it is there once the job was restarted
    return (
        said("SLURM_JOB_ID", ""),
        said("SLURM_CLUSTER_NAME", ""),
        int(n_restarts) if n_restarts.isdecimal() else 0,
    )


def _place() -> tuple[str, str, str]:
    namespace = ""
    with contextlib.suppress(OSError):  # not Linux
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return socket.gethostname(), _machine(), namespace


@functools.cache
def _machine() -> str:
    """Tell machines of one name apart, by a hash: the id itself is not to be shown around."""
    identity = _text("/etc/machine-id")
    return hashlib.sha256(f"seedwise {identity}".encode()).hexdigest()[:16] if identity else ""


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _started_s(pid: int) -> float:
    """Return when a process started: since the boot on Linux, else since the epoch.

    psutil reckons by the wall clock, and a clock that is set must not make the living dead.
    """
    if sys.platform != "linux":
        return float(psutil.Process(pid).create_time())
    # The name of the program, in brackets, may hold anything; the start is field 22.
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8").strip()
    return ""

"""The Slurm job of a worker: what is asked for, and from whom it comes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask

from seedwise.cluster.place import WORKER_SETTINGS
from seedwise.model.slurm_options import SlurmOptions
from seedwise.model.work_options import WorkOptions

__all__ = ["asks_for_qos", "job_keywords"]


def job_keywords(
    options: WorkOptions, threads: int, log_dir: Path, name: str, run_id: str
) -> dict[str, Any]:
    """Return the keywords of dask-jobqueue's SLURMJob for a run.

    A keyword of the call goes first, then `SlurmOptions`, then Dask's configuration, and then
    the keyword's default. What is left None is read from Dask's configuration by dask-jobqueue.

    Parameters
    ----------
    options : WorkOptions
        The run's options.
    threads : int
        Chunks that a worker evaluates at once.
    log_dir : pathlib.Path
        Folder for the jobs' logs.
    name : str
        Name of the jobs.
    run_id : str
        The run's id; the jobs carry it as their comment, so that they are known again.

    Returns
    -------
    dict
        The keywords; the QoS is not among them.
    """
    slurm = options.slurm or SlurmOptions()
    n_cpus = _call_or_site(options, "cpus_per_task", "job-cpu", "cores")
    job_mem = _call_or_site(options, "mem_per_cpu", "job-mem", "memory")
    if job_mem is options.mem_per_cpu:
        job_mem = _times(options.mem_per_cpu, n_cpus)
    walltime = _call_or_site(options, "worker_time_limit", "walltime")
    logs = [f"-o {_quoted(log_dir / '%J.out')}", f"-e {_quoted(log_dir / '%J.err')}"]
    python = slurm.python or dask.config.get("jobqueue.slurm.python", None) or sys.executable
    return {
        "cores": threads,
        "processes": 1,
        "job_cpu": int(n_cpus),
        "memory": f"{job_mem.replace(' ', '').rstrip('iBb')}iB",
        "job_mem": job_mem.replace(" ", "").rstrip("iBb"),
        "walltime": _slurm_time(walltime) if isinstance(walltime, timedelta) else walltime,
        "queue": slurm.partition,
        "account": slurm.account,
        "interface": slurm.interface,
        "local_directory": slurm.local_directory and shlex.quote(slurm.local_directory),
        "python": shlex.quote(python),
        "job_name": name,
        # The scheduler's dashboard shows all workers; a page of its own costs each a second.
        "worker_extra_args": [*_given_or_site(None, "worker-extra-args"), "--no-dashboard"],
        "job_extra_directives": [
            *_given_or_site(slurm.extra_directives, "job-extra-directives"),
            *logs,
            f"--comment={run_id}",
        ],
        "job_script_prologue": [
            *_given_or_site(slurm.prologue, "job-script-prologue"),
            *_environment(),
        ],
    }


def asks_for_qos(directives: Iterable[str]) -> bool:
    """Tell whether ``#SBATCH`` options name a QoS of their own."""
    return any(directive.lstrip().startswith(("--qos", "-q")) for directive in directives)


def _environment() -> list[str]:
    return [
        f"export DASK_{key.upper().replace('.', '__')}={value}"
        for key, value in WORKER_SETTINGS.items()
    ]


def _call_or_site(options: WorkOptions, keyword: str, *settings: str) -> Any:
    """Return what the call gave, else what the site set, else the keyword's default."""
    if keyword not in options.given:
        for setting in settings:
            value = _site_setting(f"jobqueue.slurm.{setting}")
            if value is not None:
                return value
    return getattr(options, keyword)


def _site_setting(key: str) -> Any:
    """Return a setting of Dask's that is not just dask-jobqueue's own default."""
    value = dask.config.get(key, None)
    if value is None or value != dask.config.get(key, None, config=_shipped_defaults()):
        return value
    return dask.config.get(key, None, config=dask.config.collect())


def _shipped_defaults() -> dict[str, Any]:
    merged: dict[str, Any] = dask.config.merge(*dask.config.defaults)
    return merged


def _given_or_site(given: Sequence[str] | None, setting: str) -> list[str]:
    if given is not None:
        return list(given)
    return list(dask.config.get(f"jobqueue.slurm.{setting}", None) or [])


def _times(memory: str, n: int) -> str:
    digits = memory.rstrip("KMGTkmgtBb")
    unit = memory[len(digits) :].upper().rstrip("B") or "M"
    return f"{int(digits) * n}{unit}"


def _slurm_time(limit: timedelta) -> str:
    seconds = max(1, round(limit.total_seconds()))
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"


def _quoted(path: Path) -> str:
    # sbatch reads a directive's words as a shell would, as far as double quotes go.
    return f'"{path}"'

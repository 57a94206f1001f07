"""Removing what a driver that was killed left behind; the results stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs

from seedwise.cluster.keys import remove_keys
from seedwise.cluster.slurm_commands import cancel_jobs
from seedwise.run.directory import RunDirectory
from seedwise.run.lease import acquire_lease

__all__ = ["CleanedRun", "clean"]


@attrs.frozen
class CleanedRun:
    """What `clean_run` did.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    cancelled_jobs : tuple of str
        Ids of the Slurm jobs that were cancelled.
    removed : tuple of str
        What was removed of the folder: paths, relative to it.
    """

    run_dir: Path
    cancelled_jobs: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def clean(directory: RunDirectory, *, take_over: bool = False) -> CleanedRun:
    """Cancel a run's jobs, and remove keys, requests and what was half written.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder; that of an entry stands for the run that it is part of.
    take_over : bool, default False
        Whether a driver on another machine that has been silent for minutes is taken for dead.

    Returns
    -------
    CleanedRun
        What was done.

    Raises
    ------
    RunLockedError
        If a driver works on the run, or may do so.
    """
    directory = directory.home
    run_id = directory.read_meta()["run_id"]
    lease_was_left = directory.lease.exists()
    removed: list[Path] = []
    # A lease of a driver that is dead becomes ours, and goes away with us.
    with acquire_lease(directory.lease, take_over=take_over):
        if lease_was_left:
            removed.append(directory.lease)
        cancelled = cancel_jobs(run_id)
        if remove_keys(directory.key_dir):
            removed.append(directory.key_dir)
        if directory.control.is_dir():
            shutil.rmtree(directory.control, ignore_errors=True)
            removed.append(directory.control)
        entries = directory.entries.iterdir() if directory.entries.is_dir() else ()
        parts = (RunDirectory(path, directory) for path in sorted(entries) if path.is_dir())
        for one in (directory, *parts):
            removed += one.sweep()
    return CleanedRun(
        directory.path,
        tuple(cancelled),
        tuple(str(path.relative_to(directory.path)) for path in removed),
    )

"""Opening the place that a run's options name."""

from __future__ import annotations

from pathlib import Path

from seedwise.cluster.local import open_local
from seedwise.cluster.passed import open_passed
from seedwise.cluster.place import Demand, Place
from seedwise.model.options import RunOptions

__all__ = ["open_place"]


def open_place(options: RunOptions, demand: Demand, log_dir: Path, name: str) -> Place:
    """Open the place where a run's work is done.

    Parameters
    ----------
    options : RunOptions
        The run's options.
    demand : Demand
        How much work the run can have in flight.
    log_dir : pathlib.Path
        Folder for the logs of Slurm jobs.
    name : str
        Name of the run, for the Slurm jobs.

    Returns
    -------
    Place
        The open place; as a context it closes in the end.
    """
    if options.place == "local":
        return open_local(options, demand)
    if options.place == "slurm":
        # Imported when needed: dask-jobqueue reads and writes configuration on import.
        from seedwise.cluster.slurm import open_slurm

        return open_slurm(options, demand, log_dir, name)
    return open_passed(options.place)

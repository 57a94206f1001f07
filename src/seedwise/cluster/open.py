"""Opening the place that a run's options name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedwise.cluster.local import open_local
from seedwise.cluster.passed import open_passed
from seedwise.cluster.place import Demand, Place
from seedwise.model.options import RunOptions

__all__ = ["open_place"]


@contextmanager
def open_place(options: RunOptions, demand: Demand, log_dir: Path, name: str) -> Iterator[Place]:
    """Open the place where a run's work is done, and close it in the end.

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

    Yields
    ------
    Place
        The open place.
    """
    if options.place == "local":
        place = open_local(options, demand)
    elif options.place == "slurm":
        # Imported when needed: dask-jobqueue reads and writes configuration on import.
        from seedwise.cluster.slurm import open_slurm

        place = open_slurm(options, demand, log_dir, name)
    else:
        place = open_passed(options.place)
    try:
        yield place
    finally:
        place.close()

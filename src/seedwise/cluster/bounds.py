"""How many workers a run's options allow."""

from __future__ import annotations

from dask.system import CPU_COUNT

from seedwise.cluster.place import Demand
from seedwise.model.work_options import WorkOptions

__all__ = ["worker_bounds"]

_MOST_JOBS = 100  # without `workers`: enough for most, and no flood of sbatch calls


def worker_bounds(options: WorkOptions, demand: Demand) -> tuple[int, int]:
    """Return the least and the most workers.

    Parameters
    ----------
    options : WorkOptions
        The run's options; its place is 'local' or 'slurm'.
    demand : Demand
        How much work the run can have in flight.

    Returns
    -------
    least, most : int
        The bounds; equal if the number of workers is fixed.
    """
    limit = options.array_parallelism_limit if options.place == "slurm" else None
    if options.workers is None:
        here = max(1, CPU_COUNT // options.worker_parallelism)
        n_workers = demand.workers(here if options.place == "local" else limit or _MOST_JOBS)
        return n_workers, n_workers
    low, high = options.workers if isinstance(options.workers, tuple) else (options.workers,) * 2
    return (low, high) if limit is None else (min(low, limit), min(high, limit))

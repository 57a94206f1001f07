"""The functions that look into a run's folder."""

from __future__ import annotations

from pathlib import Path

from seedwise.driver.parts import read_saved
from seedwise.driver.replay import Replayed, replay
from seedwise.folder.find import existing_run
from seedwise.folder.status import read_status
from seedwise.model.status import RunStatus


def run_status(run_dir: str | Path) -> RunStatus:
    """Return the progress of a run, while a driver works on it or afterwards.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder.

    Returns
    -------
    RunStatus
        How many trials are pending, running, done, failed and pruned, how many are told per
        second, and when the last is expected.

    Raises
    ------
    NotARunError
        If the folder holds no run.

    Examples
    --------
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="slope", description="a slope", parameter_space={"x": (0, 1)})
    ... def slope(params, seed):
    ...     return params["x"] + seed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(
    ...         slope, n_trials=2, n_seeds=3, workers=1, run_root=folder, progress=False
    ...     )
    ...     status = sw.run_status(result.run_dir)
    >>> status.state, status.done, status.pending
    ('finished', 2, 0)
    """
    return read_status(existing_run(run_dir))


def replay_seed(run_dir: str | Path, *, trial: int, seed: int | None = None) -> Replayed:
    """Evaluate a seed of a trial again, in this process and without Dask.

    An exception of the loss passes through unchanged, so a debugger stops where it was raised.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder.
    trial : int
        The trial's number.
    seed : int, optional
        The seed. None means all seeds of the run, in order.

    Returns
    -------
    Replayed
        The trial's params, and the loss of each seed.

    Raises
    ------
    NotARunError
        If the folder holds no run, or if other users could have written to it.
    OptionError
        If the run has no such trial or seed.

    Examples
    --------
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="slope", description="a slope", parameter_space={"x": (0, 1)})
    ... def slope(params, seed):
    ...     return params["x"] + seed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(
    ...         slope, n_trials=1, n_seeds=3, workers=1, run_root=folder, progress=False
    ...     )
    ...     replayed = sw.replay_seed(result.run_dir, trial=0, seed=2)
    >>> replayed.losses[2] - replayed.params["x"]
    2.0
    """
    return replay(directory := existing_run(run_dir), read_saved(directory), trial, seed)

"""The functions that look into a run's folder."""

from pathlib import Path

from seedwise.driver.parts import read_saved
from seedwise.driver.replay import Replayed, replay
from seedwise.folder.find import existing_run
from seedwise.folder.status import read_status
from seedwise.model.status import RunStatus
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.read import read_result
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult


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
    ...     result = sw.optimize_run(slope, n_trials=2, n_seeds=3, run_root=folder, progress=False)
    ...     status = sw.run_status(result.run_dir)
    >>> status.state, status.done, status.pending
    ('finished', 2, 0)
    """
    return read_status(existing_run(run_dir))


def open_run(run_dir: str | Path) -> OptimizeResult | MultiOptimizeResult | SweepResult:
    """Return the result of a run from its folder, as far as it is by now.

    The run may be finished, stopped, at work in another process, or copied from another machine.
    Nothing is written, and nothing in the folder is run as a program, so neither the loss nor its
    version of Python is needed. A run that is at work is read as it is at this moment.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder, or that of an entry.

    Returns
    -------
    OptimizeResult, MultiOptimizeResult or SweepResult
        The same as from the function that began the run, with the trials that are finished.

    Raises
    ------
    NotARunError
        If the folder holds no run.
    DamagedFileError
        If a file of the run is damaged before its end.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return params["drift"] + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = sw.optimize_run(walk, n_trials=3, n_seeds=20, run_root=folder, progress=False)
    ...     result = sw.open_run(first.run_dir)
    ...     losses = result.losses(0)
    ...     better = result.compare(result.best_trial.number, 0)
    >>> result == first, losses.shape
    (True, (20,))
    >>> better.difference <= 0, better.n_seeds
    (True, 20)
    """
    return read_result(existing_run(run_dir))


def replay_seed(
    run_dir: str | Path, *, trial: int, seed: int | None = None, validation: bool = False
) -> Replayed:
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
    validation : bool, optional
        Whether the seed is one of the fresh seeds, on which the best trials were validated.

    Returns
    -------
    Replayed
        The trial's params, and the loss of each seed.

    Raises
    ------
    NotARunError
        If the folder holds no run, or if other users could have written to it.
    OptionError
        If the run has no such trial or seed, or no validation.

    Examples
    --------
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="slope", description="a slope", parameter_space={"x": (0, 1)})
    ... def slope(params, seed):
    ...     return params["x"] + seed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(slope, n_trials=1, n_seeds=3, run_root=folder, progress=False)
    ...     replayed = sw.replay_seed(result.run_dir, trial=0, seed=2)
    >>> replayed.losses[2] - replayed.params["x"]
    2.0
    """
    directory = existing_run(run_dir)
    return replay(directory, read_saved(directory), trial, seed, validation=validation)

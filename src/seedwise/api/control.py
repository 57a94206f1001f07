"""Changing a run while a driver works on it, and cleaning up after one."""

from __future__ import annotations

from pathlib import Path

from seedwise.driver.cleaning import clean
from seedwise.driver.handle import RunHandle
from seedwise.folder.find import existing_run
from seedwise.results.cleaned import CleanedRun


def connect(run_dir: str | Path) -> RunHandle:
    """Return a handle of a run, to scale or stop it while its driver works elsewhere.

    The driver may be a script in another terminal, another notebook, or on another login node that
    has the run's folder.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder; that of an entry stands for the run that it is part of.

    Returns
    -------
    RunHandle
        Has ``scale``, ``stop`` and ``status``.

    Raises
    ------
    NotARunError
        If the folder holds no run.

    Examples
    --------
    While a driver works on it, ``sw.connect("runs/walk_v0001").scale(10, 200)`` changes the number
    of workers. When none does, there is nobody to ask:

    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="slope", description="a slope", parameter_space={"x": (0, 1)})
    ... def slope(params, seed):
    ...     return params["x"] + seed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(
    ...         slope, n_trials=2, n_seeds=3, workers=1, run_root=folder, progress=False
    ...     )
    ...     run = sw.connect(result.run_dir)
    ...     print(run.status().state, run.status().pool)
    ...     try:
    ...         run.scale(4)
    ...     except sw.NoDriverError as error:
    ...         print(error.state)
    finished None
    finished
    """
    return RunHandle(existing_run(run_dir).home)


def clean_run(run_dir: str | Path, *, take_over: bool = False) -> CleanedRun:
    """Clean up after a driver that was killed: its jobs, keys and half-written files go.

    The results stay, and the run can be gone on with; that cleans up by itself, too. A driver that
    ends in order leaves nothing.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder; that of an entry stands for the run that it is part of.
    take_over : bool, default False
        Whether a driver on another machine that has been silent for minutes is taken for dead.

    Returns
    -------
    CleanedRun
        The jobs that were cancelled, and what was removed.

    Raises
    ------
    NotARunError
        If the folder holds no run.
    RunLockedError
        If a driver works on the run; it says which.

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
    ...     cleaned = sw.clean_run(result.run_dir)
    >>> cleaned.cancelled_jobs, cleaned.removed
    ((), ())
    """
    return clean(existing_run(run_dir), take_over=take_over)

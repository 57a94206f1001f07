"""The functions that change a run while a driver works on it, and clean up after one."""

from pathlib import Path

from seedwise.driver.cleaning import clean
from seedwise.folder.find import existing_run
from seedwise.model.events import Noted
from seedwise.results.handle import CleanedRun, RunHandle
from seedwise.view.progress import ProgressLines


def connect(run_dir: str | Path) -> RunHandle:
    """Return a handle of a run, to scale or stop it while its driver works elsewhere.

    The driver may be a script in another terminal, another notebook, or a process on another login
    node that sees the run's folder.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder. An entry's folder stands for the run that it is part of.

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
    While a driver works on the run, ``sw.connect("runs/walk_v0001").scale(10, 200)`` changes the
    number of workers. Without a driver, it raises `NoDriverError`, and only the status is there:

    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="slope", description="a slope", parameter_space={"x": (0, 1)})
    ... def slope(params, seed):
    ...     return params["x"] + seed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(slope, n_trials=2, n_seeds=3, run_root=folder, progress=False)
    ...     status = sw.connect(result.run_dir).status()
    >>> status.state, status.pool
    ('finished', None)
    """
    return RunHandle(existing_run(run_dir).home)


def clean_run(run_dir: str | Path, *, take_over: bool = False) -> CleanedRun:
    """Clean up after a driver that was killed: remove its jobs, keys and half-written files.

    The results stay, and the run can still be resumed. Resuming it cleans up as well. A driver
    that ends in order leaves nothing to clean.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder. An entry's folder stands for the run that it is part of.
    take_over : bool, default False
        Whether to treat a driver on another machine as dead once it has been silent for five
        minutes. Until then the call waits, and says so on stderr.

    Returns
    -------
    CleanedRun
        The jobs that were cancelled, and what was removed.

    Raises
    ------
    NotARunError
        If the folder holds no run.
    RunLockedError
        If a driver works on the run. The error names it.

    Examples
    --------
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="slope", description="a slope", parameter_space={"x": (0, 1)})
    ... def slope(params, seed):
    ...     return params["x"] + seed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(slope, n_trials=2, n_seeds=3, run_root=folder, progress=False)
    ...     cleaned = sw.clean_run(result.run_dir)
    >>> cleaned.cancelled_jobs, cleaned.removed
    ((), ())
    """
    directory, progress = existing_run(run_dir), ProgressLines()
    return clean(directory, take_over=take_over, tell=lambda text: progress(Noted(text)))

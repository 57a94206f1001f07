"""What users call: puts the parts together, and decides nothing itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from seedwise.cluster.open import check_place
from seedwise.errors import NotALossError
from seedwise.model.keywords import keyword_docs, keyword_signature
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.run.directory import RunDirectory, existing_run, open_run_directory
from seedwise.run.parts import Parts, make_parts, read_saved, require_cluster
from seedwise.run.replay import Replayed, replay
from seedwise.run.result import OptimizeResult
from seedwise.run.run import Run
from seedwise.view.progress import ProgressLines

__all__ = ["optimize_run", "replay_seed", "resume_run"]

P = ParamSpec("P")
F = TypeVar("F")
R = TypeVar("R")


def _takes(
    options: Callable[P, RunOptions],
) -> Callable[[Callable[[F, dict[str, Any]], R]], Callable[Concatenate[F, P], R]]:
    """Give a function the keywords of a class of options, and their documentation."""
    # To the type checker the class is the callable whose parameters the function gets.
    kind = cast("type[RunOptions]", options)

    def decorate(function: Callable[[F, dict[str, Any]], R]) -> Callable[Concatenate[F, P], R]:
        first, _ = inspect.signature(function).parameters.values()
        hints = inspect.get_annotations(function, eval_str=True)

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> R:
            if first.name in keywords:
                args = (keywords.pop(first.name), *args)
            if len(args) != 1:
                wanted = f"{function.__name__}() takes {first.name} and options as keywords"
                raise TypeError(wanted)
            return function(args[0], keywords)

        call.__signature__ = keyword_signature(  # type: ignore[attr-defined]
            kind, first.replace(annotation=hints[first.name]), hints["return"]
        )
        call.__doc__ = inspect.cleandoc(function.__doc__ or "").replace(
            "{options}", keyword_docs(kind)
        )
        return cast("Callable[Concatenate[F, P], R]", call)

    return decorate


@_takes(RunOptions)
def optimize_run(loss: LossDefinition, keywords: dict[str, Any]) -> OptimizeResult:
    """Find the parameters that minimise a noisy loss, averaged over many seeds.

    Every trial is evaluated on the same seeds, in chunks that a Dask cluster works on: a
    LocalCluster here, or Slurm jobs. For given options the trials and the result are the same bit
    for bit on any number of workers, on either cluster and for any `chunk_size`.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    {options}

    Returns
    -------
    OptimizeResult
        The best trial and all others; the run's folder holds them, too.

    Raises
    ------
    OptionError
        If a keyword has a value that is not allowed; before anything starts.
    ClusterError
        If the cluster can't be had: no ``sbatch``, a refused job, a script without a main guard.
    LossFailedError
        If the loss failed on a seed, unless ``fail_on_chunk_error=False``.
    NoCompleteTrialError
        If no trial was completed.
    ChangedRunError
        If there is a run of this `run_name` that was begun with options, or with a loss, that
        would have given other results.
    RunLockedError
        If another driver works on that run.
    RunStopped
        If a signal stopped the run; a KeyboardInterrupt, and a SystemExit with the exit code that
        shells expect. The same call, `resume_run` or ``seedwise resume`` goes on with it.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(
    ...         walk, n_trials=5, n_seeds=50, workers=1, run_root=folder, progress=False
    ...     )
    >>> result.n_trials, result.best_n_seeds
    (5, 50)
    """
    if not isinstance(loss, LossDefinition):
        raise NotALossError(loss)
    options = RunOptions.from_keywords(keywords)
    parts = make_parts(loss, options)
    check_place(options)
    directory = open_run_directory(Path(options.run_root), options.run_name, loss.name)
    return _carry_out(parts, options, directory)


@_takes(RunOptions)
def resume_run(run_dir: str | Path, keywords: dict[str, Any]) -> OptimizeResult:
    """Go on with a run from its folder alone.

    The loss and the options are those that the folder holds; the same call of `optimize_run`, with
    its `run_name`, does the same with the loss as it is now. Whatever happened to the run before,
    the trials are those of a run that was never stopped, bit for bit.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder.
    {options}

    Returns
    -------
    OptimizeResult
        The best trial and all others, those of before included.

    Raises
    ------
    NotARunError
        If the folder holds no run, or others could have written to it.
    RunLockedError
        If another driver works on the run.
    ChangedRunError
        If an option is given that would change the results, unless `accept_changes` is.
    DamagedFileError
        If a file of the run is damaged.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = sw.optimize_run(
    ...         walk, n_trials=3, n_seeds=50, workers=1, run_root=folder, progress=False
    ...     )
    ...     result = sw.resume_run(first.run_dir, n_trials=5)
    >>> result.trials[:3] == first.trials, result.n_trials
    (True, 5)
    """
    directory = existing_run(run_dir)
    saved = read_saved(directory)
    before = dict(saved.keywords)
    if keywords.keys() & {"cluster", "mode"}:  # one of the two says it all
        before = {name: before[name] for name in before.keys() - {"cluster", "mode"}}
    keywords = {**before, **keywords, "run_root": directory.path.parent}
    require_cluster(keywords)
    options = RunOptions.from_keywords({**keywords, "run_name": directory.name})
    parts = make_parts(saved.shipment.load(), options, saved)
    check_place(options)
    return _carry_out(parts, options, directory)


def replay_seed(run_dir: str | Path, *, trial: int, seed: int | None = None) -> Replayed:
    """Evaluate a seed of a trial again, in this process and without Dask.

    What the loss raises comes out as it is, so that a debugger stops where it was raised.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder.
    trial : int
        The trial's number.
    seed : int, optional
        The seed; None goes through all seeds of the run, in order.

    Returns
    -------
    Replayed
        The trial's params, and the loss of each seed.

    Raises
    ------
    NotARunError
        If the folder holds no run, or others could have written to it.
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
    directory = existing_run(run_dir)
    return replay(directory, read_saved(directory), trial, seed)


def _carry_out(parts: Parts, options: RunOptions, directory: RunDirectory) -> OptimizeResult:
    listeners = [ProgressLines(trials=options.progress)]
    return Run(parts, options, directory, listeners).carry_out()

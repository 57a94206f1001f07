"""What users call: puts the parts together, and decides nothing itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from seedwise.cluster.open import check_place
from seedwise.errors import NotALossError
from seedwise.model.keywords import keyword_docs, keyword_signature
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.model.seeds import seed_plan
from seedwise.run.directory import create_run_directory
from seedwise.run.result import OptimizeResult
from seedwise.run.run import Run
from seedwise.run.shipping import pack
from seedwise.study.samplers import make_sampler
from seedwise.view.progress import ProgressLines

__all__ = ["optimize_run"]

P = ParamSpec("P")
R = TypeVar("R")


def _takes(
    options: Callable[P, RunOptions],
) -> Callable[
    [Callable[[LossDefinition, RunOptions], R]], Callable[Concatenate[LossDefinition, P], R]
]:
    """Give a function the keywords of a class of options, and their documentation."""
    # To the type checker the class is the callable whose parameters the function gets.
    kind = cast("type[RunOptions]", options)

    def decorate(
        function: Callable[[LossDefinition, RunOptions], R],
    ) -> Callable[Concatenate[LossDefinition, P], R]:
        @functools.wraps(function)
        def call(loss: LossDefinition, *args: P.args, **keywords: P.kwargs) -> R:
            if args:
                raise TypeError(f"{function.__name__}() takes its options as keywords")
            return function(loss, kind.from_keywords(dict(keywords)))

        first = inspect.Parameter(
            "loss", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=LossDefinition
        )
        returns = inspect.get_annotations(function)["return"]
        call.__signature__ = keyword_signature(kind, first, returns)  # type: ignore[attr-defined]
        call.__doc__ = inspect.cleandoc(function.__doc__ or "").replace(
            "{options}", keyword_docs(kind)
        )
        return cast("Callable[Concatenate[LossDefinition, P], R]", call)

    return decorate


@_takes(RunOptions)
def optimize_run(loss: LossDefinition, options: RunOptions) -> OptimizeResult:
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
    plan = seed_plan(
        seeds=options.seeds,
        n_seeds=options.n_seeds,
        chunk_size=options.chunk_size,
        num_chunks=options.num_chunks,
        seed_start=loss.seed_start,
    )
    sampler = make_sampler(options.sampler, options.random_seed)
    shipment = pack(loss, options)
    check_place(options)
    directory = create_run_directory(Path(options.run_root), options.run_name, loss.name)
    run = Run(loss, options, directory, [ProgressLines()] if options.progress else [])
    try:
        return run.carry_out(plan, shipment, sampler)
    except BaseException:
        if not run.began:
            directory.discard()
        raise

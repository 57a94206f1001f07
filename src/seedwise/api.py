"""What users call: puts the parts together, and decides nothing itself."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import attrs

from seedwise.cluster.open import check_place, open_place
from seedwise.cluster.place import Demand, Place
from seedwise.errors import NoCompleteTrialError, NotALossError
from seedwise.model.keywords import keyword_docs, keyword_signature
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.model.records import Event, RunFinished, RunStarted, TrialFinished, TrialState
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.run.directory import RunDirectory, create_run_directory, utc_now
from seedwise.run.dispatch import DaskDispatcher, Errand
from seedwise.run.engine import Engine
from seedwise.run.result import OptimizeResult
from seedwise.run.shipping import bring, pack
from seedwise.study.proposer import open_proposer
from seedwise.study.samplers import make_sampler
from seedwise.view.progress import ProgressLines
from seedwise.worker.plugin import Shipment

__all__ = ["optimize_run"]

_logger = logging.getLogger("seedwise")

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
    run = _Run(loss, options, plan, directory)
    try:
        return run.carry_out(shipment, sampler)
    except BaseException:
        if not run.began:
            directory.discard()
        raise


class _Run:
    """What is shown and written of a run, from its first line on stderr to its result."""

    def __init__(
        self,
        loss: LossDefinition,
        options: RunOptions,
        plan: SeedPlan,
        directory: RunDirectory,
    ) -> None:
        self.began = False
        self._loss = loss
        self._options = options
        self._plan = plan
        self._directory = directory
        self._place: Place
        self._counts: Counter[TrialState] = Counter()
        self._first_error: str | None = None
        self._listeners: list[Callable[[Event], None]] = []
        if options.progress:
            self._listeners.append(ProgressLines())

    def carry_out(self, shipment: Shipment, sampler: Any) -> OptimizeResult:
        loss, options, plan, directory = self._loss, self._options, self._plan, self._directory
        # A vectorized loss takes a chunk at a time, so that its seeds run at once chunk by chunk.
        at_once = options.worker_parallelism if loss.vectorized else 1
        demand = Demand(plan.n_chunks * options.max_concurrent_trials, at_once)
        with (
            open_place(options, demand, directory.log_dir, directory.name) as self._place,
            bring(self._place.client, shipment, options) as loss_id,
            open_proposer(
                self._place.client,
                directory.study_file,
                study_name=loss.name,
                direction=options.direction,
                sampler=sampler,
                space=loss.parameter_space,
            ) as proposer,
            DaskDispatcher(
                self._place.client,
                Errand(loss_id, loss.name, directory.name, options.entry_id),
                self._place.check,
                options.slurm_poll_seconds,
                options.slurm_timeout_minutes * 60 if options.place == "slurm" else None,
            ) as dispatcher,
        ):
            self._start()
            engine = Engine(options, plan, proposer, dispatcher, self._emit, self._out_of_time)
            engine.run()
        return self._finish(engine)

    def _start(self) -> None:
        self.began = True
        self._started: datetime = utc_now()
        self._started_s = time.monotonic()
        self._directory.write_meta(self._meta())
        self._directory.write_summary(None, self._counts, self._options.n_trials)
        place = self._place
        self._emit(
            RunStarted(self._directory.path, place.description, place.dashboard, place.tunnel)
        )

    def _out_of_time(self) -> bool:
        timeout_s = self._options.timeout
        return timeout_s is not None and self._elapsed_s() >= timeout_s

    def _emit(self, event: Event) -> None:
        if isinstance(event, TrialFinished):
            self._counts[event.trial.state] += 1
            self._first_error = self._first_error or event.error
            self._directory.write_summary(event.best, self._counts, event.n_trials)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # a closed terminal, say: no reason to lose the run
                self._listeners.remove(listener)
                _logger.warning("a listener failed and is dropped", exc_info=True)

    def _finish(self, engine: Engine) -> OptimizeResult:
        best = engine.best
        duration_s = self._elapsed_s()
        self._directory.write_meta(
            {
                **self._meta(),
                "completed_at_utc": utc_now().isoformat(),
                "duration_seconds": duration_s,
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
            }
        )
        self._emit(RunFinished(self._directory.path, best, duration_s))
        if best is None:
            n_failed = self._counts[TrialState.FAIL]
            raise NoCompleteTrialError(self._directory.path, n_failed, self._first_error)
        assert best.value is not None  # the best trial is complete
        return OptimizeResult(
            loss_name=self._loss.name,
            best_value=best.value,
            best_params=dict(best.params),
            best_stderr=best.stderr,
            best_n_seeds=best.n_seeds,
            n_trials=len(engine.trials),
            study_name=self._loss.name,
            run_dir=str(self._directory.path),
            mode=self._place.mode,
            trials=tuple(engine.trials),
            study_file=self._directory.study_file,
        )

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _meta(self) -> dict[str, Any]:
        seeds = self._plan.seeds
        options = attrs.asdict(self._options, recurse=False)
        options["seeds"] = seeds.tolist() if self._options.seeds is not None else None
        options["given"] = sorted(options["given"])
        return {
            "loss_name": self._loss.name,
            "loss_description": self._loss.description,
            "run_name": self._directory.name,
            "run_dir": str(self._directory.path),
            "study_name": self._loss.name,
            "mode": self._place.mode.value,
            "n_seeds": len(seeds),
            "seed_start": int(seeds[0]),
            "seed_end": int(seeds[-1]),
            "chunk_size": self._plan.chunk_size,
            "num_chunks": self._plan.n_chunks,
            "parameter_space": {
                name: attrs.asdict(param) for name, param in self._loss.parameter_space.items()
            },
            "started_at_utc": self._started.isoformat(),
            "options": options,
        }

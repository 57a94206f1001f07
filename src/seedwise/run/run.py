"""One run, from opening the cluster to its result."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs

from seedwise.cluster.open import open_place
from seedwise.cluster.place import Demand, Place
from seedwise.errors import NoCompleteTrialError
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.model.records import Event, RunFinished, RunStarted, TrialFinished, TrialState
from seedwise.model.seeds import SeedPlan
from seedwise.run.directory import RunDirectory, utc_now
from seedwise.run.dispatch import DaskDispatcher, Errand
from seedwise.run.engine import Engine
from seedwise.run.result import OptimizeResult
from seedwise.run.shipping import bring
from seedwise.study.proposer import open_proposer
from seedwise.worker.plugin import Shipment

__all__ = ["Run"]

_logger = logging.getLogger("seedwise")


class Run:
    """Opens what a run needs, has the engine work, and keeps folder and listeners up to date.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : RunOptions
        The run's options.
    directory : RunDirectory
        The run's folder.
    listeners : sequence of callable
        What takes the events; one that fails is dropped.
    """

    def __init__(
        self,
        loss: LossDefinition,
        options: RunOptions,
        directory: RunDirectory,
        listeners: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        #: Whether the folder holds a run; before that it is of no use to anybody.
        self.began = False
        self._loss = loss
        self._options = options
        self._directory = directory
        self._place: Place
        self._counts: Counter[TrialState] = Counter()
        self._first_error: str | None = None
        self._listeners = list(listeners)

    def carry_out(self, plan: SeedPlan, shipment: Shipment, sampler: Any) -> OptimizeResult:
        """Carry the run out.

        Parameters
        ----------
        plan : SeedPlan
            The seeds of every trial.
        shipment : Shipment
            The packed loss.
        sampler : optuna.samplers.BaseSampler
            The sampler.

        Returns
        -------
        OptimizeResult
            The result.
        """
        loss, options, directory = self._loss, self._options, self._directory
        self._plan = plan
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
            self._begin()
            engine = Engine(options, plan, proposer, dispatcher, self._emit, self._out_of_time)
            engine.run()
        return self._finish(engine)

    def _begin(self) -> None:
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

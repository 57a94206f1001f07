"""A run's own account of itself: meta.json, summary.json, events, and the result."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from seedwise.cluster.place import Place
from seedwise.errors import LeaseLostError, NoCompleteTrialError, RunStopped
from seedwise.model.options import ExecutionMode, RunOptions
from seedwise.model.records import (
    Event,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
    TrialResult,
    TrialState,
    best_trial,
)
from seedwise.run.directory import RunDirectory, utc_now
from seedwise.run.history import History
from seedwise.run.parts import Parts
from seedwise.run.result import OptimizeResult

__all__ = ["Report"]

_logger = logging.getLogger("seedwise")


class Report:
    """Keeps the run's folder and its listeners up to date.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    history : History
        What it says of the run before.
    parts : Parts
        What the run is made of.
    options : RunOptions
        Its options.
    listeners : sequence of callable
        What takes the events; one that fails is dropped.
    """

    def __init__(
        self,
        directory: RunDirectory,
        history: History,
        parts: Parts,
        options: RunOptions,
        listeners: Sequence[Callable[[Event], None]],
    ) -> None:
        #: Called before anything is written; raises if another driver has taken the run over.
        self.guard: Callable[[], None] = lambda: None
        self._directory = directory
        self._history = history
        self._parts = parts
        self._options = options
        self._listeners = list(listeners)
        self._counts: Counter[TrialState] = Counter()
        self._mode = history.mode
        self._started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds that this driver has worked on the run."""
        return time.monotonic() - self._started_s

    def prepared(self) -> None:
        """Write what is needed to go on with the run, whatever happens from here on."""
        self.guard()
        self._directory.write_parts(self._parts.pickled)
        self._directory.write_meta(self._meta())

    def begun(self, place: Place, told: Sequence[TrialResult]) -> None:
        """Note that the workers are asked for, and what was told before."""
        self.guard()
        self._counts.update(trial.state for trial in told)
        self._mode = place.mode.value
        self._directory.write_meta(self._meta())
        best = best_trial(told, self._options.direction)
        self._directory.write_summary(best, self._counts, self._options.n_trials)
        self._listen(
            RunStarted(
                self._directory.path,
                len(told),
                place.description,
                place.dashboard,
                place.tunnel,
            )
        )

    def emit(self, event: Event) -> None:
        """Take an event on the way."""
        if isinstance(event, TrialFinished):
            self._counts[event.trial.state] += 1
            self.guard()
            self._directory.write_summary(event.best, self._counts, event.n_trials)
        self._listen(event)

    @contextlib.contextmanager
    def interruption_told(self) -> Iterator[None]:
        """Have the listeners know when the run ends before its last trial."""
        try:
            yield
        except LeaseLostError:  # it is another's to go on with
            raise
        except BaseException as error:
            directory = self._directory
            # The folder of a new run that got no workers is removed.
            if isinstance(error, RunStopped) or directory.study_file.exists():
                n_told = max(self._counts.total(), directory.n_told())
                self._listen(RunInterrupted(directory.path, n_told, self._options.n_trials))
            raise

    def finished(self, trials: Sequence[TrialResult]) -> OptimizeResult:
        """Note that the run is at its end, and return its result.

        Raises
        ------
        NoCompleteTrialError
            If no trial is complete.
        """
        directory = self._directory
        self.guard()
        best = best_trial(trials, self._options.direction)
        directory.write_meta(
            {
                **self._meta(),
                "completed_at_utc": utc_now().isoformat(),
                "duration_seconds": self.elapsed_s,
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
            }
        )
        self._listen(RunFinished(directory.path, best, self.elapsed_s))
        if best is None:
            errors = [trial.error for trial in trials if trial.error is not None]
            raise NoCompleteTrialError(directory.path, len(errors), next(iter(errors), None))
        assert best.value is not None  # the best trial is complete
        return OptimizeResult(
            loss_name=self._parts.loss.name,
            best_value=best.value,
            best_params=dict(best.params),
            best_stderr=best.stderr,
            best_n_seeds=best.n_seeds,
            n_trials=len(trials),
            study_name=self._history.study_name,
            run_dir=str(directory.path),
            mode=ExecutionMode(self._mode),
            trials=tuple(trials),
            study_file=directory.study_file,
        )

    def _listen(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # a closed terminal, say: no reason to lose the run
                self._listeners.remove(listener)
                _logger.warning("a listener failed and is dropped", exc_info=True)

    def _meta(self) -> dict[str, Any]:
        loss, plan = self._parts.loss, self._parts.plan
        options = attrs.asdict(self._options, recurse=False)
        options["seeds"] = plan.seeds.tolist() if self._options.seeds is not None else None
        options["given"] = sorted(options["given"])
        return {
            "loss_name": loss.name,
            "loss_description": loss.description,
            "run_name": self._directory.name,
            "run_dir": str(self._directory.path),
            "mode": self._mode,
            "n_seeds": len(plan.seeds),
            "seed_start": int(plan.seeds[0]),
            "seed_end": int(plan.seeds[-1]),
            "chunk_size": plan.chunk_size,
            "num_chunks": plan.n_chunks,
            "parameter_space": {
                name: attrs.asdict(param) for name, param in loss.parameter_space.items()
            },
            **self._history.to_meta(),
            "options": options,
        }

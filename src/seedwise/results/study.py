"""The result of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from seedwise.model.options.mode import ExecutionMode
from seedwise.model.space import ParamValue
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.tables import TrialsResult, by_column, by_name, numbers
from seedwise.study.storage import load_study

if TYPE_CHECKING:
    import optuna


@attrs.frozen
class OptimizeResult(TrialsResult):
    """What `optimize_run` returns.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    best_value : float
        Mean loss of the best trial. As the best of many noisy means it is biased towards the
        better side.
    best_params : dict
        Parameters of the best trial.
    best_stderr : float or None
        Standard error of `best_value`; None for a single seed.
    best_n_seeds : int
        Number of seeds in the mean.
    n_trials : int
        Number of finished trials, failed ones included.
    study_name : str
        Name of the Optuna study.
    run_dir : str
        The run's folder.
    mode : ExecutionMode
        Where the work was done.
    trials : tuple of TrialResult
        All trials, by number.
    study_file : pathlib.Path
        The study's file, in Optuna's journal format.
    """

    loss_name: str
    best_value: float
    best_params: dict[str, ParamValue]
    best_stderr: float | None
    best_n_seeds: int
    n_trials: int
    study_name: str
    run_dir: str
    mode: ExecutionMode
    trials: tuple[TrialResult, ...] = attrs.field(repr=False)
    study_file: Path = attrs.field(repr=False)

    @property
    def best_trial(self) -> TrialResult:
        """The best trial; of equal ones, the one with the lowest number."""
        best = [trial for trial in self.trials if trial.value == self.best_value]
        return best[0]

    def study(self) -> optuna.Study:
        """Open the run's Optuna study, for plots and importances.

        Returns
        -------
        optuna.Study
            The study, read from its file.
        """
        return load_study(self.study_file, self.study_name)

    def _content(self) -> dict[str, Any]:
        trials = self.trials
        figures = (
            numbers(trial.value for trial in trials),
            numbers(trial.stderr for trial in trials),
            [trial.n_seeds for trial in trials],
            [trial.state.value for trial in trials],
            [trial.duration_s for trial in trials],
            [trial.error for trial in trials],
        )
        params = by_name("params", [trial.params for trial in trials])
        components = by_name("components", [trial.components for trial in trials])
        return by_column([trial.number for trial in trials], params, figures, components)

    def _errors(self) -> dict[int, str]:
        return {trial.number: trial.error for trial in self.trials if trial.error is not None}

    def _n_complete(self) -> int:
        return sum(trial.state is TrialState.COMPLETE for trial in self.trials)

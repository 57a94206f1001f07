"""The result of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from seedwise.model.options.mode import ExecutionMode
from seedwise.model.space import ParamValue
from seedwise.model.trials import TrialResult
from seedwise.results.tables import TrialsResult, by_column
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

    def _content(self) -> list[dict[str, Any]]:
        return [_row(trial) for trial in self.trials]


def _row(trial: TrialResult) -> dict[str, Any]:
    value = math.nan if trial.value is None else trial.value
    stderr = math.nan if trial.stderr is None else trial.stderr
    figures = (value, stderr, trial.n_seeds, trial.state.value, trial.duration_s)
    return by_column(trial.number, trial.params, figures, trial.components)

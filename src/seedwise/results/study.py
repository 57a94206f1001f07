"""The result of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from seedwise.errors import MissingExtraError
from seedwise.folder.trial_files import artifacts
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.space import ParamValue
from seedwise.model.trials import TrialResult
from seedwise.study.storage import load_study

if TYPE_CHECKING:
    import optuna
    import pandas as pd


@attrs.frozen
class OptimizeResult:
    """What `optimize_run` returns.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    best_value : float
        Mean loss of the best trial. It is the best of many noisy means, so it is biased towards
        the better side.
    best_params : dict
        Its parameters.
    best_stderr : float or None
        Standard error of `best_value`; None for a single seed.
    best_n_seeds : int
        Seeds in the mean.
    n_trials : int
        Trials told, failed ones included.
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
        """The best trial."""
        best = [trial for trial in self.trials if trial.value == self.best_value]
        return best[0]

    def artifacts(self) -> dict[int, tuple[Path, ...]]:
        """Return the files that the loss wrote to its ``context["trial_dir"]``, by trial number.

        Returns
        -------
        dict of int to tuple of pathlib.Path
            The files; trials without any are left out.
        """
        return artifacts(Path(self.run_dir))

    def to_dataframe(self) -> pd.DataFrame:
        """Return the trials as a table.

        Returns
        -------
        pandas.DataFrame
            A row a trial: ``number``, a ``params_...`` column for each parameter, ``value``,
            ``stderr``, ``n_seeds``, ``state``, ``duration_s``, and a ``components_...`` column for
            each component. Value and stderr of a failed trial are NaN.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("to_dataframe()", extra="pandas") from None
        rows = [
            {
                "number": trial.number,
                **{f"params_{name}": value for name, value in trial.params.items()},
                "value": float("nan") if trial.value is None else trial.value,
                "stderr": float("nan") if trial.stderr is None else trial.stderr,
                "n_seeds": trial.n_seeds,
                "state": trial.state.value,
                "duration_s": trial.duration_s,
                **{f"components_{name}": part for name, part in trial.components.items()},
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)

    def study(self) -> optuna.Study:
        """Open the run's Optuna study, for its plots and importances.

        Returns
        -------
        optuna.Study
            The study, read from its file.
        """
        return load_study(self.study_file, self.study_name)

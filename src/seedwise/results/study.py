"""The result of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import NoCompleteTrialError
from seedwise.folder.directory import RunDirectory
from seedwise.model.options.work import ExecutionMode
from seedwise.model.space import ParamValue, space_from_json
from seedwise.model.surrogate import FEWEST_SMOOTHED
from seedwise.model.trials import TrialResult, best_trial
from seedwise.model.validation import Validation, validation_from_json
from seedwise.results.plots.search import TrialPlots
from seedwise.results.remarks import study_remarks
from seedwise.results.report.formats import Section
from seedwise.results.report.found import found_sections, validation_section
from seedwise.results.tables import TrialsResult, by_name, numbers
from seedwise.study.smoothed import smoothed_study
from seedwise.study.storage import load_study

if TYPE_CHECKING:
    import optuna

_SHOWN = (
    *("loss_name", "best_value", "best_params", "best_stderr", "best_n_seeds"),
    *("validated_value", "validated_stderr", "validated_params"),
    *("n_trials", "study_name", "run_dir", "mode"),
)


def read_validation(directory: RunDirectory) -> Validation | None:
    """Return what the validation of a study found; None if there was none, or not yet."""
    found = directory.validation_record.read().get("found")
    return None if found is None else validation_from_json(found)


@attrs.frozen(repr=False)
class OptimizeResult(TrialsResult):
    """What `optimize_run` returns, and `open_run` reads from the run's folder.

    Without a complete trial, as in a run that has just begun, what is said of the best one raises
    NoCompleteTrialError.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    study_name : str
        Name of the Optuna study.
    run_dir : str
        The run's folder.
    mode : ExecutionMode
        Where the work was done.
    validation : Validation or None
        What the validation found of each candidate; None if there was none, or not yet.
    direction : {"minimize", "maximize"}
        Whether the lowest or the highest value is best.
    seeds : ndarray of int64, shape (n,)
        The run's seeds, of which a trial has all or, by `race`, some.
    trials : tuple of TrialResult
        All finished trials, by number.
    """

    loss_name: str
    study_name: str
    run_dir: str
    mode: ExecutionMode
    direction: str
    seeds: NDArray[np.int64] = attrs.field(eq=attrs.cmp_using(np.array_equal))
    trials: tuple[TrialResult, ...]
    validation: Validation | None = None

    def __repr__(self) -> str:
        """Show the best trial, and where the others are."""
        parts = {"best": self.best, "validated": self.validation}
        left_out = tuple(part for part, found in parts.items() if found is None)
        names = [name for name in _SHOWN if not name.startswith(left_out)]
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"OptimizeResult({shown})"

    @property
    def best(self) -> TrialResult | None:
        """The best trial; of equal ones, the one with the lowest number. None if there is none."""
        return best_trial(self.trials, self.direction)

    @property
    def plot(self) -> TrialPlots:
        """Its figures, such as ``result.plot.history()``; they need the extra ``plot``."""
        return TrialPlots(self)

    @property
    def best_value(self) -> float:
        """Mean loss of the best trial; the best of many noisy means is biased to the better."""
        value = self.best_trial.value
        assert value is not None  # the best trial is complete
        return value

    @property
    def best_params(self) -> dict[str, ParamValue]:
        """Parameters of the best trial."""
        return dict(self.best_trial.params)

    @property
    def best_stderr(self) -> float | None:
        """Standard error of `best_value`; None for a single seed."""
        return self.best_trial.stderr

    @property
    def best_n_seeds(self) -> int:
        """Number of seeds in the mean."""
        return self.best_trial.n_seeds

    @property
    def validated_value(self) -> float | None:
        """Mean loss of the winner on seeds that had no part in choosing it; to be reported."""
        return None if self.validation is None else self.validation.value

    @property
    def validated_stderr(self) -> float | None:
        """Standard error of `validated_value`."""
        return None if self.validation is None else self.validation.stderr

    @property
    def validated_interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the winner's mean loss."""
        return None if self.validation is None else self.validation.interval

    @property
    def validated_params(self) -> dict[str, ParamValue] | None:
        """Parameters of the winner."""
        found = None if self.validation is None else self.validation.params
        return None if found is None else dict(found)

    @property
    def study_file(self) -> Path:
        """The study's file, in Optuna's journal format."""
        return RunDirectory(Path(self.run_dir)).study_file

    def study(self) -> optuna.Study:
        """Open the run's Optuna study, for plots and importances.

        Returns
        -------
        optuna.Study
            The study as its file is now. It can't be written to.

        Raises
        ------
        NoCompleteTrialError
            If no trial was asked for yet.
        """
        try:
            return load_study(self.study_file, self.study_name)
        except KeyError:
            raise NoCompleteTrialError(Path(self.run_dir), 0, None) from None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table, by name: see `to_dataframe`. pandas is not needed."""
        trials = self.trials
        columns: dict[str, Any] = {
            "number": [trial.number for trial in trials],
            **by_name("params", [trial.params for trial in trials]),
            "value": numbers(trial.value for trial in trials),
            "stderr": numbers(trial.stderr for trial in trials),
            "n_seeds": [trial.n_seeds for trial in trials],
            "state": [trial.state.value for trial in trials],
            "duration_s": [trial.duration_s for trial in trials],
            "error": [trial.error for trial in trials],
        }
        if any(trial.raw_value is not None for trial in trials):
            columns["raw_value"] = numbers(trial.raw_value for trial in trials)
        columns |= by_name("components", [trial.components for trial in trials])
        if (found := self.validation) is not None:
            of_each: list[Any] = [*found.candidates, found]  # of the winner those of its value
            by_number = {one.number: one for one in of_each}
            of = [by_number.get(trial.number) for trial in trials]
            columns |= {
                "validation_value": numbers(one and one.value for one in of),
                "validation_stderr": numbers(one and one.stderr for one in of),
                "validation_n_seeds": [one and one.n_seeds for one in of],
            }
        return columns

    def _sections(self) -> Iterator[Section]:
        found = self.validation
        return found_sections(self, [] if found is None else [validation_section(found)])

    def _remarks(self, directory: RunDirectory) -> Iterator[str]:
        meta = directory.read_meta()
        space, held = space_from_json(meta["parameter_space"]), meta["options"]["overrides"] or {}
        searched = {name: param for name, param in space.items() if name not in held}
        yield from study_remarks(self, searched)
        if not self._is_smoothed(directory, meta["results_depend_on"]["sampler"]):
            yield (
                "a trial's neighbours do not predict its value, so the sampler was shown the "
                "values as they are"
            )
        if self._errors():
            yield self.outcome

    def _is_smoothed(self, directory: RunDirectory, sampler: str) -> bool:
        """Tell whether values are smoothed, if they may be; the validation has found that out."""
        n_noisy = sum(bool(trial.stderr) for trial in self.trials)
        if sampler not in {"auto", "smoothed gp"} or n_noisy < FEWEST_SMOOTHED:
            return True
        if self.validation is not None:
            return bool(directory.validation_record.read().get("smoothed", True))
        return smoothed_study(self.study()).surrogate.explains

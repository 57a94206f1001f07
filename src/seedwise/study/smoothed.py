"""The smoothed search: TPE that is shown the smoothed values of trials in place of their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from seedwise.model.surrogate import Surrogate, Told, fit_surrogate, fitted_at
from seedwise.study.storage import load_study


class SmoothedTPESampler(optuna.samplers.TPESampler):
    """TPE over smoothed values.

    Params, seeding, random first trials and the constant liar are those of TPESampler. What the
    study holds is not changed. Of Optuna's private names this uses `TPESampler._sample`, which
    asks the study for its trials by `Study._get_trials`, and `FrozenTrial._values`.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._surrogate: Surrogate | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what only saves time."""
        return self.__dict__ | {"_surrogate": None}

    def _sample(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        shown = cast("optuna.Study", _ShownStudy(study, self))
        return super()._sample(shown, trial, search_space)

    def smoothed(self, trials: Sequence[FrozenTrial], maximize: bool) -> list[FrozenTrial]:
        """Return trials with smoothed values in place of their means."""
        rows, told = told_trials(trials, maximize)
        at = fitted_at(len(told))
        if self._surrogate is None or not self._surrogate.told.same(told.first(at)):
            self._surrogate = fit_surrogate(told)
        if not self._surrogate.explains:
            return list(trials)
        values = self._surrogate.smoothed(told)
        shown = list(trials)
        for row, value in zip(rows, (-values if maximize else values).tolist(), strict=True):
            shown[row] = _with_value(trials[row], value)
        return shown


def smoothed_values(path: Path, study_name: str) -> dict[int, float]:
    """Return the smoothed values of the trials in a study file; none if they stay as they are."""
    study = load_study(path, study_name)
    trials = study.get_trials(deepcopy=False)
    maximize = study.direction is StudyDirection.MAXIMIZE
    shown = SmoothedTPESampler(seed=0).smoothed(trials, maximize)
    pairs = zip(trials, shown, strict=True)
    return {new.number: _value(new) for old, new in pairs if new is not old}


class _ShownStudy:
    """A study that has smoothed values, and is else the study itself."""

    def __init__(self, study: optuna.Study, sampler: SmoothedTPESampler) -> None:
        self._study, self._sampler = study, sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, **choice: Any) -> list[FrozenTrial]:
        trials = self._study._get_trials(**choice)  # noqa: SLF001
        return self._sampler.smoothed(trials, self._study.direction is StudyDirection.MAXIMIZE)


def _with_value(trial: FrozenTrial, value: float) -> FrozenTrial:
    # Faster than copy.copy, which counts with thousands of trials at each ask.
    shown = object.__new__(FrozenTrial)
    shown.__dict__.update(trial.__dict__, _values=[value])
    return shown


def told_trials(trials: Sequence[FrozenTrial], maximize: bool) -> tuple[list[int], Told]:
    """Return the complete trials, as positions in `trials` and as a surrogate takes them."""
    # The newest one's parameters count; trials that lack one of them are left out.
    complete = [row for row, trial in enumerate(trials) if trial.state is TrialState.COMPLETE]
    newest = trials[complete[-1]].distributions if complete else {}
    space = {name: newest[name] for name in sorted(newest) if not newest[name].single()}
    rows = [
        row
        for row in complete
        if space.keys() <= trials[row].params.keys() and math.isfinite(_value(trials[row]))
    ]
    chosen = [trials[row] for row in rows]
    params = [trial.params for trial in chosen]
    columns = [
        _encoded(distribution, [each[name] for each in params])
        for name, distribution in space.items()
    ]
    widths = [column.shape[1] for column in columns]
    values = np.array([_value(trial) for trial in chosen])
    attributes = [trial.user_attrs for trial in chosen]
    return rows, Told(
        points=np.concatenate(columns, 1) if columns else np.empty((len(rows), 0)),
        parameters=np.repeat(np.arange(len(columns)), widths),
        values=-values if maximize else values,
        stderrs=np.array([each.get("stderr") for each in attributes], float),
        n_seeds=np.array([each.get("n_seeds", 1) for each in attributes], int),
    )


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None  # it is complete
    return trial.value


def _encoded(distribution: BaseDistribution, values: Sequence[Any]) -> NDArray[np.float64]:
    """Return the columns of a parameter, of values in [0, 1] as far as they lie in its range."""
    if isinstance(distribution, CategoricalDistribution):
        chosen = np.array([distribution.to_internal_repr(value) for value in values], int)
        one_hot: NDArray[np.float64] = np.eye(len(distribution.choices))[chosen]
        return one_hot * math.sqrt(0.5)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    # Half a step on each side, as Optuna's samplers have it.
    half = (distribution.step or 0) / 2
    low, high = distribution.low - half, distribution.high + half
    numbers = np.array(values, float)
    if distribution.log:
        low, high, numbers = np.log(low), np.log(high), np.log(numbers)
    return ((numbers - low) / (high - low))[:, None]

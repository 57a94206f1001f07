"""The smoothed search: samplers that are shown smoothed values of trials, not their means."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs
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

from seedwise.model.racing import first_of_part
from seedwise.model.statistics import Estimate
from seedwise.model.surrogate import KAPPA, Posterior, Surrogate, Told, fit_surrogate, fitted_at

#: Attribute of a study in which each trial has a part of the seeds: how many there are in all.
N_SEEDS = "seedwise_n_seeds"


class SmoothedSampler(optuna.samplers.BaseSampler):
    """A sampler that is shown smoothed values, and is else the one of Optuna that it extends.

    What the study holds is not changed. Of Optuna's private names this uses
    `FrozenTrial._values`, and `Study._get_trials`, by which samplers ask for the trials.
    """

    _surrogate: Surrogate | None = None
    #: What is known of the trials, and the parameters that it is about.
    _choice: tuple[Posterior, dict[str, BaseDistribution]] | None = None
    _n_plan: int | None = None  # how many seeds trials have a part of; 0 if they have no parts

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what only saves time."""
        return self.__dict__ | {"_surrogate": None, "_choice": None, "_n_plan": None}

    def smoothed(
        self, trials: Sequence[FrozenTrial], maximize: bool, n_plan: int = 0
    ) -> list[FrozenTrial]:
        """Return trials with smoothed values in place of their means; `n_plan` is as `_n_plan`."""
        rows, told = told_trials(trials, maximize, n_plan)
        at = fitted_at(len(told))
        if self._surrogate is None or not self._surrogate.told.same(told.first(at)):
            self._surrogate = fit_surrogate(told)
        self._choice = None
        if not self._surrogate.explains:
            return list(trials)
        posterior = self._surrogate.posterior(told)
        self._choice = posterior, _space(trials)
        values = _signed(posterior.smoothed(), maximize)
        shown = list(trials)
        for row, value in zip(rows, values.tolist(), strict=True):
            # Faster than copy.copy, which counts with thousands of trials at each ask.
            shown[row] = object.__new__(FrozenTrial)
            shown[row].__dict__.update(trials[row].__dict__, _values=[value])
        return shown

    def _shown(self, study: optuna.Study) -> optuna.Study:
        if self._n_plan is None:
            self._n_plan = study.user_attrs.get(N_SEEDS, 0)
        return cast("optuna.Study", _ShownStudy(study, self, self._n_plan))


class SmoothedTPESampler(SmoothedSampler, optuna.samplers.TPESampler):
    """TPE over smoothed values, whose candidates are compared by their expected improvement.

    Seeding, random first trials, candidates and the constant liar are those of TPESampler. Of its
    private names this uses `_sample` and `_compute_acquisition_func`.
    """

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super()._sample(self._shown(study), trial, search_space)

    def _compute_acquisition_func(
        self, samples: dict[str, NDArray[Any]], mpe_below: Any, mpe_above: Any
    ) -> NDArray[np.float64]:
        posterior, space = self._choice or (None, {})
        if posterior is None or not space.keys() <= samples.keys():
            return super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        at = {name: map(space[name].to_external_repr, samples[name]) for name in space}
        return posterior.log_expected_improvement(_points(space, at))


class SmoothedGPSampler(SmoothedSampler, optuna.samplers.GPSampler):
    """Optuna's Gaussian process over smoothed values. This uses no private names of its own."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the params that Optuna's sampler chooses, by the smoothed values."""
        return super().sample_relative(self._shown(study), trial, search_space)


@attrs.frozen(eq=False)
class SmoothedStudy:
    """The complete trials of a study, and what smooths their values."""

    numbers: Sequence[int]
    told: Told
    surrogate: Surrogate
    maximize: bool
    n_plan: int

    def values(self, fresh: Mapping[int, Estimate] | None = None) -> dict[int, float]:
        """Return the smoothed values by number; none if they stay as they are.

        `fresh` are estimates of some trials from seeds that follow the plan. With them, the values
        are those of these trials.
        """
        if not self.surrogate.explains or not (fresh or {}).keys() <= {*self.numbers}:
            return {}
        numbers, told, kappa = self.numbers, self.told, KAPPA
        if fresh:
            # As if the points had been told once more, on seeds that they have in common.
            numbers, kappa = list(fresh), 0.0
            rows = np.array([self.numbers.index(number) for number in fresh], int)
            means, stderrs, n_seeds = zip(*map(attrs.astuple, fresh.values()), strict=True)
            again = attrs.evolve(
                told.of(rows),
                values=_signed(np.array(means), self.maximize),
                stderrs=np.array(stderrs, float),
                n_seeds=np.array(n_seeds, int),
                firsts=np.full(len(rows), self.n_plan),
            )
            told = told.and_then(again)
        values = _signed(self.surrogate.smoothed(told, kappa)[-len(numbers) :], self.maximize)
        return dict(zip(numbers, values.tolist(), strict=True))


def smoothed_study(study: optuna.Study) -> SmoothedStudy:
    """Return what smooths the values of a study."""
    trials = study.get_trials(deepcopy=False)
    maximize = study.direction is StudyDirection.MAXIMIZE
    n_plan = study.user_attrs.get(N_SEEDS, 0)
    rows, told = told_trials(trials, maximize, n_plan)
    numbers = [trials[row].number for row in rows]
    return SmoothedStudy(numbers, told, fit_surrogate(told), maximize, n_plan)


def smoothed_at(
    trials: Sequence[FrozenTrial], at: Mapping[str, Sequence[Any]], maximize: bool, n_plan: int = 0
) -> NDArray[np.float64] | None:
    """Return the mean losses at points, by what trials tell; None if it is no better than theirs.

    `at` has a column of values for each parameter; `n_plan` is as in `SmoothedSampler.smoothed`.
    """
    _, told = told_trials(trials, maximize, n_plan)
    if not told.stderrs.any():  # of a loss without noise, which the fit then finds out
        told = attrs.evolve(told, stderrs=np.full(len(told), np.nan))
    surrogate = fit_surrogate(told)
    if not surrogate.explains:
        return None
    return _signed(surrogate.posterior(told).at(_points(_space(trials), at)), maximize)


def _signed(values: NDArray[np.float64], maximize: bool) -> NDArray[np.float64]:
    return -values if maximize else values


class _ShownStudy:
    """A study that has smoothed values, and is else the study itself."""

    def __init__(self, study: optuna.Study, sampler: SmoothedSampler, n_plan: int) -> None:
        self._study, self._sampler, self._n_plan = study, sampler, n_plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, **choice: Any) -> list[FrozenTrial]:
        trials = self._study._get_trials(**choice)  # noqa: SLF001
        maximize = self._study.direction is StudyDirection.MAXIMIZE
        return self._sampler.smoothed(trials, maximize, self._n_plan)


def told_trials(
    trials: Sequence[FrozenTrial], maximize: bool, n_plan: int = 0
) -> tuple[list[int], Told]:
    """Return the complete trials, as positions in `trials` and as a surrogate takes them."""
    space = _space(trials)  # trials that lack one of its parameters are left out
    rows = [
        row
        for row, trial in enumerate(trials)
        if trial.state is TrialState.COMPLETE
        and space.keys() <= trial.params.keys()
        and math.isfinite(trial.value or 0.0)
    ]
    chosen = [trials[row] for row in rows]
    params, attributes = [t.params for t in chosen], [t.user_attrs for t in chosen]
    columns = [
        _encoded(distribution, [each[name] for each in params])
        for name, distribution in space.items()
    ]
    n_seeds = np.array([each.get("n_seeds", 1) for each in attributes], int)
    numbers = np.array([trial.number for trial in chosen], int)
    # Without parts, as if each had seeds of its own: what all have in common makes no difference.
    own = np.cumsum(n_seeds) - n_seeds
    told = Told(
        points=np.concatenate(columns, 1) if columns else np.empty((len(rows), 0)),
        parameters=np.repeat(np.arange(len(columns)), [one.shape[1] for one in columns]),
        values=_signed(np.array([trial.value for trial in chosen], float), maximize),
        stderrs=np.array([each.get("stderr") for each in attributes], float),
        n_seeds=n_seeds,
        firsts=first_of_part(numbers, n_seeds, n_plan) if n_plan else own,
    )
    return rows, told


def _space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the parameters of the newest complete trial that have more than one value."""
    complete = (each for each in reversed(trials) if each.state is TrialState.COMPLETE)
    newest = next((each.distributions for each in complete), {})
    return {name: newest[name] for name in sorted(newest) if not newest[name].single()}


def _points(
    space: Mapping[str, BaseDistribution], values: Mapping[str, Iterable[Any]]
) -> NDArray[np.float64]:
    columns = [_encoded(distribution, [*values[name]]) for name, distribution in space.items()]
    return np.concatenate(columns, 1)


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

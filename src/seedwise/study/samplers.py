"""The samplers by name, and Optuna's distributions of our parameter space."""

import copy
import importlib
import warnings
from collections.abc import Callable

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler

from seedwise.errors import MissingExtraError, OptionError
from seedwise.model.space import ParameterSpace, SearchParam
from seedwise.study.smoothed import SmoothedGPSampler, SmoothedTPESampler

# What a sampler can't do itself, such as choices in CMA-ES, Optuna samples at random; without
# these switches it would warn at each parameter of each trial.
_MAKERS: dict[str, Callable[[int], BaseSampler]] = {
    "auto": lambda seed: SmoothedTPESampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "smoothed gp": lambda seed: SmoothedGPSampler(seed=seed),
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}

_NEEDS = {"cmaes": ("cmaes", "cmaes"), "gp": ("gp", "torch"), "smoothed gp": ("gp", "torch")}


def make_sampler(sampler: str | BaseSampler, random_seed: int) -> BaseSampler:
    """Return the sampler of a name, seeded, or a copy of an Optuna sampler."""
    if not isinstance(sampler, str):
        try:  # it changes as it is asked, and the same call must give the same result twice
            return copy.deepcopy(sampler)
        except Exception as error:
            hint = f"Its state is saved with each trial, so that the run can be resumed ({error})."
            raise OptionError("sampler", sampler, "one that can be copied", hint) from error
    if sampler in _NEEDS:
        extra, module = _NEEDS[sampler]
        try:
            importlib.import_module(module)
        except ImportError:
            raise MissingExtraError(f"sampler={extra!r}", extra) from None
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return _MAKERS[sampler](random_seed)


def distributions(space: ParameterSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each parameter, in the order of the space."""
    return {name: _distribution(param) for name, param in space.items()}


def _distribution(param: SearchParam) -> BaseDistribution:
    if param.allowed is not None:
        return CategoricalDistribution(param.allowed)
    assert param.range is not None  # a SearchParam has one of the two
    low, high = param.range
    with warnings.catch_warnings():
        # A range that is not a multiple of the step ends at the last value that fits: documented.
        warnings.filterwarnings("ignore", message=".*not divisible by `step`.*")
        if param.dtype == "int":
            return IntDistribution(int(low), int(high), log=param.log, step=int(param.step or 1))
        return FloatDistribution(low, high, log=param.log, step=param.step)

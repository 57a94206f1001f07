"""Optuna's distributions of our parameter space."""

import warnings

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from seedwise.model.space import ParameterSpace, SearchParam


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

"""Spaces made from others: with parameters held at a value, or smaller around a point."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from seedwise.model.space import ParameterSpace, ParamValue, SearchParam
from seedwise.model.values import ROUNDING, require_known, typed_value


def with_overrides(space: ParameterSpace, overrides: Mapping[str, Any] | None) -> ParameterSpace:
    """Return a space with some parameters held at a value, in or outside of their range."""
    overrides = overrides or {}
    require_known("overrides", overrides, space)
    return {
        name: _held(name, param, overrides[name]) if name in overrides else param
        for name, param in space.items()
    }


def _held(name: str, param: SearchParam, value: Any) -> SearchParam:
    value = typed_value(f"overrides[{name!r}]", param, value)
    if param.allowed is not None:
        return SearchParam(dtype=param.dtype, allowed=(value,))
    assert isinstance(value, int | float)  # a range is of numbers
    return SearchParam(dtype=param.dtype, range=(value, value), log=param.log and value > 0)


def refined_space(
    space: ParameterSpace, best: Mapping[str, ParamValue], factor: float
) -> ParameterSpace:
    """Return a space around a point, in which each range keeps this share of its width."""
    return {
        name: _refined(param, best[name], factor) if param.range is not None else param
        for name, param in space.items()
    }


def _refined(param: SearchParam, best: ParamValue, factor: float) -> SearchParam:
    assert param.range is not None
    assert not isinstance(best, str)  # a range is of numbers
    low, high = param.range
    if low == high:
        return param
    to, back = (math.log, math.exp) if param.log else (float, float)
    half = (to(high) - to(low)) * factor / 2
    # Whatever rounding does, the best point stays in the space, and no new points come into it.
    new_low = min(max(low, back(max(to(low), to(best) - half))), best)
    new_high = max(min(high, back(min(to(high), to(best) + half))), best)
    step = param.step or (1 if param.dtype == "int" else None)
    if step is not None:
        n_low = math.ceil((new_low - low) / step - ROUNDING)
        n_best = round((best - low) / step)
        n_high = math.floor((new_high - low) / step + ROUNDING)
        new_low = min(_stepped(low, min(n_low, n_best), step), best)
        new_high = max(min(_stepped(low, max(n_high, n_best), step), high), best)
    kind = int if param.dtype == "int" else float
    return attrs.evolve(
        param, range=(kind(new_low), kind(new_high)), step=_fitting(param, new_low, new_high)
    )


def _stepped(low: float, n_steps: int, step: float) -> float:
    # In decimal: in binary 3 * 0.1 is more than 0.3, and Optuna would miss the last step.
    return float(Decimal(str(low)) + n_steps * Decimal(str(step)))


def _fitting(param: SearchParam, low: float, high: float) -> float | None:
    # Optuna refuses a step that is larger than the range.
    if param.dtype == "int" and high - low < (param.step or 1):
        return None
    return param.step if high > low else None

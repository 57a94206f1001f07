"""Spaces made of others: with parameters held at a value, or smaller around a point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import numpy as np

from seedwise.errors import OptionError
from seedwise.model.space import ParameterSpace, ParamValue, SearchParam

__all__ = [
    "checked_point",
    "refined_space",
    "require_names",
    "typed_values",
    "with_overrides",
]

# Bounds that a step or a whole number reaches but for rounding are reached.
_ROUNDING = 1e-9


def with_overrides(space: ParameterSpace, overrides: Mapping[str, Any] | None) -> ParameterSpace:
    """Return a space in which some parameters are held at a value.

    Parameters
    ----------
    space : dict of str to SearchParam
        The loss's space.
    overrides : dict or None
        The values, by name; they may lie outside of the space. None holds none.

    Returns
    -------
    dict of str to SearchParam
        The space; what is held is a range, or a list, of one value.

    Raises
    ------
    OptionError
        If there is no such parameter, or it can't have such a value.

    Examples
    --------
    >>> from seedwise.model.narrowed import with_overrides
    >>> from seedwise.model.space import checked_space
    >>> with_overrides(checked_space({"x": (0, 1), "y": (0, 1)}), {"x": 3})["x"].range
    (3.0, 3.0)
    """
    overrides = overrides or {}
    _require_known("overrides", overrides, space)
    return {
        name: _held(name, param, overrides[name]) if name in overrides else param
        for name, param in space.items()
    }


def typed_values(
    name: str, values: Mapping[str, Any] | None, space: ParameterSpace
) -> dict[str, ParamValue]:
    """Return values in the types of their parameters, wherever they lie.

    Parameters
    ----------
    name : str
        The keyword that gives them.
    values : mapping or None
        The values, by parameter; None is none.
    space : dict of str to SearchParam
        The loss's space.

    Returns
    -------
    dict
        The values.

    Raises
    ------
    OptionError
        If there is no such parameter, or it can't have such a value.
    """
    values = values or {}
    _require_known(name, values, space)
    return {key: _typed(f"{name}[{key!r}]", space[key], value) for key, value in values.items()}


def _held(name: str, param: SearchParam, value: Any) -> SearchParam:
    value = _typed(f"overrides[{name!r}]", param, value)
    if param.allowed is not None:
        return SearchParam(dtype=param.dtype, allowed=(value,))
    assert isinstance(value, int | float)  # a range is of numbers
    return SearchParam(dtype=param.dtype, range=(value, value), log=param.log and value > 0)


def _typed(name: str, param: SearchParam, value: Any) -> ParamValue:
    """Return a value in the type that the parameter has."""
    if isinstance(value, np.generic):
        value = value.item()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if param.dtype == "float" and number and math.isfinite(value):
        return float(value)
    if param.dtype == "int" and number and math.isfinite(value) and value == int(value):
        return int(value)
    if param.dtype == "str" and isinstance(value, str):
        return value
    if param.dtype == "bool" and isinstance(value, bool):
        return value
    raise OptionError(name, value, f"of type {param.dtype}, as the loss's parameter is")


def checked_point(name: str, point: Mapping[str, Any], space: ParameterSpace) -> dict[str, Any]:
    """Return a point of a space in the types of its parameters.

    Parameters
    ----------
    name : str
        The keyword that gives it.
    point : mapping
        Params; not all need be named.
    space : dict of str to SearchParam
        The space.

    Returns
    -------
    dict
        The point, without what the space holds at a value.

    Raises
    ------
    OptionError
        If there is no such parameter, or a value lies outside of the space.
    """
    _require_known(name, point, space)
    checked = {}
    for key, value in point.items():
        param, where = space[key], f"{name}[{key!r}]"
        if _is_held(param):
            continue
        checked[key] = _typed(where, param, value)
        if param.allowed is not None and checked[key] not in param.allowed:
            raise OptionError(where, value, f"one of {list(param.allowed)!r}")
        if param.range is not None:
            low, high = param.range
            if not low <= checked[key] <= high:  # type: ignore[operator]
                raise OptionError(where, value, f"within the range from {low!r} to {high!r}")
            _require_on_step(where, param, checked[key])
    return checked


def _require_on_step(where: str, param: SearchParam, value: Any) -> None:
    if param.step is None or param.range is None:
        return
    n_steps = (value - param.range[0]) / param.step
    if abs(n_steps - round(n_steps)) > _ROUNDING * max(1.0, abs(n_steps)):
        allowed = f"a whole number of steps of {param.step!r} from {param.range[0]!r}"
        raise OptionError(where, value, allowed)


def _is_held(param: SearchParam) -> bool:
    if param.allowed is not None:
        return len(param.allowed) == 1
    return param.range is not None and param.range[0] == param.range[1]


def require_names(
    names: Iterable[str],
    space: ParameterSpace,
    overrides: Mapping[str, Any] | None,
    keyword: str = "source",
) -> None:
    """Refuse a source that does not name the loss's parameters, all of them and no others.

    Parameters
    ----------
    names : iterable of str
        What the source names.
    space : dict of str to SearchParam
        The loss's space.
    overrides : dict or None
        What is held at a value; the source need not name it.
    keyword : str
        The keyword that gives them.

    Raises
    ------
    OptionError
        If it names others, or not all.
    """
    given = set(names)
    _require_known(keyword, given, space)
    missing = space.keys() - given - (overrides or {}).keys()
    if missing:
        hint = "Name them there, or hold them at a value with overrides."
        raise OptionError(keyword, sorted(given), f"with {sorted(missing)}, too", hint)


def _require_known(name: str, given: Iterable[str], space: ParameterSpace) -> None:
    unknown = sorted(set(given) - space.keys())
    if unknown:
        raise OptionError(name, unknown, f"names of the loss's parameters: {', '.join(space)}")


def refined_space(
    space: ParameterSpace, best: Mapping[str, ParamValue], factor: float
) -> ParameterSpace:
    """Return a smaller space around a point.

    Parameters
    ----------
    space : dict of str to SearchParam
        The space.
    best : mapping
        The point, in the space.
    factor : float
        What of each range's width is left, on its own scale: above 0 and below 1.

    Returns
    -------
    dict of str to SearchParam
        The space; lists of values are as they were.

    Examples
    --------
    >>> from seedwise.model.narrowed import refined_space
    >>> from seedwise.model.space import checked_space
    >>> refined_space(checked_space({"x": (0, 1)}), {"x": 0.9}, 0.5)["x"].range
    (0.65, 1.0)
    """
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
    # The best point itself stays, and no other than the old ones come, whatever rounding does.
    new_low = min(max(low, back(max(to(low), to(best) - half))), best)
    new_high = max(min(high, back(min(to(high), to(best) + half))), best)
    step = param.step or (1 if param.dtype == "int" else None)
    if step is not None:
        n_low = math.ceil((new_low - low) / step - _ROUNDING)
        n_best = round((best - low) / step)
        n_high = math.floor((new_high - low) / step + _ROUNDING)
        new_low = min(_stepped(low, min(n_low, n_best), step), best)
        new_high = max(min(_stepped(low, max(n_high, n_best), step), high), best)
    kind = int if param.dtype == "int" else float
    return attrs.evolve(
        param, range=(kind(new_low), kind(new_high)), step=_fitting(param, new_low, new_high)
    )


def _stepped(low: float, n_steps: int, step: float) -> float:
    # As they are written: in binary 3 * 0.1 is more than 0.3, and Optuna would miss the last step.
    return float(Decimal(str(low)) + n_steps * Decimal(str(step)))


def _fitting(param: SearchParam, low: float, high: float) -> float | None:
    # Of a range of one value, Optuna takes no step that exceeds it.
    if param.dtype == "int" and high - low < (param.step or 1):
        return None
    return param.step if high > low else None

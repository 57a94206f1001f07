"""Params in the types of their parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seedwise.errors import OptionError
from seedwise.model.space import ParameterSpace, ParamValue, SearchParam

#: Bounds that a step or a whole number reaches but for rounding are reached.
ROUNDING = 1e-9


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
    if abs(n_steps - round(n_steps)) > ROUNDING * max(1.0, abs(n_steps)):
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

"""The parameter space: what may be searched, checked when it is defined."""

import builtins
import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import attrs

from seedwise.errors import SpaceError
from seedwise.errors.base import shown
from seedwise.model.options.hints import hinted

ParamValue: TypeAlias = float | int | str | bool
DType: TypeAlias = Literal["float", "int", "str", "bool"]
ParameterSpace: TypeAlias = dict[str, "SearchParam"]

#: The largest whole number that a float64 holds exactly; samplers work in float64.
LARGEST_INT = 2**53


@attrs.frozen
class SearchParam:
    """One searched parameter, as `search_param` made and checked it.

    Attributes
    ----------
    dtype : {"float", "int", "str", "bool"}
        Type of the values that the loss receives.
    range : tuple of float or None
        Both bounds, included. None for a list of values.
    allowed : tuple or None
        The values to choose from. None for a range.
    log : bool
        Whether the range is searched on a logarithmic scale.
    step : float, int or None
        Spacing of the values from the lower bound on; None is continuous, or 1 for int. If the
        range is not a multiple of it, the last value is the largest that fits.
    """

    dtype: DType
    range: tuple[float, float] | None = None
    allowed: tuple[ParamValue, ...] | None = None
    log: bool = False
    step: float | None = None


def plain_scalar(value: Any) -> Any:
    """Return a scalar of numpy as Python has it, and anything else as it is; numpy stays out."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, and anything else as it is: a check says what is wrong with it."""
    return tuple(value) if isinstance(value, list) else value


def space_to_json(space: ParameterSpace) -> dict[str, Any]:
    """Return a space as JSON has it; `space_from_json` reads it."""
    return {
        name: {
            field: list(value) if isinstance(value, tuple) else value
            for field, value in attrs.asdict(param).items()
        }
        for name, param in space.items()
    }


def space_from_json(content: Mapping[str, Mapping[str, Any]]) -> ParameterSpace:
    """Return the space that `space_to_json` wrote."""
    return {
        name: SearchParam(**{field: as_tuple(value) for field, value in fields.items()})
        for name, fields in content.items()
    }


@hinted
def search_param(
    *,
    range: Sequence[float] | None = None,
    allowed: Sequence[ParamValue] | None = None,
    dtype: str | type | None = None,
    log: bool = False,
    step: float | None = None,
) -> SearchParam:
    """Describe one parameter of a search.

    Give exactly one of `range` and `allowed`; ``dtype="bool"`` needs neither.

    Parameters
    ----------
    range : (low, high), optional
        Bounds, both included.
    allowed : sequence, optional
        Values to choose from, all of one type: float, int, str or bool.
    dtype : {"float", "int", "log", "str", "bool"} or type, optional
        Type of the values; Python's own types, such as ``int``, are accepted too. ``"log"`` is a
        synonym of ``"float"`` with ``log=True``. None means float for a range, and the type of the
        values for `allowed`.
    log : bool, default False
        Search the range on a logarithmic scale.
    step : float or int, optional
        Spacing of the values from `low` on. None is continuous, or 1 for int. It can't be
        combined with `log`: Optuna has no such distribution.

    Returns
    -------
    SearchParam
        The checked description, for a `parameter_space`.

    Raises
    ------
    SpaceError
        If the description contradicts itself, or Optuna can't search it.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.search_param(range=(1e-4, 1e-1), dtype="log")
    SearchParam(dtype='float', range=(0.0001, 0.1), allowed=None, log=True, step=None)
    >>> sw.search_param(range=(1, 9), dtype="int", step=2).step
    2
    >>> sw.search_param(allowed=["fast", "slow"]).dtype
    'str'
    """
    if isinstance(dtype, type) and dtype in (float, int, str, bool):
        dtype = dtype.__name__
    if dtype is not None and dtype not in ("float", "int", "log", "str", "bool"):
        raise SpaceError(f"dtype={dtype!r}: must be 'float', 'int', 'log', 'str' or 'bool'")
    if dtype == "bool" and range is None and allowed is None:
        allowed = (False, True)
    if (range is None) == (allowed is None):
        given = "neither" if range is None else "both"
        raise SpaceError(f"give exactly one of range and allowed; {given} was given")
    if allowed is not None:
        if log or step is not None or dtype == "log":
            raise SpaceError("log and step belong to a range, not to allowed values")
        return _choice(allowed, dtype)
    assert range is not None  # for the type checker: exactly one is given
    if dtype in ("str", "bool"):
        raise SpaceError(f"dtype={dtype!r} needs allowed=[...]; a range is of 'float' or 'int'")
    low, high = _bounds(range)
    log = bool(log) or dtype == "log"
    if log and low <= 0:
        raise SpaceError(f"low={low!r}: a log range must lie above 0")
    if log and step is not None:
        raise SpaceError(f"step={step!r} with log: Optuna can't search steps on a log scale")
    return _range(low, high, int if dtype == "int" else float, log, step)


def checked_space(specs: Any) -> ParameterSpace:
    """Return a space as the user wrote it, checked, without ``(low, high)`` and distributions."""
    space: ParameterSpace = {}
    if not isinstance(specs, Mapping):
        raise SpaceError(f"parameter_space={specs!r}: must be a dict of name to (low, high)")
    for name, spec in specs.items():
        if not isinstance(name, str) or not name:
            raise SpaceError(f"parameter names are non-empty strings; got {name!r}")
        try:
            space[name] = search_param(**_keywords(spec))
        except SpaceError as error:
            raise SpaceError(error.problem, name) from None
    return space


def _keywords(spec: Any) -> dict[str, Any]:
    # Not by their class: the distributions are built on this module.
    if hasattr(spec, "to_search_param") and not isinstance(spec, type):
        spec = spec.to_search_param()
    if isinstance(spec, SearchParam):
        return attrs.asdict(spec)
    if isinstance(spec, tuple):
        return {"range": spec}
    raise SpaceError(
        f"got {spec!r}; give a tuple (low, high), or search_param(...), or a distribution such "
        f"as uniform(low, high){_choice_hint(spec)}"
    )


def _choice_hint(values: object) -> str:
    """Return how to search a list of values of a type, to follow a problem; "" for others."""
    if not isinstance(values, list | tuple) or len(set(map(type, values))) != 1:
        return ""
    return f"; for a choice: search_param(allowed={shown([*values])})"


def _bounds(range: object) -> tuple[float, float]:
    if isinstance(range, str) or not isinstance(range, Sequence) or len(range) != 2:
        raise SpaceError(f"range={range!r}: must be two numbers (low, high){_choice_hint(range)}")
    for bound in range:
        if not is_number(bound):
            raise SpaceError(f"range={range!r}: {bound!r} is not a number{_choice_hint(range)}")
        if not is_finite(bound):
            raise SpaceError(f"range={range!r}: bounds must be finite; {bound!r} is not")
    low, high = range
    if low > high:
        raise SpaceError(f"range={range!r}: low must not be above high")
    if not is_finite(high - low):
        raise SpaceError(f"range={range!r}: is wider than a float can say")
    return low, high


def _range(
    low: float, high: float, kind: type[int | float], log: bool, step: float | None
) -> SearchParam:
    for bound in (low, high) if kind is int else ():
        if bound != int(bound) or abs(bound) > LARGEST_INT:
            raise SpaceError(
                f"range=({low!r}, {high!r}): bounds of an int range must be whole numbers of at "
                f"most 2**53; {bound!r} is not"
            )
    if step is not None:
        fine = is_number(step) and is_finite(step) and step > 0
        if not fine or (kind is int and step != int(step)):
            must = "must be a finite number above 0"
            if kind is int:
                must = "the step of an int range must be a whole number above 0"
            raise SpaceError(f"step={step!r}: {must}")
        # In decimal, too: in binary 0.3 - 0.1 is a little less than 0.2.
        if step > high - low and Decimal(str(step)) > Decimal(str(high)) - Decimal(str(low)):
            raise SpaceError(f"step={step!r}: exceeds the range from {low!r} to {high!r}")
        step = kind(step)
    return SearchParam(
        dtype="int" if kind is int else "float", range=(kind(low), kind(high)), log=log, step=step
    )


def _choice(allowed: object, dtype: str | None) -> SearchParam:
    if isinstance(allowed, str) or not isinstance(allowed, Sequence):
        raise SpaceError(f"allowed={allowed!r}: must be a list of values")
    if not allowed:
        raise SpaceError("allowed is empty; give at least one value")
    # Plain Python values travel as JSON in the study file.
    values = [plain_scalar(value) for value in allowed]
    inferred = _common_dtype(values)
    if dtype == "float" and inferred == "int":
        values, inferred = [float(value) for value in values], "float"
    if dtype is not None and dtype != inferred:
        raise SpaceError(f"allowed={values!r}: these are of type {inferred}, not {dtype}")
    if inferred == "float":
        values = [float(value) for value in values]
        if not all(math.isfinite(value) for value in values):
            raise SpaceError(f"allowed={values!r}: must be finite")
    if len(set(values)) != len(values):
        raise SpaceError(f"allowed={values!r}: holds a value twice")
    return SearchParam(dtype=inferred, allowed=tuple(values))


def _common_dtype(values: builtins.list[Any]) -> DType:
    if all(isinstance(value, bool) for value in values):
        return "bool"
    if all(isinstance(value, str) for value in values):
        return "str"
    if all(is_number(value) for value in values):
        return "int" if all(isinstance(value, int) for value in values) else "float"
    raise SpaceError(
        f"allowed={values!r}: mixes types, or has one that is not float, int, str or bool"
    )


def is_number(value: object) -> bool:
    """Tell whether a value is a real number, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_finite(value: numbers.Real | float) -> bool:
    """Tell whether a number is finite, as a float."""
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an int beyond the range of floats
        return False

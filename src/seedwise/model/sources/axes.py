"""Lists of values, which a grid goes through or a choice draws from."""

from collections.abc import Hashable
from typing import Any, TypeAlias

import numpy as np

from seedwise.errors import SourceError
from seedwise.errors.base import shown
from seedwise.model.sources.manifests import CaseValue, decoded, encoded, plain_value

Axis: TypeAlias = tuple[CaseValue, ...] | range

# A range of more values than this stays a range, in memory and in a manifest.
_LONGEST_LIST = 1000


def axis(values: Any, what: str, parameter: str | None = None) -> Axis:
    """Return the values of a list, tuple, range or 1-d array in their order, as plain Python.

    Equal values give equal axes, however they are given: more than 1,000 evenly spaced ints
    are a range, and everything else is a tuple. `what` and `parameter` are for a SourceError.
    """
    array = isinstance(values, np.ndarray) and values.ndim == 1
    if not array and type(values) not in (list, tuple, range):
        raise SourceError(
            f"{what} {shown(values)}: must be a list, tuple, range or array of one dimension",
            parameter,
        )
    try:
        n_values = len(values)
    except OverflowError:
        raise SourceError(f"{what} {shown(values)}: must be fewer than 2**63", parameter) from None
    if not n_values:
        raise SourceError(f"{what} are empty; give at least one", parameter)
    if isinstance(values, range) and n_values > _LONGEST_LIST:
        plain_value(values[0], parameter)
        plain_value(values[-1], parameter)
        return range(values[0], values[-1] + values.step, values.step)
    return _compact(tuple(plain_value(value, parameter) for value in values))


def check_distinct(values: Axis, parameter: str) -> None:
    """Raise SourceError if a value is given twice; 1, 1.0 and True are three values."""
    if isinstance(values, range):
        return
    seen = set()
    for value in values:
        if repr(value) in seen:
            raise SourceError(f"values hold {shown(value)} twice", parameter)
        seen.add(repr(value))


def comparable(values: Axis) -> Hashable:
    """Return a value that is equal for axes with equal values of equal types."""
    return values if isinstance(values, range) else repr(values)


def axis_to_manifest(values: Axis) -> Any:
    """Return an axis as JSON can hold it; a range is ``{"range": [start, stop, step]}``."""
    if isinstance(values, range):
        return {"range": [values.start, values.stop, values.step]}
    return [encoded(value) for value in values]


def axis_from_manifest(values: Any, what: str, parameter: str | None = None) -> Axis:
    """Return the axis that `axis_to_manifest` wrote; SourceError if it did not write this."""
    if isinstance(values, list):
        return axis([decoded(value, parameter) for value in values], what, parameter)
    if isinstance(values, dict) and values.keys() == {"range"}:
        numbers = values["range"]
        whole = isinstance(numbers, list) and all(type(number) is int for number in numbers)
        if whole and len(numbers) == 3 and numbers[2] != 0:
            return axis(range(*numbers), what, parameter)
    raise SourceError(
        f'manifest: {what} must be a list or {{"range": [start, stop, step]}}; got '
        f"{shown(values)}",
        parameter,
    )


def _compact(values: tuple[CaseValue, ...]) -> Axis:
    if len(values) <= _LONGEST_LIST:
        return values
    whole = [value for value in values if type(value) is int]
    if len(whole) < len(values):
        return values
    step = whole[1] - whole[0]
    same = range(whole[0], whole[0] + len(whole) * step, step or 1)
    return same if list(same) == whole else values

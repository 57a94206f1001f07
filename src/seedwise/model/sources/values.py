"""The values of cases, alone and in lists, and the form of JSON that keeps their types."""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from seedwise.errors import SourceError
from seedwise.errors.base import shown

VERSION = 1

CaseValue: TypeAlias = "float | int | str | bool | tuple[CaseValue, ...] | None"
#: What a grid goes through, or a choice draws from.
Axis: TypeAlias = tuple[CaseValue, ...] | range

# Python's limit on writing ints (sys.set_int_max_str_digits) is never below 640 digits, so ints of
# this size can be written as JSON everywhere.
_MOST_BITS = 2048
_DEEPEST = 32
# A range of more values than this stays a range, in memory and in a manifest.
_LONGEST_LIST = 1000

_T = TypeVar("_T")


def plain_value(value: Any, parameter: str | None = None, depth: int = 0) -> CaseValue:
    """Return a value that a case may hold, as plain Python; raise SourceError for another."""
    if depth > _DEEPEST:
        raise SourceError(f"value is nested more than {_DEEPEST} levels deep", parameter)
    if type(value) is list or type(value) is tuple:
        return tuple(plain_value(item, parameter, depth + 1) for item in value)
    # The item() of a time span may be an int, which loses its unit.
    span = isinstance(value, np.timedelta64 | np.datetime64)
    plain = value.item() if isinstance(value, np.generic) and not span else value
    # Not isinstance: JSON would keep only the value of an enum.
    if type(plain) not in (bool, int, float, str, type(None)):
        raise SourceError(
            f"value {shown(value)}: must be a float, int, str, bool or None, or a list or tuple "
            "of these",
            parameter,
        )
    if isinstance(plain, float) and not math.isfinite(plain):
        raise SourceError(f"value {shown(value)}: must be finite", parameter)
    if isinstance(plain, int) and plain.bit_length() > _MOST_BITS:
        raise SourceError(f"value is an int of more than {_MOST_BITS} bits", parameter)
    return plain  # type: ignore[no-any-return]


def checked_name(name: Any) -> str:
    """Return a parameter's name; raise SourceError if it is not a string, or is empty."""
    if isinstance(name, np.str_):
        name = name.item()
    if type(name) is not str or not name:
        raise SourceError(f"parameter names are non-empty strings; got {shown(name)}")
    return name


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


def encoded(value: CaseValue) -> Any:
    """Return a value as JSON can hold it: a tuple is ``{"tuple": [...]}``."""
    return {"tuple": [*map(encoded, value)]} if isinstance(value, tuple) else value


def encoded_axis(values: Axis) -> Any:
    """Return an axis as JSON can hold it; a range is ``{"range": [start, stop, step]}``."""
    if isinstance(values, range):
        return {"range": [values.start, values.stop, values.step]}
    return [*map(encoded, values)]


def decoded(value: Any) -> Any:
    """Return the value or axis that was encoded; what was not is for its reader to refuse."""
    if isinstance(value, list):
        return [*map(decoded, value)]
    if isinstance(value, dict) and value.keys() == {"tuple"}:
        return tuple(map(decoded, value["tuple"]))
    if isinstance(value, dict) and value.keys() == {"range"}:
        return range(*value["range"])
    return value


def read_manifest(
    readers: Mapping[str, Callable[..., _T]], manifest: Any, parameter: str | None = None
) -> _T:
    """Return what the reader of a manifest's type makes of its other fields, or SourceError."""
    try:
        fields = {**manifest}
        # It is checked first: another version may have other types and fields.
        if (version := fields.pop("version", VERSION)) != VERSION:
            known = f"this seedwise knows manifests of version {VERSION}"
            raise SourceError(f"manifest: version={shown(version)}: {known}")
        return readers[fields.pop("type")](**fields)
    except SourceError as error:
        raise SourceError(error.problem, error.parameter or parameter) from None
    except Exception as error:
        wrote = f"what a {' or '.join(readers)} writes in version {VERSION}"
        why = f"{type(error).__name__}: {error}"
        raise SourceError(
            f"manifest {shown(manifest)}: must be {wrote} ({why})", parameter
        ) from None


def _compact(values: tuple[CaseValue, ...]) -> Axis:
    if len(values) <= _LONGEST_LIST:
        return values
    whole = [value for value in values if type(value) is int]
    if len(whole) < len(values):
        return values
    step = whole[1] - whole[0]
    same = range(whole[0], whole[0] + len(whole) * step, step or 1)
    return same if list(same) == whole else values

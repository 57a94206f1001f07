"""Readers of what a loss returned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import LossValueError
from seedwise.model.statistics import exact_mean

# One for all seeds: most losses return a number.
_NO_COMPONENTS: Mapping[str, float] = MappingProxyType({})

_NUMBERS = "fiub"  # kinds of dtype: float, signed, unsigned, bool


def read_loss(returned: Any) -> float:
    """Read the loss of one seed: the number itself, ``total_loss``, or the mean of a dict or list.

    Raises LossValueError if it is none of these, is empty, or is not finite.

    >>> from seedwise.worker.returned import read_loss
    >>> read_loss({"speed": 1.0, "accuracy": 3.0}), read_loss([1, {"total_loss": 2.0}])
    (2.0, 1.5)
    """
    return read_returned(returned)[0]


def read_returned(returned: Any) -> tuple[float, Mapping[str, float]]:
    """Read the loss of one seed, as `read_loss` does, and its components by name.

    With a ``total_loss`` they are those of its ``components`` that are numbers, finite or not; the
    others are left out in silence. Of a dict of numbers they are all of them. A number and a list
    have none. The mapping is not to be changed. A bad component never raises LossValueError.

    >>> from seedwise.worker.returned import read_returned
    >>> read_returned({"total_loss": 2.0, "components": {"speed": 1, "model": "fast"}})
    (2.0, {'speed': 1.0})
    """
    if isinstance(returned, dict):
        if "total_loss" in returned:
            loss = check_finite(_number(returned["total_loss"]))
            return loss, _components(returned.get("components"))
        if not returned:
            raise LossValueError(returned, "an empty dict has no mean")
        numbers = [check_finite(_number(part)) for part in returned.values()]
        return exact_mean(numbers), dict(zip(map(str, returned), numbers, strict=True))
    if isinstance(returned, list | tuple):
        if not returned:
            raise LossValueError(returned, "an empty list has no mean")
        return exact_mean([read_loss(item) for item in returned]), _NO_COMPONENTS
    return check_finite(_number(returned)), _NO_COMPONENTS


def read_arrays(
    returned: Any, n_seeds: int
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Read the losses of a chunk, and their components, from what a vectorized loss returned.

    That is an array of shape (n_seeds,), or a dict with such a ``total_loss`` and ``components``,
    a dict of such arrays. Components that are not arrays of numbers are left out. Raises
    LossValueError if the losses, or the shape of a component, are wrong.
    """
    if not (isinstance(returned, dict) and "total_loss" in returned):
        return read_array(returned, n_seeds), {}
    losses = read_array(returned["total_loss"], n_seeds)
    given = returned.get("components")
    components = {}
    for key, part in given.items() if isinstance(given, dict) else ():
        try:
            array = np.asarray(part)
        except Exception:  # lists of different lengths, or an object that refuses
            continue
        if array.dtype.kind in _NUMBERS:
            _check_shape(array, n_seeds, part, f"component {key!r} has ")
            components[str(key)] = array.astype(np.float64)
    return losses, components


def read_array(returned: Any, n_seeds: int) -> NDArray[np.float64]:
    """Read the losses of a chunk, of shape (n_seeds,); they may be NaN or infinite.

    Raises LossValueError if the shape is wrong or the values are not numbers.
    """
    try:
        array = np.asarray(returned)
    except ValueError:  # lists of different lengths
        raise LossValueError(returned, "not an array of numbers") from None
    if array.dtype.kind not in _NUMBERS:
        raise LossValueError(returned, f"not an array of numbers, but of {array.dtype}")
    _check_shape(array, n_seeds, returned)
    return array.astype(np.float64)


def check_finite(value: float) -> float:
    """Return a loss that is finite; raise LossValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise LossValueError(value, "not finite")
    return value


def _check_shape(array: NDArray[Any], n_seeds: int, returned: Any, what: str = "") -> None:
    if array.shape != (n_seeds,):
        problem = f"shape {array.shape}, but there are {n_seeds} seeds: it must be ({n_seeds},)"
        raise LossValueError(returned, what + problem)


def _components(given: Any) -> Mapping[str, float]:
    components = {}
    for key, part in given.items() if isinstance(given, dict) else ():
        try:
            components[str(key)] = _number(part)
        except Exception:  # a strange object must not cost the loss
            continue
    return components


def _number(value: Any) -> float:
    if isinstance(value, np.ndarray) and value.ndim:
        raise LossValueError(value, f"an array of shape {value.shape} is not a number")
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if isinstance(value, str | bytes | complex) or not hasattr(value, "__float__"):
        raise LossValueError(value, f"{type(value).__name__} is not a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise LossValueError(value, str(error)) from None

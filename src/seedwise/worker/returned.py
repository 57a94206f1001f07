"""Readers of what a loss returned."""

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import NOT_FINITE, LossValueError
from seedwise.model.statistics import exact_mean

# One for all seeds: most losses return a number.
_NO_COMPONENTS: Mapping[str, float] = MappingProxyType({})

_NUMBERS = "fiub"  # kinds of dtype: float, signed, unsigned, bool

_TUPLE = (
    "of a tuple it is not known what counts; return the loss alone, or with more numbers as "
    "{'total_loss': loss, 'components': {'stderr': ...}}"
)

_T = TypeVar("_T")


def read_returned(returned: Any) -> tuple[float, Mapping[str, float]]:
    """Read the loss of one seed, and its components by name, which are not to be changed.

    The loss is a number, the ``total_loss`` of a dict, or else the mean of a dict or a list.
    The components are those beside a ``total_loss``, which may be infinite or NaN, or else all
    numbers of a dict. A masked value of NumPy is NaN. Raises LossValueError for what is
    neither, is empty, is not finite, or would be left out.
    """
    if type(returned) is float:  # as most do; what follows would take 0.5 us more
        return check_finite(returned), _NO_COMPONENTS
    if isinstance(returned, dict | list) and not returned:
        raise LossValueError(returned, f"an empty {_form(returned)} has no mean")
    if isinstance(returned, dict):
        if "total_loss" in returned:
            loss = check_finite(_number(returned["total_loss"]))
            return loss, _components(returned, _number)
        numbers = {name: check_finite(_number(part)) for name, part in _named(returned).items()}
        return exact_mean(list(numbers.values())), numbers
    if isinstance(returned, list):
        if len({_form(item) for item in returned}) > 1:
            raise LossValueError(returned, "a list must hold numbers only, or dicts of one form")
        return exact_mean([read_returned(item)[0] for item in returned]), _NO_COMPONENTS
    if returned is None:
        raise LossValueError(None, "a return is missing")
    return check_finite(_number(returned)), _NO_COMPONENTS


def read_arrays(
    returned: Any, n_seeds: int
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Read the losses of a chunk, and their components, from what a vectorized loss returned.

    That is an array of shape (n_seeds,), or a dict with such a ``total_loss`` and ``components``,
    a dict of such arrays. All of them may be NaN or infinite.
    """
    if returned is None:
        raise LossValueError(None, "a return is missing")
    if not (isinstance(returned, dict) and "total_loss" in returned):
        return _array(returned, n_seeds), {}
    losses = _array(returned["total_loss"], n_seeds)
    return losses, _components(returned, functools.partial(_array, n_seeds=n_seeds))


def check_finite(value: float) -> float:
    """Return a loss that is finite; raise LossValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise LossValueError(value, NOT_FINITE)
    return value


def _components(returned: dict[Any, Any], read: Callable[[Any], _T]) -> dict[str, _T]:
    others = [key for key in returned if key not in ("total_loss", "components")]
    if others:
        names = ", ".join(map(repr, others))
        problem = f"beside 'total_loss' it may have only 'components': put {names} there"
        raise LossValueError(returned, problem)
    given = returned.get("components")
    if given is not None and not isinstance(given, dict):
        raise LossValueError(given, "'components' must be a dict")
    components = {}
    for name, part in _named(given or {}).items():
        try:
            components[name] = read(part)
        except LossValueError as error:
            problem = f"component {name!r}: {error.problem}; leave it out, or write it to a file "
            raise LossValueError(part, f"{problem}in context['trial_dir']") from None
    return components


def _named(given: dict[Any, Any]) -> dict[str, Any]:
    named = {str(key): part for key, part in given.items()}
    if len(named) < len(given):
        raise LossValueError(given, "two keys are the same as text")
    return named


def _form(item: Any) -> str:
    if isinstance(item, dict):
        return "total_loss" if "total_loss" in item else "dict"
    return "list" if isinstance(item, list) else "number"


def _array(given: Any, n_seeds: int) -> NDArray[np.float64]:
    if isinstance(given, list):  # NumPy would ignore the masks of its items
        given = np.array([_number(item) for item in given])
    if isinstance(given, tuple):
        raise LossValueError(given, _TUPLE)
    try:
        array = np.ma.asarray(given)
    except Exception as error:  # such as a tensor that requires grad
        raise LossValueError(given, f"not an array of numbers: {_first_line(error)}") from None
    if array.dtype.kind not in _NUMBERS:
        raise LossValueError(given, f"not an array of numbers, but of {array.dtype}")
    if array.shape != (n_seeds,):
        problem = f"shape {array.shape}, but there are {n_seeds} seeds: it must be ({n_seeds},)"
        raise LossValueError(given, problem)
    return np.ma.filled(array.astype(np.float64), np.nan)


def _number(value: Any) -> float:
    if type(value) is float:  # as most are
        return value
    if isinstance(value, tuple):
        raise LossValueError(value, _TUPLE)
    if getattr(value, "ndim", 0):  # also of JAX, PyTorch and pandas
        shape = tuple(value.shape)
        raise LossValueError(value, f"an array of shape {shape} is not a number: take its mean")
    if isinstance(value, np.ma.MaskedArray) and value.mask:
        return math.nan
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in f"{_NUMBERS}O":
        raise LossValueError(value, f"{value.dtype} is not a number")
    try:
        # Of JAX and PyTorch, too: float() would drop an imaginary part.
        scalar = value.item() if hasattr(value, "ndim") and hasattr(value, "item") else value
        if hasattr(scalar, "__float__"):
            return float(scalar)
    except Exception as error:
        raise LossValueError(value, f"not a number: {_first_line(error)}") from None
    raise LossValueError(value, f"{type(value).__name__} is not a number")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

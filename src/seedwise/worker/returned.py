"""Reading what a loss returned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import LossValueError
from seedwise.model.statistics import exact_mean

__all__ = ["check_finite", "read_array", "read_loss"]


def read_loss(returned: Any) -> float:
    """Read the loss of one seed.

    Parameters
    ----------
    returned : number, dict or list
        What the user's function returned.

    Returns
    -------
    float
        The loss: the number itself, ``total_loss``, or the mean of a dict or list.

    Raises
    ------
    LossValueError
        If it is none of these, is empty, or is not finite.

    Examples
    --------
    >>> from seedwise.worker.returned import read_loss
    >>> read_loss({"speed": 1.0, "accuracy": 3.0}), read_loss([1, {"total_loss": 2.0}])
    (2.0, 1.5)
    """
    if isinstance(returned, dict):
        if "total_loss" in returned:
            return _number(returned["total_loss"])
        if not returned:
            raise LossValueError(returned, "an empty dict has no mean")
        return exact_mean([_number(value) for value in returned.values()])
    if isinstance(returned, list | tuple):
        if not returned:
            raise LossValueError(returned, "an empty list has no mean")
        return exact_mean([read_loss(item) for item in returned])
    return _number(returned)


def read_array(returned: Any, n_seeds: int) -> NDArray[np.float64]:
    """Read the losses of a chunk from what a vectorized loss returned.

    Parameters
    ----------
    returned : array_like of float, shape (n_seeds,)
        What the user's function returned.
    n_seeds : int
        Number of seeds in the chunk.

    Returns
    -------
    ndarray of float64, shape (n_seeds,)
        The losses; they may be NaN or infinite, which the caller blames on the seed.

    Raises
    ------
    LossValueError
        If the shape is wrong or the values are no numbers.
    """
    try:
        array = np.asarray(returned)
    except ValueError:  # lists of different lengths
        raise LossValueError(returned, "no array of numbers") from None
    if array.dtype.kind not in "fiub":
        raise LossValueError(returned, f"no array of numbers, but of {array.dtype}")
    losses = array.astype(np.float64)
    if losses.shape != (n_seeds,):
        raise LossValueError(
            returned,
            f"shape {losses.shape}, but there are {n_seeds} seeds: ({n_seeds},) it must be",
        )
    return losses


def check_finite(value: float) -> float:
    """Return a loss that is finite; raise LossValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise LossValueError(value, "not finite")
    return value


def _number(value: Any) -> float:
    if isinstance(value, np.ndarray) and value.ndim:
        raise LossValueError(value, f"an array of shape {value.shape} is not a number")
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if isinstance(value, str | bytes | complex) or not hasattr(value, "__float__"):
        raise LossValueError(value, f"{type(value).__name__} is not a number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise LossValueError(value, str(error)) from None
    return check_finite(number)

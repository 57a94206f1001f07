"""The mean over seeds and its standard error, exactly rounded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "estimate", "exact_mean"]


@attrs.frozen
class Estimate:
    """A mean loss, and how well it is known.

    Attributes
    ----------
    mean : float
        The mean over the seeds.
    stderr : float or None
        Its standard error, from the sample variance (n - 1); None for a single seed.
    n_seeds : int
        Number of seeds.
    """

    mean: float
    stderr: float | None
    n_seeds: int


def exact_mean(values: Sequence[float]) -> float:
    """Return the mean, from the exactly rounded sum: independent of the order of the values."""
    return math.fsum(values) / len(values)


def estimate(losses: NDArray[np.float64]) -> Estimate:
    """Estimate the mean loss of a trial from its per-seed losses.

    Sums are exactly rounded (`math.fsum`; Shewchuk, Adaptive precision floating-point arithmetic
    and fast robust geometric predicates, 1997, section 2), so that the bits depend neither on how
    the seeds were cut into chunks nor on the order in which the chunks arrived.

    Parameters
    ----------
    losses : ndarray of float64, shape (n,)
        One loss for each seed; n is at least 1.

    Returns
    -------
    Estimate
        Mean, standard error and n.

    Examples
    --------
    >>> import numpy as np
    >>> from seedwise.model.statistics import estimate
    >>> estimate(np.array([1e16, 1.0, -1e16, 3.0])).mean
    1.0
    """
    values = losses.tolist()
    n = len(values)
    mean = exact_mean(values)
    if n == 1:
        return Estimate(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return Estimate(mean, math.sqrt(variance / n), n)

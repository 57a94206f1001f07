"""The mean over seeds and its standard error, exactly rounded."""

import math
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model.html import table_html

_LARGEST_EXPONENT = 400  # below 2**400, squares and the sum of 2**200 of them are finite


@attrs.frozen
class Estimate:
    """A mean loss and its uncertainty."""

    mean: float
    #: Standard error of the mean, from the sample variance (n - 1); None for a single seed.
    stderr: float | None
    n_seeds: int


@attrs.frozen
class Comparison:
    """How much the losses of two trials differ, seed by seed. `compare` of a result makes it.

    Attributes
    ----------
    difference : float
        Mean over the common seeds of the first trial's loss less the second's; below 0 if the
        first is lower.
    stderr : float or None
        Standard error of the difference; None for a single seed.
    interval : (float, float) or None
        The 95 % confidence interval of the difference, by Student's t; None for a single seed. If
        0 lies within it, the two can't be told apart by these seeds.
    n_seeds : int
        Number of seeds that both trials have a loss of.
    """

    difference: float
    stderr: float | None
    interval: tuple[float, float] | None
    n_seeds: int

    def _repr_html_(self) -> str:
        """Show the difference as a table in a notebook."""
        return table_html(attrs.asdict(self).items())


def paired_comparison(first: NDArray[np.float64], second: NDArray[np.float64]) -> Comparison:
    """Compare losses of the same seeds, NaN for those that have none; one seed has both."""
    differences = first - second
    found = estimate(differences[~np.isnan(differences)])
    return Comparison(found.mean, found.stderr, confidence_interval(found), found.n_seeds)


def confidence_interval(
    found: Estimate, freedom: float | None = None
) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean, by Student's t; None for a single seed."""
    from scipy.special import stdtrit  # here, since workers do without it

    if found.stderr is None:
        return None
    reach = float(stdtrit(freedom or found.n_seeds - 1, 0.975)) * found.stderr
    return found.mean - reach, found.mean + reach


def unpaired_comparison(first: Estimate, second: Estimate) -> Comparison:
    """Compare means of different seeds (Welch, Biometrika 34, 1947).

    >>> unpaired_comparison(Estimate(3.0, 0.3, 9), Estimate(1.0, 0.4, 9)).stderr
    0.5
    """
    n_seeds = min(first.n_seeds, second.n_seeds)
    difference = first.mean - second.mean
    if first.stderr is None or second.stderr is None:
        return Comparison(difference, None, None, n_seeds)
    stderr = math.hypot(first.stderr, second.stderr)
    parts = [
        (one.stderr / stderr) ** 4 / (one.n_seeds - 1)
        for one in (first, second)
        if one.stderr and stderr
    ]
    freedom = 1 / math.fsum(parts) if parts else None
    interval = confidence_interval(Estimate(difference, stderr, n_seeds), freedom)
    return Comparison(difference, stderr, interval, n_seeds)


def exact_mean(values: Sequence[float]) -> float:
    """Return the mean from the exactly rounded sum; it is finite, even where the sum is not."""
    exponent = _exponent(max(map(abs, values)))
    scaled = math.fsum(math.ldexp(value, -exponent) for value in values)
    return math.ldexp(scaled / len(values), exponent)


def component_mean(values: NDArray[np.float64]) -> float:
    """Return the mean over the seeds of a component, which need not be finite.

    If a value is not finite, it is what IEEE 754 gives for their sum, in any order: NaN with a NaN
    or with both infinities among them, else the infinity.
    """
    special = values[~np.isfinite(values)]
    if not len(special):
        return exact_mean(values.tolist())
    return float(special[0]) if (special == special[0]).all() else math.nan


def estimate(losses: NDArray[np.float64]) -> Estimate:
    """Estimate the mean loss of a trial from one finite loss for each of its seeds.

    Sums are exactly rounded (`math.fsum`; Shewchuk, Adaptive precision floating-point arithmetic
    and fast robust geometric predicates, 1997, section 2), so that the bits depend neither on how
    the seeds were cut into chunks nor on the order in which the chunks arrived.
    """
    exponent = _exponent(np.abs(losses).max())
    values, n = np.ldexp(losses, -exponent), len(losses)
    mean = math.fsum(values.tolist()) / n
    if n == 1:
        return Estimate(math.ldexp(mean, exponent), None, 1)
    variance = math.fsum(np.square(values - mean).tolist()) / (n - 1)
    stderr = math.sqrt(variance / n)
    return Estimate(math.ldexp(mean, exponent), math.ldexp(stderr, exponent), n)


def _exponent(largest: float) -> int:
    """Return the power of two to take out of values that could not be squared and summed, or 0."""
    # Huge losses, such as a penalty of 1e300, would overflow. A power of two adds no rounding.
    exponent = math.frexp(largest)[1]
    return exponent if exponent > _LARGEST_EXPONENT else 0

"""The race: how many seeds a trial gets, look by look, and when it is dropped."""

import math
from collections.abc import Iterable

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedwise.model.options.race import Race
from seedwise.model.statistics import Estimate, estimate, exact_mean
from seedwise.model.trials import TrialResult

# A part of the plan, for each trial another: with fewer seeds its standard error means little.
_FEWEST_SEEDS = 16
_PART = 8

# Of losses up to this, a difference is finite, and so is its sum with a mean.
_LARGEST_LOSS = 2.0**1021


@attrs.frozen
class Looks:
    """The seeds that a trial gets, look by look."""

    n_plan: int
    #: How many seeds a trial has at each look, ascending.
    sizes: tuple[int, ...]
    level: float

    @property
    def saves(self) -> bool:
        """Whether a trial may end with fewer seeds than the plan has."""
        return self.sizes[0] < self.n_plan

    @property
    def in_parts(self) -> bool:
        """Whether each trial gets a part of the seeds, for each another, and none is dropped."""
        return self.saves and len(self.sizes) == 1

    def n_saved(self, trials: Iterable[TrialResult]) -> int:
        """Return how many seeds of the plan the complete ones of some trials did without."""
        complete = (trial for trial in trials if trial.value is not None)
        return sum(max(0, self.n_plan - trial.n_seeds) for trial in complete)

    def wanted(self, number: int, look: int) -> NDArray[np.bool_]:
        """Return which positions of the plan a trial has at a look."""
        wanted = np.zeros(self.n_plan, dtype=np.bool_)
        size = self.sizes[look]
        first = int(first_of_part(number, size, self.n_plan)) if self.in_parts else 0
        wanted[first : first + size] = True
        wanted[: max(0, first + size - self.n_plan)] = True
        return wanted


def looks(race: str | bool | Race, n_plan: int) -> Looks:
    """Return the looks of a race, of "auto", True or False, on a seed plan.

    >>> looks("auto", 256).sizes, looks(True, 100).sizes, looks(False, 100).sizes
    ((32,), (8, 16, 32, 64, 100), (100,))
    """
    if race == "auto":
        part = max(_FEWEST_SEEDS, -(-n_plan // _PART))
        race = Race(first_look=part, contender_seeds=part) if n_plan >= 2 * part else False
    if isinstance(race, bool):
        race = Race() if race else Race(first_look=max(2, n_plan))
    assert isinstance(race, Race)  # the option's check allows nothing else
    last = min(race.contender_seeds or n_plan, n_plan)
    sizes, size = [], race.first_look
    while size < last:
        sizes.append(size)
        size = max(size + 1, round(min(size * race.growth, last)))
    return Looks(n_plan, (*sizes, last), race.level)


def first_of_part(number: ArrayLike, size: ArrayLike, n_plan: int) -> NDArray[np.intp]:
    """Return where in the plan the part of a trial begins, by its number and its seeds."""
    return np.multiply(number, size, dtype=np.intp) % n_plan


def is_worse(differences: NDArray[np.float64], level: float) -> bool:
    """Tell whether the mean of paired differences is above 0, by a one-sided t test."""
    from scipy.special import stdtr

    found = estimate(differences)
    if not found.stderr:
        return found.mean > 0
    return bool(stdtr(found.n_seeds - 1, -found.mean / found.stderr) < level)


def can_be_compared(losses: NDArray[np.float64]) -> bool:
    """Tell whether differences of such losses, and their means, are finite."""
    return bool(np.abs(losses).max() <= _LARGEST_LOSS)


def dropped_estimate(
    losses: NDArray[np.float64], incumbent: NDArray[np.float64], common: NDArray[np.bool_]
) -> Estimate:
    """Estimate the mean loss of a dropped trial with the incumbent as control variate.

    Losses are by position in the plan; the trial has those that are `common`, n of N. The variance
    is ``s_d**2 * (1/n - 1/N) + s**2 / N``, where s_d**2 is the sample variance of the differences
    and s**2 that of the trial's losses.
    """
    own, n_plan = losses[common], len(incumbent)
    difference = estimate(own - incumbent[common])
    mean = exact_mean(incumbent.tolist()) + difference.mean
    n, error = difference.n_seeds, estimate(own).stderr
    assert difference.stderr is not None  # a look has two seeds at least
    assert error is not None
    of_difference = difference.stderr * math.sqrt(1 - n / n_plan)
    return Estimate(mean, math.hypot(of_difference, error * math.sqrt(n / n_plan)), n)

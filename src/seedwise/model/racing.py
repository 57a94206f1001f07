"""The race: how many seeds a trial gets, look by look, and when it is dropped."""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import OptionError
from seedwise.model.statistics import Estimate, estimate, exact_mean

# A part of the plan, for each trial another: with fewer seeds its standard error means little.
_FEWEST_SEEDS = 16
_PART = 8


@attrs.frozen(kw_only=True)
class Race:
    """How many seeds a trial gets before it is dropped, and how that is decided.

    A trial is evaluated on the seed plan in looks. At each look but the last it is compared with
    the incumbent (the best trial with all its seeds among those that were told when the trial was
    asked for), seed by seed on the seeds that both have. It is dropped if a one-sided paired t
    test at `level` says that it is worse. A dropped trial is told as complete, with the
    incumbent's mean plus the mean paired difference: a control variate. It is above the
    incumbent's mean, so the study's best trial always has all its seeds.

    Parameters
    ----------
    first_look : int
        Number of seeds at the first look. A trial is not dropped with fewer. At least 2.
    growth : float
        How many times as many seeds the next look has. Above 1.
    level : float
        Level of the test at each look. Above 0 and below 1. At a high level a trial is dropped
        sooner. A trial that is dropped by mistake costs little, since the sampler returns to its
        neighbourhood.
    contender_seeds : int, optional
        Number of seeds of a trial that is not dropped. None is the whole seed plan. With as many
        as `first_look` nothing is dropped: each trial gets so many seeds, and the next trial the
        seeds that follow in the plan.

    Raises
    ------
    OptionError
        If a value is not allowed.

    Notes
    -----
    Races on common seeds: Lopez-Ibanez et al., The irace package (Operations Research
    Perspectives 3, 2016). Control variates: Glasserman, Monte Carlo methods in financial
    engineering (2003), section 4.1.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.Race(first_look=16, level=0.2).growth
    2.0
    """

    first_look: int = 8
    growth: float = 2.0
    level: float = 0.3
    contender_seeds: int | None = None

    def __attrs_post_init__(self) -> None:
        """Check the values."""
        contender = self.contender_seeds
        checks = (
            ("first_look", _is_whole(self.first_look, 2), "a whole number, 2 or above"),
            ("growth", _is_number(self.growth, 1, math.inf), "a finite number above 1"),
            ("level", _is_number(self.level, 0, 1), "a number above 0 and below 1"),
            (
                "contender_seeds",
                contender is None or _is_whole(contender, self.first_look),
                f"None, or a whole number from first_look={self.first_look} on",
            ),
        )
        for name, fine, allowed in checks:
            if not fine:
                raise OptionError(f"race.{name}", getattr(self, name), allowed)


@attrs.frozen
class Looks:
    """The seeds that a trial gets, look by look."""

    #: Seeds of the plan.
    n_plan: int
    #: How many seeds a trial has at each look, ascending.
    sizes: tuple[int, ...]
    #: Level of the test.
    level: float

    @property
    def saves(self) -> bool:
        """Whether a trial may end with fewer seeds than the plan has."""
        return self.sizes[0] < self.n_plan

    def wanted(self, number: int, look: int) -> NDArray[np.bool_]:
        """Return which positions of the plan a trial has at a look.

        Where nothing is dropped, the next trial has the seeds that follow in the plan.
        """
        wanted = np.zeros(self.n_plan, dtype=np.bool_)
        size = self.sizes[look]
        first = number * size % self.n_plan if len(self.sizes) == 1 else 0
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
        size = max(size + 1, round(size * race.growth))
    return Looks(n_plan, (*sizes, last), race.level)


def is_worse(differences: NDArray[np.float64], level: float) -> bool:
    """Tell whether the mean of paired differences is above 0, by a one-sided t test.

    Without any variance, it is worse if the differences are above 0 at all.

    >>> is_worse(np.array([1.0, 2.0, 1.5]), 0.05), is_worse(np.array([-1.0, 2.0]), 0.05)
    (True, False)
    """
    from scipy.special import stdtr

    found = estimate(differences)
    if not found.stderr:
        return found.mean > 0
    return bool(stdtr(found.n_seeds - 1, -found.mean / found.stderr) < level)


def dropped_estimate(
    losses: NDArray[np.float64], incumbent: NDArray[np.float64], common: NDArray[np.bool_]
) -> Estimate:
    """Estimate the mean loss of a dropped trial with the incumbent as control variate.

    `losses` are those of the trial and `incumbent` those of the incumbent, by position in the
    plan; the trial has those that are `common`. With n of N seeds, the estimate is the
    incumbent's mean over all N plus the mean difference over the n. Its variance is
    ``s_d**2 * (1/n - 1/N) + s**2 / N``, where s_d**2 is the sample variance of the differences
    and s**2 that of the trial's losses.

    >>> common = np.array([True, True, False])
    >>> dropped_estimate(np.array([3.0, 5.0, 0.0]), np.array([1.0, 3.0, 5.0]), common).mean
    5.0
    """
    own, n_plan = losses[common], len(incumbent)
    difference = estimate(own - incumbent[common])
    mean = exact_mean(incumbent.tolist()) + difference.mean
    n, error = difference.n_seeds, estimate(own).stderr
    assert difference.stderr is not None  # a look has two seeds at least
    assert error is not None
    of_difference = difference.stderr * math.sqrt(1 - n / n_plan)
    return Estimate(mean, math.hypot(of_difference, error * math.sqrt(n / n_plan)), n)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object, low: float, high: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low < float(value) < high  # type: ignore[arg-type]

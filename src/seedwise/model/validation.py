"""The validation: the best trials of a search on fresh seeds, and an honest winner."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model.html import columns_html, table_html
from seedwise.model.space import ParamValue
from seedwise.model.statistics import Estimate, confidence_interval, exact_mean
from seedwise.model.trials import TrialResult
from seedwise.model.words import interval_words, value_words

# Many losses seed NumPy's older generators, which take 32 bits.
_MOST_32_BITS = 2**32 - 1
_MOST_64_BITS = 2**63 - 1

_DRAWS = 20_000
_ROUNDING = 1e-12


@attrs.frozen
class ValidatedTrial:
    """A candidate of a validation.

    Attributes
    ----------
    number : int
        The trial's number.
    params : dict
        Its parameters.
    search_value : float
        Its value in the search, which is biased towards the better side: the trial was chosen
        for it.
    search_stderr : float or None
        Standard error of `search_value`; None for a single seed.
    search_n_seeds : int
        Number of seeds that it had in the search.
    value : float or None
        Mean loss on the fresh seeds on which the winner was chosen; None if one failed, and of a
        single candidate, for which there was nothing to choose.
    stderr : float or None
        Standard error of `value`; None without one.
    interval : (float, float) or None
        95 % confidence interval of the mean loss, by Student's t; None without a `value`.
    n_seeds : int
        Number of these seeds; the better candidates have more. 0 without a `value`.
    probability_best : float
        Probability that its mean loss is the best of the candidates, by these fresh seeds alone:
        the share of 20,000 draws of their means from a normal distribution. They are compared on
        the seeds that they have in common. 0 if a seed failed.
    error : str or None
        Why a seed failed, in one line; None if none did. Such a candidate does not win.
    """

    number: int
    params: dict[str, ParamValue]
    search_value: float
    search_stderr: float | None
    search_n_seeds: int
    value: float | None = None
    stderr: float | None = None
    interval: tuple[float, float] | None = None
    n_seeds: int = 0
    probability_best: float = 0.0
    error: str | None = None


@attrs.frozen
class Validation:
    """What the validation of a search found; `OptimizeResult.validation` is one.

    The winner is chosen by sequential halving on fresh seeds, which are not in the seed plan
    (Karnin et al., Almost optimal exploration in multi-armed bandits, ICML 2013); the values of
    the search count there, too. Its own value is of further fresh seeds that had no part in the
    choice, so that it is not biased by it.

    Attributes
    ----------
    candidates : tuple of ValidatedTrial
        The winner first, then by how far they came, and last those of which a seed failed.
    number : int or None
        Number of the winner's trial; None if each candidate failed on a fresh seed.
    params : dict or None
        Its parameters.
    value : float or None
        Its mean loss on fresh seeds that had no part in the choice.
    stderr : float or None
        Standard error of `value`.
    interval : (float, float) or None
        95 % confidence interval of the mean loss, by Student's t.
    n_seeds : int
        Number of these fresh seeds.
    """

    candidates: tuple[ValidatedTrial, ...]
    number: int | None = None
    params: dict[str, ParamValue] | None = None
    value: float | None = None
    stderr: float | None = None
    interval: tuple[float, float] | None = None
    n_seeds: int = 0

    def _repr_html_(self) -> str:
        """Show the candidates as a table in a notebook, and first the winner's own value."""
        names = [field.name for field in attrs.fields(ValidatedTrial)]
        columns = {name: [getattr(one, name) for one in self.candidates] for name in names}
        columns["params"] = [point_in_words(one.params) for one in self.candidates]
        return table_html([("winner", in_words(self))]) + columns_html(columns)


def validation_from_json(saved: dict[str, Any]) -> Validation:
    """Return the validation of which a run's folder has the fields."""

    def fields(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "interval": one["interval"] and tuple(one["interval"])}

    candidates = tuple(ValidatedTrial(**fields(one)) for one in saved["candidates"])
    return Validation(**{**fields(saved), "candidates": candidates})


def in_words(found: Validation) -> str:
    """Say what a validation found, in a line."""
    if found.value is None or found.interval is None or found.params is None:
        n_failed, example = len(found.candidates), found.candidates[0]
        return (
            f"validation: all {n_failed} candidates failed on fresh seeds, such as trial "
            f"{example.number}: {example.error}"
        )
    return (
        f"validated {value_words(found.value, found.stderr)} on {found.n_seeds} fresh seeds (95 % "
        f"interval {interval_words(found.interval)}): trial {found.number} at "
        f"{point_in_words(found.params)}"
    )


def point_in_words(params: Mapping[str, ParamValue]) -> str:
    """Return params in a line, with six digits of floats."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value!r}"
        for name, value in params.items()
    )


def candidate(trial: TrialResult, fresh: Estimate | None, error: str | None) -> ValidatedTrial:
    """Return a candidate with what its fresh seeds say."""
    assert trial.value is not None  # a candidate is complete
    search = (trial.number, trial.params, trial.value, trial.stderr, trial.n_seeds)
    if fresh is None:
        return ValidatedTrial(*search, error=error)
    interval = confidence_interval(fresh)
    return ValidatedTrial(*search, fresh.mean, fresh.stderr, interval, fresh.n_seeds)


def n_choosing(n_seeds: int) -> int:
    """Return how many fresh seeds choose the winner, if its value has `n_seeds` others."""
    return max(2, -(-n_seeds // 2))


def halving(n_candidates: int, n_seeds: int) -> Iterator[tuple[int, int]]:
    """Yield how many candidates a round has, and how many fresh seeds it adds to each one's.

    The better half goes on, with twice as many seeds, up to `n_choosing`. The winner gets
    `n_seeds` others for its value.

    >>> list(halving(8, 256)), list(halving(1, 256))
    ([(8, 32), (4, 32), (2, 64), (1, 256)], [(1, 256)])
    """
    had = 0
    for left in reversed(range((n_candidates - 1).bit_length())):
        size = max(2, -(-n_choosing(n_seeds) // 2**left))
        yield n_candidates, size - had
        had, n_candidates = size, -(-n_candidates // 2)
    yield 1, n_seeds


def n_evaluations(n_candidates: int, n_seeds: int) -> int:
    """Return how many seeds a validation evaluates, in all candidates."""
    return sum(n_left * n_new for n_left, n_new in halving(n_candidates, n_seeds))


def pooled(trial: TrialResult, fresh: Estimate) -> float:
    """Return the mean of the search's value and that of fresh seeds, weighted by their numbers."""
    assert trial.value is not None  # a candidate is complete
    share = fresh.n_seeds / (fresh.n_seeds + trial.n_seeds)
    return share * fresh.mean + (1 - share) * trial.value


def fresh_seeds(plan: NDArray[np.int64], n_seeds: int) -> NDArray[np.int64]:
    """Return seeds that are not in the plan: those that follow its largest.

    Seeds of 32 bits stay within 32 bits: if too few follow, they are the lowest that are free,
    from 0.

    >>> fresh_seeds(np.array([4, 3]), 2), fresh_seeds(np.array([0, 2**32 - 2]), 2)
    (array([5, 6]), array([1, 2]))
    """
    last = int(plan.max())
    top = _MOST_32_BITS if last <= _MOST_32_BITS else _MOST_64_BITS
    if last + n_seeds <= top:
        return np.arange(n_seeds, dtype=np.int64) + (last + 1)
    lowest = np.arange(len(plan) + n_seeds, dtype=np.int64)
    return np.setdiff1d(lowest, plan)[:n_seeds]


def probabilities_best(losses: Sequence[NDArray[np.float64]], sign: float) -> list[float]:
    """Return for each candidate the probability that its mean loss is the best.

    Each has the losses of the first of the same seeds, one more than the other, at least two. With
    ``sign=-1.0`` the highest is best. Of two candidates with n and m seeds, n >= m, the covariance
    of the means is that of the m common losses, divided by n.

    Losses are compared with those of the candidates that have the most seeds, on the same seeds:
    else those that are out after a few kind seeds would seem better than those that went on.
    """
    if len(losses) < 2:
        return [1.0] * len(losses)
    # Squares of huge losses, such as a penalty of 1e300, would overflow.
    exponent = math.frexp(max(float(np.abs(one).max()) for one in losses))[1]
    losses = [np.ldexp(one, -exponent) for one in losses]
    most = max(map(len, losses))
    of_seeds = np.mean([one for one in losses if len(one) == most], axis=0)
    losses = [one - of_seeds[: len(one)] for one in losses]
    means = np.array([exact_mean(one.tolist()) for one in losses])
    covariance = np.empty((len(losses), len(losses)))
    for i, first in enumerate(losses):
        for j, second in enumerate(losses):
            n_common, n_most = sorted((len(first), len(second)))
            common = np.cov(first[:n_common], second[:n_common])
            covariance[i, j] = common[0, 1] / n_most
    scale, directions = np.linalg.eigh(covariance)
    scale[scale < _ROUNDING * scale.max()] = 0.0
    # The square root that is symmetric: it does not depend on the signs of the directions.
    spread = directions * np.sqrt(scale) @ directions.T
    normal = np.random.default_rng(0).standard_normal((_DRAWS, len(losses)))
    drawn = sign * (means + normal @ spread)
    is_best = drawn <= drawn.min(axis=1, keepdims=True) + _ROUNDING  # equal ones share a draw
    shares: list[float] = (is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0).tolist()
    return shares

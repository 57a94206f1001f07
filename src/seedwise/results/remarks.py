"""What a good colleague would say about a study, from its trials and their losses."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seedwise.model.space import ParameterSpace, SearchParam
from seedwise.model.statistics import Comparison, Estimate, paired_comparison, unpaired_comparison
from seedwise.model.trials import TrialResult
from seedwise.results.tables import TrialsResult, read_losses

# With fewer, the best is at an edge by chance.
_FEWEST_TRIALS = 10

# Part of a range, on the scale on which it is searched.
_EDGE = 0.01

# So many trials are compared with the best, to read no more losses than that takes.
_MOST_COMPARED = 50
_MOST_LOSSES = 2_000_000

# The differences are to be so many times the noise.
_CLEARLY = 3.0

_FEWEST_WHOLE_NUMBERS = 10
_ADVICE = "evaluate the best ones on other seeds"


def study_remarks(result: TrialsResult, searched: ParameterSpace) -> Iterator[str]:
    """Yield what the trials of a study, or of a sweep, show; `searched` are its parameters."""
    complete = [trial for trial in result.trials if trial.value is not None]
    best = result.best
    if best is None:
        return
    are_enough = len(complete) >= _FEWEST_TRIALS
    for name, param in searched.items():
        yield from _of_range(name, param, best.params.get(name) if are_enough else None)
    if best.n_seeds > 1 and all(trial.stderr == 0.0 for trial in complete):
        yield (
            f"all {best.n_seeds} seeds of a trial gave the same value: the loss does not depend "
            "on its seed, and one seed would do"
        )
        return
    others = [trial for trial in complete if trial.params != best.params]
    if best.n_seeds > 1 and others:
        yield from _compared(result, best, others)


def _of_range(name: str, param: SearchParam, best: object) -> Iterator[str]:
    """Yield what there is to say of a range, and of the best value in it, if that is known."""
    if param.range is None:
        return
    low, high = param.range
    if isinstance(best, float | int) and low <= best <= high and low < high:
        scale = math.log if param.log else float
        place = (scale(best) - scale(low)) / (scale(high) - scale(low))
        is_at_end = best in (low, high) if param.dtype == "int" else not _EDGE < place < 1 - _EDGE
        if is_at_end:
            yield (
                f"the best {name}, {best:.6g}, is at the edge of its range, {low:g} to {high:g}: "
                "a wider one may hold a better point"
            )
    is_plain = param.dtype == "float" and not param.log and param.step is None
    is_whole = low >= 0 and low % 1 == high % 1 == 0 and high - low >= _FEWEST_WHOLE_NUMBERS
    if is_plain and is_whole:
        yield (
            f"{name} was searched as a float; for whole numbers, give "
            f"search_param(range=({low:g}, {high:g}), dtype='int')"
        )


def _compared(
    result: TrialsResult, best: TrialResult, others: Sequence[TrialResult]
) -> Iterator[str]:
    sign = -1.0 if result.direction == "maximize" else 1.0
    ranked = sorted(others, key=lambda trial: (sign * _value(trial), trial.number))
    most = max(1, min(_MOST_COMPARED, _MOST_LOSSES // len(result.seeds)))
    near, spread = ranked[:most], ranked[:: -(-len(ranked) // most)]
    read = read_losses(result, (best, *near, *spread))
    losses = {
        number: one.losses
        for number, one in read.items()
        if one.changed_since == read[best.number].changed_since  # of the same loss and seeds
    }
    near, spread = ([one for one in some if one.number in losses] for some in (near, spread))
    compared = [_with_best(best, trial, losses) for trial in near]
    intervals = [one.interval for one, _ in compared]
    n_worse = sum(one is not None and min(sign * end for end in one) > 0 for one in intervals)
    n_alike = len(compared) - n_worse
    if n_alike:
        which = f"{len(near)} best others" if len(near) < len(others) else f"{len(others)} others"
        by_seed = ", seed by seed" if all(is_paired for _, is_paired in compared) else ""
        found = result.validation
        is_validated = found is not None and found.value is not None
        advice = "report the validated value" if is_validated else _ADVICE
        yield (
            f"{n_alike} of the {which} can't be told from the best trial, {best.number}{by_seed} "
            f"(95 %): its value is in part luck, so {advice}"
        )
    if len(others) + 1 >= _FEWEST_TRIALS:
        compared = [_with_best(best, trial, losses) for trial in spread]
        yield from _noise(best, others, [one for one, _ in compared])


def _with_best(
    best: TrialResult, trial: TrialResult, losses: Mapping[int, NDArray[np.float64]]
) -> tuple[Comparison, bool]:
    """Compare a trial with the best; tell whether by common seeds, or by the means alone."""
    own, of_best = losses[trial.number], losses[best.number]
    n_common = int((np.isfinite(own) & np.isfinite(of_best)).sum())
    if n_common and n_common >= min(trial.n_seeds, best.n_seeds):
        return paired_comparison(own, of_best), True
    means = (Estimate(_value(one), one.stderr, one.n_seeds) for one in (trial, best))
    return unpaired_comparison(*means), False


def _noise(
    best: TrialResult, others: Sequence[TrialResult], spread: Sequence[Comparison]
) -> Iterator[str]:
    """Compare the noise of a difference with the differences of the means."""
    known = [(one.stderr, one.n_seeds) for one in spread if one.stderr is not None]
    if not known:
        return
    noise = statistics.median(error for error, _ in known) / math.sqrt(2)  # of one of the two
    n_seeds = statistics.median_low(n for _, n in known)
    of_means = statistics.pstdev([_value(best), *map(_value, others)])
    true_part = math.sqrt(max(of_means**2 - noise**2, 0.0))
    if noise == 0.0 or true_part >= noise:
        return
    enough = n_seeds * (_CLEARLY * noise / max(true_part, noise / _CLEARLY)) ** 2
    yield (
        f"the noise of {n_seeds} seeds (±{noise:.2g}) is larger than the differences between the "
        f"trials: about {float(f'{enough:.1g}'):.0f} seeds would show them"
    )


def _value(trial: TrialResult) -> float:
    assert trial.value is not None  # only complete trials are compared
    return trial.value

"""The rounds, the fresh seeds, the pooled evidence, and the probabilities of being best."""

from __future__ import annotations

import json
import math

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedwise.model.statistics import Estimate, confidence_interval, estimate
from seedwise.model.validation import (
    ValidatedTrial,
    Validation,
    candidate,
    fresh_seeds,
    halving,
    in_words,
    n_choosing,
    n_evaluations,
    pooled,
    probabilities_best,
    validation_from_json,
)
from tests.builders import trial

TOP_32 = 2**32 - 1
TOP_64 = 2**63 - 1

# The rounds.


@given(st.integers(1, 100), st.integers(2, 10_000))
def test_rounds_halve_the_candidates_and_never_lose_seeds(n_candidates, n_seeds):
    *rounds, last = halving(n_candidates, n_seeds)
    left, size = n_candidates, 0
    for n_left, n_new in rounds:
        assert n_left == left > 1
        assert n_new >= 0
        left, size = -(-left // 2), size + n_new
        assert 2 <= size <= n_choosing(n_seeds) == max(2, (n_seeds + 1) // 2)
    assert last == (left, n_seeds) == (1, n_seeds)
    assert size == (n_choosing(n_seeds) if rounds else 0)
    total = sum(n_left * n_new for n_left, n_new in (*rounds, last))
    assert n_evaluations(n_candidates, n_seeds) == total


# Fresh seeds.

edges = st.sampled_from([-(2**63), -5, 0, TOP_32 - 8, 2**32, TOP_64 - 8])
seeds = st.builds(
    lambda edge, offsets: np.unique(
        np.array([min(edge + one, TOP_64) for one in offsets], dtype=np.int64)
    ),
    edges,
    st.lists(st.integers(0, 40), min_size=1, max_size=20),
)


@given(seeds, st.integers(2, 50), st.randoms())
def test_fresh_seeds_are_different_new_and_of_the_plans_width(plan, n_seeds, rng):
    fresh = fresh_seeds(plan, n_seeds)
    assert fresh.dtype == np.int64
    assert len(np.unique(fresh)) == n_seeds == len(fresh)
    assert not np.isin(fresh, plan).any()
    assert plan.max() > TOP_32 or fresh.max() <= TOP_32
    assert plan.min() < 0 or fresh.min() >= 0
    rng.shuffle(shuffled := plan.tolist())
    assert (fresh_seeds(np.array(shuffled), n_seeds) == fresh).all()
    # The first of more seeds are the same, so that a larger validation has those of a smaller.
    if int(plan.max()) + 2 * n_seeds <= TOP_32:
        assert (fresh_seeds(plan, 2 * n_seeds)[:n_seeds] == fresh).all()


@pytest.mark.parametrize(
    ("plan", "n_seeds", "expected"),
    [
        ([4, 3], 2, [5, 6]),
        ([TOP_32 - 2], 2, [TOP_32 - 1, TOP_32]),
        ([0, TOP_32 - 1], 2, [1, 2]),
        ([1, TOP_64], 3, [0, 2, 3]),
        ([-3], 4, [-2, -1, 0, 1]),
    ],
)
def test_known_fresh_seeds(plan, n_seeds, expected):
    assert fresh_seeds(np.array(plan), n_seeds).tolist() == expected


# Pooled evidence.

numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers, st.integers(1, 1000), st.integers(1, 1000))
def test_pooled_is_the_mean_of_all_losses(of_search, of_fresh, n_search, n_fresh):
    found = pooled(trial(0, of_search, n_seeds=n_search), Estimate(of_fresh, None, n_fresh))
    total = of_search * n_search + of_fresh * n_fresh
    assert found == pytest.approx(total / (n_search + n_fresh), rel=1e-9, abs=1e-6)


# Probabilities of being best.


def drawn(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n) for n in (40, 40, 20, 10)]


columns = st.integers(0, 2**32).map(drawn)


@settings(max_examples=20)
@given(columns, st.integers(-8, 8), st.integers(-40, 40))
def test_shift_and_scale_change_no_probability(losses, shift, exponent):
    found = probabilities_best(losses, 1.0)
    assert sum(found) == pytest.approx(1.0)
    changed = [np.ldexp(one, exponent) for one in losses]
    assert probabilities_best(changed, 1.0) == found
    shifted = probabilities_best([one + shift for one in losses], 1.0)
    assert shifted == pytest.approx(found, abs=0.002)
    assert probabilities_best([-one for one in losses], -1.0) == pytest.approx(found, abs=0.02)


@settings(max_examples=20)
@given(columns, st.permutations(range(4)))
def test_the_order_of_the_candidates_hardly_matters(losses, order):
    found = probabilities_best(losses, 1.0)
    other = probabilities_best([losses[index] for index in order], 1.0)
    # 20,000 draws each: the standard error of a difference is 0.005 at most.
    assert other == pytest.approx([found[index] for index in order], abs=0.025)


SAME = np.array([1.0, 2.0, 4.0, 3.0])


@pytest.mark.parametrize(
    ("losses", "sign", "expected"),
    [
        ([SAME], 1.0, [1.0]),
        ([SAME, SAME + 1.0], 1.0, [1.0, 0.0]),  # what a seed does to both cancels out
        ([SAME, SAME + 1.0], -1.0, [0.0, 1.0]),
        ([SAME, SAME], 1.0, [0.5, 0.5]),
        ([SAME, SAME - 2.0, SAME, SAME - 2.0], 1.0, [0.0, 0.5, 0.0, 0.5]),
        ([np.full(4, 0.1), np.full(2, 0.1)], 1.0, [0.5, 0.5]),
        ([np.full(4, 0.0)] * 4, 1.0, [0.25] * 4),
        ([SAME * 1e305, SAME * 1e305 + 1e305], 1.0, [1.0, 0.0]),
        ([np.array([0.0, 1e-320]), np.array([1e-300, 1e-300])], 1.0, [1.0, 0.0]),
    ],
    ids=repr,
)
def test_known_probabilities(losses, sign, expected):
    assert probabilities_best(losses, sign) == pytest.approx(expected, abs=1e-9)


def test_the_probability_of_two_is_that_of_their_difference():
    rng = np.random.default_rng(5)
    common = rng.normal(size=64)
    first, second = common + rng.normal(size=64), common + rng.normal(size=64) + 0.1
    difference = estimate(second - first)
    expected = 0.5 * math.erfc(-difference.mean / difference.stderr / math.sqrt(2))
    # The standard error of a share of 20,000 draws is 0.0035 at most.
    assert probabilities_best([first, second], 1.0)[0] == pytest.approx(expected, abs=0.015)


def test_one_with_fewer_seeds_is_compared_on_those():
    rng = np.random.default_rng(8)
    common = rng.normal(size=400)
    first = common + rng.normal(size=400)
    second = (common + rng.normal(size=400) + 0.05)[:100]
    difference = estimate(second - first[:100])
    expected = 0.5 * math.erfc(-difference.mean / difference.stderr / math.sqrt(2))
    assert 0.02 < expected < 0.98
    assert probabilities_best([first, second], 1.0)[0] == pytest.approx(expected, abs=0.015)


def test_kind_seeds_of_the_first_round_favour_no_one():
    rng = np.random.default_rng(9)
    of_seed = rng.normal(size=64) + np.repeat([-5.0, 0.0], [16, 48])
    near = of_seed + rng.normal(size=(2, 64)) / 100
    out = (of_seed + 1.0 + rng.normal(size=64) / 100)[:16]  # its mean is the lowest by far
    assert probabilities_best([*near, out], 1.0)[2] == 0.0


def test_probabilities_are_calibrated():
    """Where the true means are any, of those that are best with probability p a share p is.

    400 cases of two candidates whose means differ by up to 20 standard errors of the difference,
    so that the prior is as good as flat, with 64 and 32 seeds, of which 32 are common. The sum of
    (share - p) over its standard deviation is within 4, in all and in each of three classes of p:
    with normal sums, a false alarm has a rate of 4 * 6e-5.
    """
    rng = np.random.default_rng(11)
    said, is_best = [], []
    for _ in range(400):
        shared = rng.normal(size=64)
        difference = rng.uniform(-4.0, 4.0)
        first = shared + rng.normal(size=64)
        second = difference + (shared + rng.normal(size=64))[:32]
        said.append(probabilities_best([first, second], 1.0)[0])
        is_best.append(difference > 0)
    p, best = np.array(said), np.array(is_best, dtype=float)
    p = np.clip(p, 1e-4, 1 - 1e-4)
    for which in (p > 0, p < 0.3, (p >= 0.3) & (p <= 0.7), p > 0.7):
        z = (best - p)[which].sum() / math.sqrt((p * (1 - p))[which].sum())
        assert abs(z) < 4, z
    assert ((p > 0.05) & (p < 0.95)).sum() > 20


def test_the_interval_covers_the_mean():
    """Normal losses, 8 seeds: 95 % of 10,000 intervals; 4 standard errors are 0.87 %.

    A false alarm has a rate of 6e-5.
    """
    rng = np.random.default_rng(2)
    losses = rng.normal(loc=3.0, size=(10_000, 8))
    intervals = np.array([confidence_interval(estimate(one)) for one in losses])
    covers = (intervals[:, 0] <= 3.0) & (intervals[:, 1] >= 3.0)
    assert covers.mean() == pytest.approx(0.95, abs=0.0087)


# The records.

FRESH = Estimate(1.5, 0.25, 16)
FOUND = Validation(
    (
        attrs.evolve(candidate(trial(3, 1.0), FRESH, None), probability_best=1.0),
        candidate(trial(4, 0.5), None, "seed 9: ValueError: no"),
    ),
    number=3,
    params={"x": 3.0},
    value=1.25,
    stderr=0.5,
    interval=(0.25, 2.25),
    n_seeds=16,
)


def test_what_is_written_is_read():
    assert validation_from_json(json.loads(json.dumps(attrs.asdict(FOUND)))) == FOUND


def test_a_candidate_has_its_search_value_and_what_fresh_seeds_say():
    sound, failed = FOUND.candidates
    assert (sound.search_value, sound.search_stderr, sound.search_n_seeds) == (1.0, 0.5, 4)
    assert (sound.value, sound.stderr, sound.n_seeds) == (1.5, 0.25, 16)
    assert sound.interval == confidence_interval(FRESH)
    assert failed == ValidatedTrial(4, {"x": 4.0}, 0.5, 0.5, 4, error="seed 9: ValueError: no")


def test_in_words():
    assert in_words(FOUND) == (
        "validated 1.25 ± 0.5 on 16 fresh seeds (95 % interval 0.25 to 2.25): trial 3 at x=3"
    )
    failed = Validation(FOUND.candidates[1:])
    assert in_words(failed) == (
        "validation: all 1 candidates failed on fresh seeds, such as trial 4: "
        "seed 9: ValueError: no"
    )

from __future__ import annotations

import math
from fractions import Fraction

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.model.seeds import seed_plan
from seedwise.model.statistics import Estimate, component_mean, estimate, exact_mean

# Of very different size, so that a naive sum would depend on the order.
losses = st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=40)


def bits(value: Estimate) -> tuple[str, str | None, int]:
    return value.mean.hex(), value.stderr and value.stderr.hex(), value.n_seeds


@given(losses, st.randoms(use_true_random=False), st.integers(1, 40))
def test_any_order_and_any_chunks_give_the_same_bits(values, random, chunk_size):
    expected = bits(estimate(np.array(values)))
    shuffled = random.sample(values, len(values))
    assert bits(estimate(np.array(shuffled))) == expected
    chunks = list(seed_plan(seeds=range(len(values)), chunk_size=chunk_size).chunks())
    random.shuffle(chunks)
    filled = np.full(len(values), np.nan)
    for chunk in chunks:
        stop = chunk.start + len(chunk.seeds)
        filled[chunk.start : stop] = values[chunk.start : stop]
    assert bits(estimate(filled)) == expected


@given(losses)
def test_the_mean_is_the_exactly_rounded_sum_by_n(values):
    total = float(sum(map(Fraction, values)))
    assert exact_mean(values) == total / len(values)
    assert estimate(np.array(values)).mean == exact_mean(values)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_the_standard_error_agrees_with_exact_arithmetic(values):
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
    expected = math.sqrt(variance / len(exact))
    assert estimate(np.array(values)).stderr == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_a_sum_that_floats_lose_is_kept():
    values = [1e16, 1.0, -1e16, 3.0]
    assert sum(values) == 3.0
    assert exact_mean(values) == 1.0


def test_the_variance_is_that_of_a_sample():
    # The sum of squares is 2, n - 1 is 2, and n is 3.
    assert estimate(np.array([1.0, 2.0, 3.0])) == Estimate(2.0, math.sqrt(1 / 3), 3)


def test_a_single_seed_has_no_standard_error():
    assert estimate(np.array([4.0])) == Estimate(4.0, None, 1)


def test_equal_losses_have_no_spread():
    assert estimate(np.full(7, 0.1)).stderr == 0.0


def test_an_estimate_is_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        estimate(np.array([1.0])).mean = 2.0


@pytest.mark.parametrize(
    ("losses", "mean", "stderr"),
    [
        ([1e200, 0.0], 5e199, 5e199),
        ([1.7e308, 1.7e308], 1.7e308, 0.0),
        ([1.7e308, -1.7e308], 0.0, 1.7e308),
    ],
)
def test_huge_losses_do_not_overflow(losses, mean, stderr):
    """A penalty of 1e300 for a model that diverges is common."""
    found = estimate(np.array(losses))
    assert found.mean == mean
    assert found.stderr == pytest.approx(stderr)


anything = st.lists(st.floats(width=64), min_size=1, max_size=40)


@given(anything, st.randoms(use_true_random=False))
def test_the_order_is_of_no_matter_to_the_mean_of_a_component(values, random):
    shuffled = random.sample(values, len(values))
    assert component_mean(np.array(shuffled)).hex() == component_mean(np.array(values)).hex()


@given(losses)
def test_the_mean_of_a_finite_component_is_that_of_a_loss(values):
    assert component_mean(np.array(values)).hex() == exact_mean(values).hex()


@given(anything)
def test_the_mean_of_a_component_is_not_finite_where_a_value_is_not(values):
    found = component_mean(np.array(values))
    assert type(found) is float
    special = {value for value in values if not math.isfinite(value)}
    if not special:
        assert math.isfinite(found)
    elif len(special) == 1:
        np.testing.assert_equal(found, special.pop())
    else:
        assert math.isnan(found)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, math.inf, -1e308], math.inf),
        ([-math.inf, 1.0, -math.inf], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.inf, math.nan], math.nan),
        ([math.nan], math.nan),
        ([1.7e308, 1.7e308], 1.7e308),
        ([1e16, 1.0, -1e16, 3.0], 1.0),
        ([4.0], 4.0),
    ],
)
def test_the_mean_of_a_component(values, expected):
    np.testing.assert_equal(component_mean(np.array(values)), expected)

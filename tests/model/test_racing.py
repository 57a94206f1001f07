"""The race: its looks, its test, and the value of a trial that is dropped."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from seedwise.model.options.race import Race
from seedwise.model.racing import can_be_compared, dropped_estimate, is_worse, looks
from seedwise.model.statistics import exact_mean

# Whole numbers below 2**20, so that shifting and doubling them adds no rounding.
NUMBERS = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=12)
LEVELS = st.sampled_from([0.01, 0.05, 0.3, 0.5])


@pytest.mark.parametrize(
    ("race", "n_plan", "sizes"),
    [
        ("auto", 31, (31,)),
        ("auto", 32, (16,)),
        ("auto", 129, (17,)),
        ("auto", 1000, (125,)),
        (False, 1, (1,)),
        (False, 1000, (1000,)),
        (True, 1, (1,)),
        (True, 8, (8,)),
        (True, 9, (8, 9)),
        (True, 64, (8, 16, 32, 64)),
        (Race(growth=1.01), 11, (8, 9, 10, 11)),
        (Race(growth=1e308), 64, (8, 64)),
        (Race(contender_seeds=20), 64, (8, 16, 20)),
        (Race(contender_seeds=20), 12, (8, 12)),
        (Race(first_look=20, contender_seeds=20), 64, (20,)),
    ],
)
def test_looks(race, n_plan, sizes):
    found = looks(race, n_plan)
    assert found.sizes == sizes
    assert found.saves == (sizes[0] < n_plan)


@given(n_plan=st.integers(1, 60), size=st.integers(2, 60), n_trials=st.integers(1, 40))
def test_parts_cover_the_plan_evenly_in_rotation(n_plan, size, n_trials):
    own = looks(Race(first_look=size, contender_seeds=size), n_plan)
    given_out = np.zeros(n_plan, dtype=int)
    following = 0
    for number in range(n_trials):
        wanted = own.wanted(number, 0)
        assert wanted.sum() == min(size, n_plan)
        assert wanted[following % n_plan]
        following += min(size, n_plan)
        given_out += wanted
    assert given_out.max() - given_out.min() <= 1


@given(race=st.sampled_from([True, Race(first_look=2, growth=1.3)]), n_plan=st.integers(1, 99))
def test_each_look_of_a_race_holds_the_one_before(race, n_plan):
    own = looks(race, n_plan)
    by_look = [own.wanted(7, look) for look in range(len(own.sizes))]
    assert [int(wanted.sum()) for wanted in by_look] == list(own.sizes)
    assert all((after | before == after).all() for before, after in itertools.pairwise(by_look))
    assert by_look[-1].all()


@given(own=NUMBERS, level=LEVELS, shift=st.integers(-1000, 1000), data=st.data())
def test_shift_scale_and_order_do_not_change_what_is_worse(own, level, shift, data):
    other = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=len(own), max_size=len(own))))
    order = np.array(data.draw(st.permutations(range(len(own)))))
    first, second = np.array(own), np.array(own) - other
    found = is_worse(first - second, level)
    assert is_worse((first + shift) - (second + shift), level) == found
    assert is_worse(4 * first - 4 * second, level) == found
    assert is_worse((first - second)[order], level) == found


@given(own=NUMBERS, level=LEVELS)
def test_what_is_worse_is_what_scipys_paired_test_says(own, level):
    differences = np.array(own)
    assume(len(set(own)) > 1)
    p = stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue
    assume(abs(p - level) > 1e-9)
    assert is_worse(differences, level) == (p < level)


@given(own=NUMBERS, level=LEVELS)
def test_only_one_of_two_is_worse_than_the_other(own, level):
    assert not (is_worse(np.array(own), level) and is_worse(-np.array(own), level))


@pytest.mark.parametrize(("difference", "worse"), [(0.5, True), (0.0, False), (-0.5, False)])
def test_without_variance_the_sign_decides(difference, worse):
    assert is_worse(np.full(8, difference), 0.01) is worse


@pytest.mark.parametrize(("largest", "can_be"), [(1e300, True), (1.5e308, False)])
def test_losses_whose_differences_may_overflow_are_not_compared(largest, can_be):
    assert can_be_compared(np.array([0.0, -largest])) is can_be


@given(
    incumbent=NUMBERS,
    level=LEVELS,
    sign=st.sampled_from([1.0, -1.0]),
    data=st.data(),
)
def test_a_dropped_trial_is_never_better_than_the_incumbent(incumbent, level, sign, data):
    n_common = data.draw(st.integers(2, len(incumbent)))
    common = np.arange(len(incumbent)) < n_common
    theirs = np.array(incumbent)
    above = np.array([data.draw(st.floats(-1, 1e6)) for _ in incumbent])
    own = theirs + sign * above
    if not is_worse(sign * (own - theirs)[common], level):
        return
    value = dropped_estimate(own, theirs, common).mean
    assert sign * value >= sign * exact_mean(incumbent)


@pytest.mark.parametrize("n", [8, 32])
def test_the_standard_error_of_a_dropped_trial_is_that_of_many_of_them(n):
    """The ratio of the two is within four of its standard errors: false in 1 of 15,000 cases."""
    n_runs, n_plan = 4000, 64
    rng = np.random.default_rng(20)
    common = np.arange(n_plan) < n
    shared = rng.normal(size=(n_runs, n_plan))
    own = 2.0 + shared + 0.5 * rng.normal(size=(n_runs, n_plan))
    theirs = shared + 0.2 * rng.normal(size=(n_runs, n_plan))
    found = [dropped_estimate(a, b, common) for a, b in zip(own, theirs, strict=True)]
    values = np.array([one.mean for one in found])
    variances = np.array([one.stderr**2 for one in found])
    assert {one.n_seeds for one in found} == {n}
    assert abs(values.mean() - 2.0) < 4 * values.std() / math.sqrt(n_runs)
    # By common seeds it is less than what its own seeds alone would give.
    assert values.std() < 0.9 * own[:, :n].mean(axis=1).std()
    squares = (values - values.mean()) ** 2
    error = math.hypot(squares.std(), variances.std()) / math.sqrt(n_runs)
    assert abs(squares.mean() - variances.mean()) < 4 * error

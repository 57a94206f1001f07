"""How many workers are wanted and how many options allow; waiting after failures, and a budget."""

from __future__ import annotations

import pytest
from dask.system import CPU_COUNT
from hypothesis import given
from hypothesis import strategies as st

from seedwise.cluster.place import Demand
from seedwise.cluster.pool.size import Backoff, Budget, Target, worker_bounds
from seedwise.model.options.study import RunOptions


def test_chunks_over_slots_between_the_bounds():
    for chunks, wanted in [(0, 2), (1, 2), (9, 3), (12, 3), (13, 4), (1000, 10)]:
        assert Target(2, 10, slots_per_worker=4).wanted(chunks, 0.0) == wanted


def test_fewer_only_after_a_pause():
    target = Target(1, 10, 1)
    assert target.wanted(8, 0) == 8
    assert target.wanted(0, 30) == 8
    assert target.wanted(3, 59) == 8
    assert target.wanted(0, 61) == 3
    assert target.wanted(0, 119) == 3
    assert target.wanted(0, 120) == 1


def test_between_two_trials_nothing_changes():
    target = Target(1, 10, 1)
    seen = {target.wanted(0 if second % 20 == 19 else 8, second) for second in range(600)}
    assert seen == {8}


def test_other_bounds_count_at_once():
    target = Target(1, 4, 1)
    assert target.wanted(100, 0) == 4
    target.scale(6, 50)
    assert target.wanted(100, 1) == 50
    target.scale(1, 2)
    assert target.wanted(100, 2) == 2


def test_a_limit_goes_before():
    target = Target(1, 4, 1, limit=5)
    target.scale(2, 40)
    assert (target.least, target.most) == (2, 5)
    assert target.words == "2 to 5 workers wanted, which is the limit of 5"
    target.scale(1, 1)
    assert target.words == "1 worker wanted"


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_it_is_the_most_that_was_of_use_within_the_pause(chunks):
    target = Target(0, 100, 1)
    for second, n_chunks in enumerate(chunks):
        within = chunks[max(0, second - 5) : second + 1]
        assert target.wanted(n_chunks, 12.0 * second) == max(within)


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ({}, (40, 40)),
        ({"array_parallelism_limit": 3}, (3, 3)),
        ({"workers": 7}, (7, 7)),
        ({"workers": 7, "array_parallelism_limit": 3}, (3, 3)),
        ({"workers": (2, 9)}, (2, 9)),
        ({"workers": (2, 9), "array_parallelism_limit": 5}, (2, 5)),
        ({"workers": (60, 900)}, (60, 900)),
    ],
)
def test_bounds_on_slurm(options, bounds):
    made = RunOptions.from_keywords({"cluster": "slurm", **options})
    assert worker_bounds(made, Demand([40], 1)) == bounds


def test_without_a_word_there_are_no_more_than_a_hundred_jobs():
    made = RunOptions.from_keywords({"cluster": "slurm"})
    assert worker_bounds(made, Demand([4000], 1)) == (100, 100)
    assert worker_bounds(made, Demand([40], 4)) == (10, 10)
    assert worker_bounds(made, Demand([40, 999, 8], 4)) == (1, 100)


def test_bounds_on_this_machine():
    def bounds(**options):
        return worker_bounds(RunOptions.from_keywords(options), Demand([4000], 1))

    assert bounds() == (CPU_COUNT, CPU_COUNT)
    assert bounds(worker_parallelism=CPU_COUNT) == (1, 1)
    assert bounds(workers=(1, 500)) == (1, 500)
    assert bounds(workers=3, array_parallelism_limit=2) == (3, 3)


def test_a_backoff_doubles_up_to_its_most():
    backoff = Backoff(2.0, 10.0)
    assert backoff.is_over(0)
    assert not backoff.is_on
    now_s = 0.0
    for wait_s in (2, 4, 8, 10, 10):
        backoff.failed(now_s)
        assert backoff.is_on
        assert not backoff.is_over(now_s + wait_s - 0.1)
        assert backoff.is_over(now_s + wait_s)
        now_s += wait_s
    backoff.succeeded()
    assert backoff.is_over(now_s)
    backoff.failed(now_s)
    assert backoff.is_over(now_s + 2)


def test_it_may_fail_for_weeks():
    backoff = Backoff(2.0, 10.0)
    for _ in range(5000):
        backoff.failed(0.0)
    assert backoff.is_over(10.0)


def test_a_budget_is_for_a_minute():
    budget = Budget()
    for _ in range(6):
        assert budget.left(2, 10.0) > 0
        budget.spend(10.0)
    assert budget.left(2, 69.0) == 0
    assert budget.left(4, 69.0) == 4
    assert budget.left(2, 70.1) == 6

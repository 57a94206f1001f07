"""Waiting longer after each failure, and a budget a minute."""

from __future__ import annotations

from seedwise.cluster.pool.pace import Backoff, Budget


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

"""How far a run is: counts that add up, a rate, and when it will be at its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.disk.every import Every
from seedwise.driver import tally as module
from seedwise.driver.tally import Standing
from seedwise.model.trials import TrialState

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 0.0

    def monotonic(self) -> float:
        return 5000.0 + self.s

    def utc(self) -> datetime:
        return BEGIN + timedelta(seconds=self.s)


@pytest.fixture
def now(monkeypatch) -> Now:
    now = Now()
    monkeypatch.setattr(module, "time", now)
    monkeypatch.setattr(module, "utc_now", now.utc)
    return now


def make(n_trials=10, **before: int) -> Standing:
    standing = Standing("run", n_trials, "2029-12-31T00:00:00")
    standing.begin({TrialState[state]: count for state, count in before.items()})
    return standing


def test_before_the_first_trial_nobody_knows_how_long_it_takes(now):
    status = make().status("running", 3)
    assert (status.kind, status.state, status.n_trials) == ("run", "running", 10)
    assert (status.pending, status.running, status.n_told) == (7, 3, 0)
    assert (status.trials_per_s, status.expected_end_utc) == (None, None)
    assert status.started_at_utc == "2029-12-31T00:00:00"
    assert status.updated_at_utc == "2030-01-01T00:00:00+00:00"
    assert (status.best_value, status.entries, status.driver) == (None, None, None)


def test_each_told_trial_counts_by_its_state(now):
    standing = make(COMPLETE=2, FAIL=1)
    for state in (COMPLETE, FAIL, PRUNED, COMPLETE):
        standing.tell(state)
    status = standing.status("running", 2)
    assert (status.done, status.failed, status.pruned) == (4, 2, 1)
    assert (status.running, status.pending) == (2, 1)


@given(
    n_trials=st.integers(0, 20),
    told=st.lists(st.sampled_from(TrialState), max_size=20),
    n_in_flight=st.integers(0, 20),
    state=st.sampled_from(["running", "finished", "stopped"]),
)
def test_the_counts_add_up(n_trials, told, n_in_flight, state):
    standing = make(n_trials)
    for one in told:
        standing.tell(one)
    status = standing.status(state, n_in_flight)
    assert status.n_told == len(told)
    assert min(status.pending, status.running) >= 0
    assert status.pending + status.running + status.n_told == max(n_trials, len(told))
    assert status.running == 0 or state == "running"


def test_the_rate_is_of_this_driver_and_tells_the_end(now):
    standing = make(COMPLETE=4)
    now.s = 30.0
    standing.tell(COMPLETE)
    standing.tell(FAIL)
    now.s = 40.0
    status = standing.status("running", 1)
    assert status.trials_per_s == pytest.approx(2 / 40)
    # Of 10 trials 4 are left, and the clock began with this driver.
    assert status.expected_end_utc == "2030-01-01T00:02:00+00:00"


def test_the_clock_starts_when_the_work_does(now):
    standing = Standing("run", 10, "")
    now.s = 1000.0
    standing.begin({})
    now.s = 1010.0
    standing.tell(COMPLETE)
    assert standing.status("running", 1).trials_per_s == pytest.approx(0.1)


def test_within_no_time_the_rate_is_no_division_by_zero(now):
    standing = make()
    standing.tell(COMPLETE)
    assert standing.status("running", 1).trials_per_s > 0


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_what_does_not_go_on_has_no_end_to_expect(now, state):
    standing = make()
    standing.tell(COMPLETE)
    now.s = 10.0
    status = standing.status(state, 3)
    assert status.expected_end_utc is None
    assert status.running == 0
    assert status.pending == 9


def test_when_all_are_told_no_end_is_to_come(now):
    standing = make(1)
    standing.tell(COMPLETE)
    now.s = 10.0
    assert standing.status("running", 0).expected_end_utc is None


def test_an_end_that_no_calendar_has_is_far_away(now):
    standing = make(10**18)
    standing.tell(COMPLETE)
    now.s = 10.0
    assert standing.status("running", 1).expected_end_utc > "2060"


def test_what_the_files_say_is_what_counts_in_the_end(now):
    standing = make(5, COMPLETE=1)
    standing.count_anew({COMPLETE: 7, FAIL: 2})
    status = standing.status("finished", 0)
    assert (status.done, status.failed, status.n_trials, status.pending) == (7, 2, 9, 0)
    standing.count_anew({COMPLETE: 1})
    assert standing.status("finished", 0).n_trials == 9


def test_what_is_known_besides_is_passed_on(now):
    entries = {"pending": 1, "running": 0, "done": 2, "failed": 0}
    status = Standing("entries", 9, "").status("running", 0, 0.5, entries)
    assert (status.kind, status.best_value, status.entries) == ("entries", 0.5, entries)


# Every few seconds.


def test_it_is_due_at_first_and_then_every_so_many_seconds(now):
    every, due = Every(2.0), []
    for _ in range(9):
        due.append(every.due())
        now.s += 0.5
    assert due == [True, *[False] * 3, True, *[False] * 3, True]


def test_after_a_long_time_it_is_due_once(now):
    every = Every(2.0)
    every.due()
    now.s += 60.0
    assert (every.due(), every.due()) == (True, False)


def test_every_0_seconds_is_always(now):
    every = Every(0.0)
    assert all(every.due() for _ in range(3))

"""How far a run is: counts that add up, a rate, and when it will be at its end."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.driver import report as module
from seedwise.driver.report import Reporter
from seedwise.driver.run import InFlight
from seedwise.model.trials import TrialState
from tests.builders import trial

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
BEST = trial(1, 1.5)
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


class Work:
    """The work on a run, as far as its progress is concerned."""

    def __init__(self, n_trials=10, kind="run", **before: int) -> None:
        self.run = SimpleNamespace(
            options=SimpleNamespace(kind=kind),
            history=SimpleNamespace(started_at_utc="2029-12-31T00:00:00"),
            parts=SimpleNamespace(looks=SimpleNamespace(sizes=[4])),
        )
        self.n_trials = n_trials
        self.counts = Counter({TrialState[state]: count for state, count in before.items()})
        self.best = None
        self.seeds_saved = 0
        self.flight = InFlight()
        self.entries = self.validated = lambda: None
        self.reporter = Reporter(self, lambda event: None)

    def in_flight(self) -> InFlight:
        return self.flight

    def tell(self, state: TrialState, best=None) -> None:
        self.counts[state] += 1
        self.best = best
        self.reporter.note_told()

    def status(self, state: str, n_in_flight=0, n_fresh_done=0, n_fresh=0):
        self.flight = InFlight(n_in_flight, 0, n_fresh_done, n_fresh)
        return self.reporter.status(state)


def test_before_the_first_trial_nobody_knows_how_long_it_takes(now):
    status = Work().status("running", 3)
    assert (status.kind, status.state, status.n_trials) == ("run", "running", 10)
    assert (status.pending, status.running, status.n_told) == (7, 3, 0)
    assert (status.trials_per_s, status.expected_end_utc) == (None, None)
    assert status.started_at_utc == "2029-12-31T00:00:00"
    assert status.updated_at_utc == "2030-01-01T00:00:00+00:00"
    assert (status.best_value, status.entries, status.driver) == (None, None, None)


def test_each_told_trial_counts_by_its_state(now):
    work = Work(COMPLETE=2, FAIL=1)
    for state in (COMPLETE, FAIL, PRUNED, COMPLETE):
        work.tell(state, None)
    status = work.status("running", 2)
    assert (status.done, status.failed, status.pruned) == (4, 2, 1)
    assert (status.running, status.pending) == (2, 1)


@given(
    n_trials=st.integers(0, 20),
    told=st.lists(st.sampled_from(TrialState), max_size=20),
    n_in_flight=st.integers(0, 20),
    state=st.sampled_from(["running", "finished", "stopped"]),
)
def test_the_counts_add_up(n_trials, told, n_in_flight, state):
    work = Work(n_trials)
    for one in told:
        work.tell(one, None)
    status = work.status(state, n_in_flight)
    assert status.n_told == len(told)
    assert min(status.pending, status.running) >= 0
    assert status.pending + status.running + status.n_told == max(n_trials, len(told))
    assert status.running == 0 or state == "running"


def test_the_rate_is_of_this_driver_and_tells_the_end(now):
    work = Work(COMPLETE=4)
    now.s = 30.0
    work.tell(COMPLETE, None)
    work.tell(FAIL, None)
    now.s = 40.0
    status = work.status("running", 1)
    assert status.trials_per_s == pytest.approx(2 / 40)
    # Of 10 trials 4 are left, and the clock began with this driver.
    assert status.expected_end_utc == "2030-01-01T00:02:00+00:00"


def test_the_clock_starts_when_the_work_does(now):
    work = Work()
    now.s = 1000.0
    work.reporter.begin()
    now.s = 1010.0
    work.tell(COMPLETE, None)
    assert work.status("running", 1).trials_per_s == pytest.approx(0.1)


def test_in_the_end_the_rate_stays(now):
    work = Work(5, COMPLETE=1)
    now.s = 10.0
    work.tell(COMPLETE, None)
    work.best = BEST
    status = work.status("finished")
    assert (status.done, status.n_trials, status.pending) == (2, 5, 3)
    assert (status.trials_per_s, status.best_value) == (pytest.approx(0.1), 1.5)


def test_within_no_time_the_rate_is_no_division_by_zero(now):
    work = Work()
    work.tell(COMPLETE, None)
    assert work.status("running", 1).trials_per_s > 0


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_what_does_not_go_on_has_no_end_to_expect(now, state):
    work = Work()
    work.tell(COMPLETE, None)
    now.s = 10.0
    status = work.status(state, 3)
    assert status.expected_end_utc is None
    assert status.running == 0
    assert status.pending == 9


def test_when_all_are_told_no_end_is_to_come(now):
    work = Work(1)
    work.tell(COMPLETE, None)
    now.s = 10.0
    assert work.status("running", 0).expected_end_utc is None


def test_an_end_that_no_calendar_has_is_far_away(now):
    work = Work(10**18)
    work.tell(COMPLETE, None)
    now.s = 10.0
    assert work.status("running", 1).expected_end_utc > "2060"


def test_of_more_told_trials_than_are_asked_for_all_count(now):
    status = Work(5, COMPLETE=7, FAIL=2).status("finished", 0)
    assert (status.done, status.failed, status.n_trials, status.pending) == (7, 2, 9, 0)


def test_what_the_workers_did_is_by_the_time_until_it_was_counted(now):
    work = Work()
    now.s = 100.0
    work.reporter.begin()
    status = work.status("running")
    assert (status.seeds_per_s, status.busy_share, status.seeds_saved) == (None, None, 0)
    now.s = 110.0
    work.reporter.note_work(50, 0.75)
    for now.s in (110.0, 500.0):
        status = work.status("running")
        assert (status.seeds_per_s, status.busy_share) == (pytest.approx(5.0), 0.75)
    assert work.status("finished").seeds_per_s == pytest.approx(5.0)


def test_what_is_known_besides_is_passed_on(now):
    entries = {"pending": 1, "running": 0, "done": 2, "failed": 0}
    work = Work(9, "entries")
    work.entries, work.seeds_saved = (lambda: entries), 30
    status = work.status("running", 2)
    assert (status.kind, status.best_value, status.entries) == ("entries", None, entries)
    assert (status.seeds_saved, status.running_seeds) == (30, 8)


@pytest.mark.parametrize("state", ["running", "finished", "stopped"])
def test_the_best_is_known_before_during_and_after_the_work(now, state):
    work = Work(9, COMPLETE=1)
    work.best = BEST
    assert work.status(state).best_value == 1.5
    work.reporter.begin()
    assert work.status(state).best_value == 1.5
    work.tell(COMPLETE, trial(2, 0.5))
    assert work.status(state).best_value == 0.5
    assert work.status(state).best_stderr == trial(2, 0.5).stderr


def test_while_it_validates_the_end_is_that_of_the_validation(now):
    work = Work(2)
    for state in (COMPLETE, COMPLETE):
        now.s += 10
        work.tell(state, BEST)
    now.s += 100
    assert (
        work.status("running", 0, 20, 100).expected_end_utc is None
    )  # nothing was done yet by this driver
    now.s += 30
    status = work.status("running", 0, 40, 100)
    assert (status.validation_seeds, status.validation_seeds_done) == (100, 40)
    assert status.trials_per_s == 0.1
    assert status.expected_end_utc == "2030-01-01T00:04:00+00:00"  # 60 seeds, at 20 in 30 s
    assert work.status("stopped").validation_seeds_done == 40
    assert work.status("finished").validation_seeds == 0


def test_trials_that_never_come_do_not_decide_the_end_of_a_validation(now):
    work = Work(1000, COMPLETE=1)
    work.tell(COMPLETE, BEST)
    work.status("running", 0, 0, 100)
    now.s += 50
    assert work.status("running", 0, 50, 100).expected_end_utc == "2030-01-01T00:01:40+00:00"
    # Of entries some may still be searched.
    assert work.status("running", 3, 50, 100).expected_end_utc > "2030-01-01T01"

"""The clock of trials: it runs while a chunk of a trial runs, and stands while all of it waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from seedwise.dispatch import clock as module
from seedwise.dispatch.clock import TrialClock

FIRST, SECOND = (None, 0, ""), (None, 1, "")
LIMIT_S = 10.0


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s


@pytest.fixture
def now(monkeypatch) -> Now:
    now = Now()
    monkeypatch.setattr(module, "time", now)
    return now


@pytest.fixture
def clock(now) -> TrialClock:
    return TrialClock(LIMIT_S)


def start(clock, trial, chunk, worker="tcp://a:1", left_s=None) -> None:
    message: dict[str, Any] = {"chunk": chunk, "worker": worker, "left_s": left_s}
    message["entry_id"], message["trial"], message["part"] = trial
    clock.note_start((1.5e9, message))  # the worker's own time is another clock's


def n_running(clock) -> int:
    with clock._lock:
        return sum(len(runs.starts) for runs in clock._runs.values())


def test_what_has_not_started_is_never_late(clock, now):
    now.s += 1e9
    assert clock.late([FIRST, SECOND]) == []


def test_a_trial_is_late_when_it_has_run_for_more_than_the_limit(clock, now):
    start(clock, FIRST, 0)
    now.s += LIMIT_S
    assert clock.late([FIRST, SECOND]) == []
    now.s += 0.1
    assert clock.late([FIRST, SECOND]) == [FIRST]
    assert clock.late([SECOND]) == []


def test_the_time_is_from_the_first_chunk_on(clock, now):
    for chunk in range(4):
        start(clock, FIRST, chunk)
        now.s += LIMIT_S / 3
    assert clock.late([FIRST]) == [FIRST]


def test_while_all_that_is_left_of_a_trial_waits_its_clock_stands(clock, now):
    """As when its workers leave, and others are queued for hours."""
    for chunk in range(3):
        start(clock, FIRST, chunk)
        now.s += 0.3 * LIMIT_S
        clock.note_end(FIRST, chunk)
        now.s += 7200.0
        assert clock.late([FIRST]) == []
    start(clock, FIRST, 3)
    now.s += 0.09 * LIMIT_S
    assert clock.late([FIRST]) == []
    now.s += 0.02 * LIMIT_S
    assert clock.late([FIRST]) == [FIRST]


def test_chunks_that_run_at_once_are_not_counted_twice(clock, now):
    start(clock, FIRST, 0)
    now.s += 0.3 * LIMIT_S
    start(clock, FIRST, 1)
    now.s += 0.3 * LIMIT_S
    clock.note_end(FIRST, 0)
    now.s += 0.3 * LIMIT_S
    assert clock.late([FIRST]) == []
    clock.note_end(FIRST, 1)
    start(clock, FIRST, 2)
    now.s += 0.11 * LIMIT_S
    assert clock.late([FIRST]) == [FIRST]


def test_of_a_chunk_that_was_lost_alone_nothing_counts_but_what_was_done_before(clock, now):
    start(clock, FIRST, 0)
    start(clock, FIRST, 1)
    now.s += 0.6 * LIMIT_S
    clock.note_end(FIRST, 0)
    now.s += 0.3 * LIMIT_S
    clock.forget(FIRST, 1)
    start(clock, FIRST, 1)
    now.s += 0.3 * LIMIT_S
    assert clock.late([FIRST]) == []
    now.s += 0.2 * LIMIT_S
    assert clock.late([FIRST]) == [FIRST]


def test_what_is_out_no_more_is_forgotten(clock, now):
    for trial in (FIRST, SECOND):
        start(clock, trial, 0)
    now.s += LIMIT_S + 1
    clock.keep_only({SECOND})
    assert clock.late([FIRST, SECOND]) == [SECOND]
    assert n_running(clock) == 1


def test_starts_may_come_from_another_thread(clock):
    n_trials = 2000

    def tell() -> None:
        for number in range(n_trials):
            start(clock, (None, number, ""), 0)

    telling = threading.Thread(target=tell)
    telling.start()
    while telling.is_alive():
        clock.late([FIRST, SECOND])
        clock.keep_only({(None, number, "") for number in range(n_trials)})
        assert n_running(clock) <= n_trials
    assert n_running(clock) == n_trials
    for number in range(n_trials):
        clock.note_end((None, number, ""), 0)
    assert n_running(clock) == 0


def test_trials_of_the_same_number_are_told_apart_by_their_entry(clock, now):
    start(clock, ("anna", 0, ""), 0)
    now.s += LIMIT_S + 1
    start(clock, ("ben", 0, ""), 0)
    assert clock.late([("anna", 0, ""), ("ben", 0, ""), FIRST]) == [("anna", 0, "")]


def test_a_trial_that_is_validated_runs_anew_in_each_round(clock, now):
    rounds = [(None, 0, part) for part in ("", "validation-1", "validation-2")]
    for one in rounds:
        assert clock.late(rounds) == []
        start(clock, one, 0)
        now.s += LIMIT_S - 1
        clock.note_end(one, 0)


def test_the_clock_stops_when_no_chunk_of_a_trial_runs_any_more(clock, now):
    start(clock, FIRST, 0)
    start(clock, FIRST, 1)
    clock.forget(FIRST, 0)
    now.s += LIMIT_S + 1
    assert clock.late([FIRST]) == [FIRST]
    clock.forget(FIRST, 1)
    assert clock.late([FIRST]) == []
    start(clock, FIRST, 0)
    now.s += LIMIT_S - 1
    assert clock.late([FIRST]) == []
    now.s += 2
    assert clock.late([FIRST]) == [FIRST]


def test_what_runs_of_another_trial_does_not_keep_a_clock_going(clock, now):
    start(clock, FIRST, 0)
    start(clock, SECOND, 0)
    clock.forget(FIRST, 0)
    now.s += LIMIT_S + 1
    assert clock.late([FIRST, SECOND]) == [SECOND]


def test_to_forget_what_never_started_is_nothing(clock, now):
    clock.forget(FIRST, 0)
    clock.note_end(FIRST, 3)
    assert clock.stop(FIRST) == set()


def test_a_trial_that_is_stopped_names_the_workers_that_run_it(clock, now):
    start(clock, FIRST, 0, "tcp://a:1")
    start(clock, FIRST, 1, "tcp://b:1")
    start(clock, FIRST, 2, "tcp://c:1")
    start(clock, FIRST, 3, "tcp://a:1")
    start(clock, SECOND, 0, "tcp://d:1")
    clock.note_end(FIRST, 2)
    now.s += LIMIT_S + 1
    assert clock.stop(FIRST) == {"tcp://a:1", "tcp://b:1"}
    assert clock.late([FIRST, SECOND]) == [SECOND]
    assert clock.stop(FIRST) == set()


def test_a_chunk_that_starts_again_runs_where_it_started_last(clock, now):
    start(clock, FIRST, 0, "tcp://a:1")
    start(clock, FIRST, 0, "tcp://b:1")
    assert clock.stop(FIRST) == {"tcp://b:1"}


# The ends of jobs.


def test_a_worker_is_at_its_end_when_its_job_is(clock, now):
    start(clock, FIRST, 0, "tcp://a:1", left_s=100.0)
    start(clock, FIRST, 1, "tcp://b:1", left_s=3600.0)
    start(clock, FIRST, 2, "tcp://c:1")
    workers = ["tcp://a:1", "tcp://b:1", "tcp://c:1", "tcp://d:1"]
    now.s += 80.0
    assert [clock.at_its_end(worker) for worker in workers] == [False] * 4
    now.s += 11.0
    assert [clock.at_its_end(worker) for worker in workers] == [True, False, False, False]


def test_a_worker_at_the_address_of_another_has_a_job_of_its_own(clock, now):
    start(clock, FIRST, 0, left_s=100.0)
    now.s += 1000.0
    start(clock, FIRST, 1, left_s=100.0)
    assert not clock.at_its_end("tcp://a:1")


def test_how_long_a_job_lasted_when_a_chunk_began_on_a_worker(clock):
    start(clock, FIRST, 0, "tcp://a:1", left_s=100.0)
    start(clock, FIRST, 1, "tcp://a:1", left_s=90.0)
    start(clock, FIRST, 2, "tcp://b:1")
    assert clock.left_at_start_s(FIRST, 1, "tcp://a:1") == 90.0
    assert clock.left_at_start_s(FIRST, 1, "tcp://b:1") is None
    assert clock.left_at_start_s(FIRST, 2, "tcp://b:1") is None
    assert clock.left_at_start_s(SECOND, 1, "tcp://a:1") is None
    clock.note_end(FIRST, 1)
    assert clock.left_at_start_s(FIRST, 1, "tcp://a:1") is None


def test_the_most_time_that_a_job_had(clock):
    assert clock.longest_left_s is None
    for left_s in (None, 50.0, 7000.0, 60.0):
        start(clock, FIRST, 0, left_s=left_s)
    assert clock.longest_left_s == 7000.0

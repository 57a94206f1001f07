"""The driver's part against the ends of jobs: what it tells chunks, and what it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedwise.dispatch.channel import Order, failed
from seedwise.dispatch.clock import TrialClock, Walltime
from seedwise.errors import ChunkTooLongError, ClusterError
from seedwise.model.seeds import Chunk
from seedwise.model.trials import ChunkResult, SeedFailure
from seedwise.worker.chunk import ChunkTask

A, B = "tcp://a:1", "tcp://b:1"
HOUR_S = 3600.0
WALLTIME_S = 2 * HOUR_S

# What chunks need, by those that are done and those that the end of a job took.


def order(chunk=0, n_seeds=10, **task) -> Order:
    seeds = np.arange(n_seeds)
    return Order(None, ChunkTask("id", 4, {"x": 0.5}, None, Chunk(chunk, 0, seeds), **task))


def done(of: Order, duration_s: float) -> ChunkResult:
    n_seeds = len(of.task.chunk.seeds)
    return ChunkResult(4, of.task.chunk.index, 1, 0, n_seeds, duration_s=duration_s)


def start(clock, chunk, worker, left_s) -> None:
    message = {
        "entry_id": None,
        "part": "",
        "trial": 4,
        "chunk": chunk,
        "worker": worker,
        "left_s": left_s,
    }
    clock.note_start((1.5e9, message))


class Times:
    """What is learnt of chunks by their sizes alone."""

    def __init__(self, walltime_s: float) -> None:
        self.clock = TrialClock(1e6)
        self.walltime = Walltime(walltime_s, self.clock)

    def note(self, n_seeds: int, duration_s: float) -> None:
        one = order(n_seeds=n_seeds)
        self.walltime.note(one, done(one, duration_s))

    def needs_s(self, n_seeds: int, at_least_s: float | None = None) -> float | None:
        return self.walltime.with_needs(order(n_seeds=n_seeds, needs_s=at_least_s)).task.needs_s

    def note_lost(self, n_seeds: int, left_s: float) -> float:
        longest_s = self.clock.longest_left_s
        start(self.clock, 0, A, left_s)
        self.clock.longest_left_s = longest_s
        (again,) = self.walltime.note_taken([order(n_seeds=n_seeds)], A)
        return again.task.needs_s

    def check(self, n_seeds: int) -> None:
        self.walltime._largest = n_seeds
        self.walltime.check()


@pytest.fixture
def times() -> Times:
    return Times(WALLTIME_S)


def fits(needs_s: float, left_s: float) -> bool:
    """Tell whether a worker begins a chunk: the rule of `leaves_before`."""
    return needs_s * 1.05 + 5 <= left_s


def test_nothing_is_known_before_the_first_result(times):
    assert times.needs_s(500) is None
    times.check(500)


def test_a_chunk_is_expected_to_be_as_slow_as_slow_ones_of_late(times):
    for n_seeds, duration_s in ((10, 10.0), (10, 30.0), (100, 100.0)):
        times.note(n_seeds, duration_s)
    assert times.needs_s(10) == pytest.approx(36.0)
    assert times.needs_s(20) == pytest.approx(72.0)
    for _ in range(200):
        times.note(10, 10.0)
    assert times.needs_s(10) == pytest.approx(12.0)


def test_a_short_chunk_that_loaded_the_loss_has_no_worker_leave(times):
    times.note(1, 60.0)
    assert times.needs_s(100) == pytest.approx(72.0)
    for _ in range(3):
        times.note(100, 100.0)
    assert times.needs_s(100) == pytest.approx(120.0)


def test_one_straggler_does_not_rule_the_others(times):
    for _ in range(199):
        times.note(100, 100.0)
    times.note(100, 5000.0)
    assert times.needs_s(100) == pytest.approx(120.0)


def test_what_is_known_of_a_chunk_itself_counts_as_well(times):
    assert times.needs_s(10, at_least_s=100.0) == 100.0
    times.note(10, 50.0)
    assert times.needs_s(10, at_least_s=100.0) == 100.0
    assert times.needs_s(20, at_least_s=100.0) == pytest.approx(120.0)


def test_no_more_is_asked_of_a_job_than_it_is_sure_to_have(times):
    times.note(10, 6500.0)
    before = times.needs_s(10)
    assert fits(before, 0.9 * (WALLTIME_S - 30) + 0.001)
    times.clock.longest_left_s = 4000.0  # Python takes long to start there
    after = times.needs_s(10)
    assert after < before
    assert fits(after, 3600.001)
    assert not fits(after + 1, 3600.0)


def test_of_a_short_walltime_half_is_left_for_chunks():
    times = Times(40.0)
    times.note(1, 10.0)
    assert 10.0 < times.needs_s(1) <= 13.0
    times.check(1)


# Chunks that no job lasts for.


def test_a_run_whose_chunks_are_too_long_is_ended_with_figures(times):
    for _ in range(3):
        times.note(300, 300 * 23.04)
    with pytest.raises(ChunkTooLongError) as caught:
        times.check(500)
    error = caught.value
    assert isinstance(error, ClusterError)
    assert isinstance(error, ValueError)
    assert error.needs_s == pytest.approx(3.2 * HOUR_S)
    assert (error.n_seeds, error.walltime_s, error.fits) == (500, WALLTIME_S, 296)
    assert str(error).startswith(
        "a chunk of 500 seeds takes about 3 h 12 min (23 s a seed), and jobs end after "
        "worker_time_limit=2:00:00: use chunk_size <= 296, or a longer worker_time_limit."
    )


def test_the_chunk_size_that_the_error_names_is_taken_and_one_more_is_not(times):
    for _ in range(3):
        times.note(300, 300 * 23.04)
    with pytest.raises(ChunkTooLongError) as caught:
        times.check(500)
    times.check(caught.value.fits)
    with pytest.raises(ChunkTooLongError):
        times.check(caught.value.fits + 1)


def test_where_not_even_a_seed_fits_no_chunk_size_is_named(times):
    times.note(1, 7190.0)
    with pytest.raises(ChunkTooLongError) as caught:
        times.check(1)
    assert caught.value.fits == 0
    assert "a chunk of 1 seed takes about 1 h 59 min 50 s" in str(caught.value)
    assert "2:00:00: use a longer worker_time_limit" in str(caught.value)


def test_one_that_is_slow_does_not_end_a_run(times):
    for _ in range(3):
        times.note(100, 600.0)
    times.note(100, 7190.0)
    times.check(100)


def test_small_chunks_say_nothing_of_large_ones(times):
    """The first one loads the loss."""
    times.note(1, 60.0)
    times.check(500)


def test_a_chunk_that_a_job_took_is_known_to_need_more(times):
    times.clock.longest_left_s = 7100.0
    assert times.note_lost(100, left_s=600.0) == pytest.approx(630.0)
    times.check(100)


def test_what_a_chunk_needs_grows_with_each_job_that_it_is_lost_with_until_the_run_ends(times):
    """Whatever it needs, it is lost to a few jobs at most."""
    times.clock.longest_left_s = longest_s = 7100.0
    lost_with = [60.0]

    def work_on() -> None:
        while True:
            needs_s = times.needs_s(100, times.note_lost(100, lost_with[-1]))
            times.check(100)
            lost_with.append(needs_s * 1.05 + 5)  # as little as a worker begins it with

    with pytest.raises(ChunkTooLongError) as caught:
        work_on()
    assert lost_with == sorted(set(lost_with))
    assert len(lost_with) < 50
    assert lost_with[-1] < longest_s
    assert caught.value.n_seeds == 100
    assert caught.value.needs_s >= 0.9 * longest_s
    assert "takes more than 1 h 4" in str(caught.value)
    assert "chunk_size <= 50" in str(caught.value)


def test_a_chunk_that_took_a_whole_job_ends_the_run(times):
    times.clock.longest_left_s = 7150.0
    times.note_lost(500, left_s=7150.0)
    with pytest.raises(ChunkTooLongError, match="500 seeds takes more than 1 h 59 min 10 s"):
        times.check(500)


# What chunks are told, and what is learnt from them.


@pytest.fixture
def clock() -> TrialClock:
    return TrialClock(1e6)


@pytest.fixture
def walltime(clock) -> Walltime:
    return Walltime(WALLTIME_S, clock)


def test_chunks_say_what_they_are_expected_to_need(walltime):
    assert walltime.with_needs(order()).task.needs_s is None
    walltime.note(order(), done(order(), 50.0))
    sent = walltime.with_needs(order(n_seeds=20))
    assert sent.task.needs_s == pytest.approx(120.0)
    assert len(sent.task.chunk.seeds) == 20


def test_what_is_no_measure_is_not_taken_for_one(walltime):
    isolated = order(isolated=True)
    walltime.note(isolated, done(isolated, 5000.0))
    walltime.note(order(), failed(order().task, "TrialTimeout", "late"))
    failure = SeedFailure(0, 3, "ValueError", "no", "no")
    walltime.note(order(), ChunkResult(4, 0, 1, 0, 10, failure=failure, duration_s=0.1))
    assert walltime.with_needs(order()).task.needs_s is None


def test_a_chunk_that_the_end_of_its_job_took_goes_where_there_is_more_time(walltime, clock):
    start(clock, 0, A, left_s=7100.0)
    start(clock, 1, B, left_s=5.0)
    assert clock.at_its_end(B)
    assert not clock.at_its_end(A)
    (again,) = walltime.note_taken([order(1)], B)
    assert again.task.needs_s == pytest.approx(5.25)
    assert not again.task.isolated
    assert walltime.with_needs(again).task.needs_s == pytest.approx(5.25)
    walltime.check()


def test_a_chunk_that_waited_on_a_worker_that_ended_is_as_it_was(walltime, clock):
    start(clock, 0, A, left_s=7100.0)
    start(clock, 1, B, left_s=5.0)
    (again,) = walltime.note_taken([order(2, needs_s=7.0)], B)
    assert (again.task.needs_s, again.task.isolated) == (7.0, False)


def test_of_a_pack_nobody_knows_which_chunk_was_too_long(walltime, clock):
    start(clock, 0, A, left_s=7100.0)
    start(clock, 1, B, left_s=5.0)
    start(clock, 2, B, left_s=4.0)
    again = walltime.note_taken([order(1), order(2), order(3)], B)
    assert [one.task.needs_s for one in again] == [None, None, None]


def test_a_chunk_that_no_job_lasts_for_ends_the_run(walltime, clock):
    start(clock, 1, B, left_s=5.0)
    walltime.note_taken([order(1)], B)
    with pytest.raises(ChunkTooLongError, match="10 seeds takes more than 5 s"):
        walltime.check()


def test_it_is_the_largest_chunk_that_must_fit(walltime):
    walltime.note(order(), done(order(), 4000.0))
    walltime.with_needs(order())
    walltime.check()
    walltime.with_needs(order(n_seeds=20))
    walltime.with_needs(order())
    with pytest.raises(ChunkTooLongError) as caught:
        walltime.check()
    assert caught.value.n_seeds == 20


def test_without_notes_of_starts_nothing_is_known_of_jobs():
    clock = TrialClock(math.inf)
    walltime = Walltime(WALLTIME_S, clock)
    assert not clock.at_its_end(A)
    walltime.note(order(), done(order(), 50.0))
    assert walltime.with_needs(order()).task.needs_s == pytest.approx(60.0)
    walltime.check()

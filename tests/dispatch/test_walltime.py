"""The driver's part against the ends of jobs: what it tells chunks, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest

from seedwise.dispatch.blame import overran
from seedwise.dispatch.channel import Order
from seedwise.dispatch.clock import TrialClock
from seedwise.dispatch.walltime import Walltime
from seedwise.errors import ChunkTooLongError
from seedwise.model.seeds import Chunk
from seedwise.model.trials import ChunkResult, SeedFailure
from seedwise.worker.chunk import ChunkTask

A, B = "tcp://a:1", "tcp://b:1"


@pytest.fixture
def clock() -> TrialClock:
    return TrialClock(1e6)


@pytest.fixture
def walltime(clock) -> Walltime:
    return Walltime(7200.0, clock)


def order(chunk=0, n_seeds=10, **task) -> Order:
    seeds = np.arange(n_seeds)
    return Order(None, ChunkTask("id", 4, {"x": 0.5}, None, Chunk(chunk, 0, seeds), **task))


def done(of: Order, duration_s: float) -> ChunkResult:
    n_seeds = len(of.task.chunk.seeds)
    return ChunkResult(4, of.task.chunk.index, 1, 0, n_seeds, duration_s=duration_s)


def start(clock, chunk, worker, left_s) -> None:
    message = {"entry_id": None, "trial": 4, "chunk": chunk, "worker": worker, "left_s": left_s}
    clock.note_start((1.5e9, message))


def test_chunks_say_what_they_are_expected_to_need(walltime):
    assert walltime.with_needs(order()).task.needs_s is None
    walltime.note(order(), done(order(), 50.0))
    sent = walltime.with_needs(order(n_seeds=20))
    assert sent.task.needs_s == pytest.approx(120.0)
    assert len(sent.task.chunk.seeds) == 20


def test_what_is_no_measure_is_not_taken_for_one(walltime):
    isolated = order(isolated=True)
    walltime.note(isolated, done(isolated, 5000.0))
    walltime.note(order(), overran(order().task, 5000.0))
    failure = SeedFailure(0, 3, "ValueError", "no", "no")
    walltime.note(order(), ChunkResult(4, 0, 1, 0, 10, failure=failure, duration_s=0.1))
    assert walltime.with_needs(order()).task.needs_s is None


def test_a_chunk_that_the_end_of_its_job_took_goes_where_there_is_more_time(walltime, clock):
    start(clock, 0, A, left_s=7100.0)
    start(clock, 1, B, left_s=5.0)
    assert walltime.took(B)
    assert not walltime.took(A)
    (again,) = walltime.note_taken([order(1)], B)
    assert again.task.needs_s == pytest.approx(5.25)
    assert not again.task.isolated
    assert walltime.with_needs(again).task.needs_s == pytest.approx(5.25)
    assert walltime.n_seeds_lost == 10
    walltime.check()


def test_a_chunk_that_waited_on_a_worker_that_ended_is_as_it_was(walltime, clock):
    start(clock, 0, A, left_s=7100.0)
    start(clock, 1, B, left_s=5.0)
    (again,) = walltime.note_taken([order(2, needs_s=7.0)], B)
    assert (again.task.needs_s, again.task.isolated) == (7.0, False)
    assert walltime.n_seeds_lost == 0


def test_of_a_pack_nobody_knows_which_chunk_was_too_long(walltime, clock):
    start(clock, 0, A, left_s=7100.0)
    start(clock, 1, B, left_s=5.0)
    start(clock, 2, B, left_s=4.0)
    again = walltime.note_taken([order(1), order(2), order(3)], B)
    assert [one.task.needs_s for one in again] == [None, None, None]
    assert walltime.n_seeds_lost == 20


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


def test_without_a_clock_nothing_is_known_of_jobs():
    walltime = Walltime(7200.0, None)
    assert not walltime.took(A)
    walltime.note(order(), done(order(), 50.0))
    assert walltime.with_needs(order()).task.needs_s == pytest.approx(60.0)
    walltime.check()

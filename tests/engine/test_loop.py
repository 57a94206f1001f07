"""The one loop: many engines, one dispatcher, and an error that ends one of them or all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.engine.engine import Engine, Rules, work_through
from seedwise.engine.trial import Allocation
from seedwise.model.seeds import seed_plan
from seedwise.model.trials import ChunkResult
from tests.fakes import FakeChannel, FakeFolders, FakeLedger, FakeProposer

PLAN = seed_plan(n_seeds=12, chunk_size=5, seed_start=100)


def noisy(params, seed):
    return math.sin(seed * 12.9898 + params["x"]) * 10.0 ** (seed % 20)


class Dispatcher:
    """Gives the results of all channels in one stream, in any order."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self.channels: list[FakeChannel] = []
        self.n_waits = 0
        self.late: list[tuple[Any, ChunkResult]] = []
        self.error: BaseException | None = None
        self._rng = rng or random.Random(0)

    def wait(self) -> list[tuple[Any, ChunkResult]]:
        self.n_waits += 1
        if self.error is not None:
            raise self.error
        out = [channel for channel in self.channels if channel.n_out]
        assert out, "the loop waits for results, but no chunk is out"
        chosen = self._rng.sample(out, self._rng.randint(1, len(out)))
        pairs = [(channel, result) for channel in chosen for result in channel.results()]
        self._rng.shuffle(pairs)
        late, self.late = self.late, []
        return [*late, *pairs]


class Job:
    """A study of some trials; it takes note of its beginning and its end."""

    def __init__(
        self,
        name: str,
        dispatcher: Dispatcher,
        log: list[tuple[str, str]],
        *,
        n_trials: int = 3,
        loss: Callable[..., float] = noisy,
        emit: Callable[[Any], None] = lambda event: None,
        open_error: Exception | None = None,
        ends_all: bool = False,
        n_parts: int = 1,
    ) -> None:
        self.name = name
        self.proposers: list[FakeProposer] = []
        self.errors: list[Exception | None] = []
        self._loss = loss
        self._dispatcher = dispatcher
        self._log = log
        self._n_trials = n_trials
        self._emit = emit
        self._open_error = open_error
        self._ends_all = ends_all
        self._n_parts = n_parts

    def open(self, workplace: Case) -> Engine | None:
        if not self._n_parts:
            return None
        self._n_parts -= 1
        assert workplace.dispatcher is self._dispatcher
        self._log.append(("open", self.name))
        if self._open_error is not None:
            raise self._open_error
        rules = Rules(self._n_trials, lambda: 2, stops_at_failure=True)
        self.proposers.append(FakeProposer())
        self.channel = FakeChannel(self._loss, random.Random(self.name), largest_batch=4)
        engine = Engine(
            rules,
            Allocation(PLAN),
            self.proposer,
            self.channel,
            FakeLedger(),
            FakeFolders().settle,
        )
        engine.begin(self._emit)
        self._dispatcher.channels.append(self.channel)
        return engine

    @property
    def proposer(self) -> FakeProposer:
        return self.proposers[-1] if self.proposers else FakeProposer()

    def close(self, error: Exception | None) -> None:
        self._log.append(("close", self.name))
        self.errors.append(error)
        if error is not None and self._ends_all:
            raise error


class Case:
    """Jobs, and what was done with them."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self.log: list[tuple[str, str]] = []
        self.dispatcher = Dispatcher(rng)
        self.jobs: list[Job] = []

    def add(self, name: str, **keywords: Any) -> Job:
        self.jobs.append(Job(name, self.dispatcher, self.log, **keywords))
        return self.jobs[-1]

    def work(self, at_once: int = 99) -> None:
        work_through(self, self.dispatcher.wait, self.jobs, at_once)

    @property
    def most_open(self) -> int:
        n_open = most = 0
        for word, _ in self.log:
            n_open += {"open": 1, "close": -1}[word]
            most = max(most, n_open)
        return most

    def n_told(self) -> list[int]:
        return [len(job.proposer.outcomes) for job in self.jobs]


@pytest.fixture
def case():
    return Case()


@given(
    n_trials=st.lists(st.integers(0, 4), max_size=6),
    at_once=st.integers(1, 7),
    order=st.integers(0, 2**32),
)
def test_all_jobs_are_done_and_each_as_if_it_were_alone(n_trials, at_once, order):
    case = Case(random.Random(order))
    for index, n in enumerate(n_trials):
        case.add(f"{index}", n_trials=n)
    case.work(at_once)
    assert case.n_told() == n_trials
    assert case.most_open <= at_once
    for job in case.jobs:
        assert job.errors == [None]
        alone = Case()
        other = alone.add(job.name, n_trials=len(job.proposer.outcomes))
        alone.work()
        assert job.proposer.outcomes == other.proposer.outcomes
        assert job.proposer.log == other.proposer.log


def test_without_jobs_there_is_nothing_to_do(case):
    case.work()
    assert case.dispatcher.n_waits == 0


def test_jobs_are_opened_in_their_order_and_together(case):
    for name in "abc":
        case.add(name)
    case.work()
    assert case.log[:3] == [("open", name) for name in "abc"]
    assert sorted(case.log[3:]) == [("close", name) for name in "abc"]


def test_a_job_is_opened_when_there_is_room_for_it(case):
    for name in "abcd":
        case.add(name, n_trials=1)
    case.work(at_once=1)
    assert case.log == [(word, name) for name in "abcd" for word in ("open", "close")]


def test_a_job_is_not_made_before_there_is_room_for_it(case):
    def jobs():
        for name in "abcd":
            assert case.n_told() == [1] * len(case.jobs)
            yield case.add(name, n_trials=1)

    work_through(case, case.dispatcher.wait, jobs(), at_once=1)
    assert case.n_told() == [1] * 4


def test_jobs_that_are_done_before_they_begin_need_no_result(case):
    for name in "abcde":
        case.add(name, n_trials=0)
    case.work(at_once=2)
    assert case.dispatcher.n_waits == 0
    assert case.log == [(word, name) for name in "abcde" for word in ("open", "close")]


@pytest.mark.parametrize("n_trials", [0, 2])
def test_the_parts_of_a_job_follow_each_other(case, n_trials):
    first = case.add("a", n_trials=n_trials, n_parts=3)
    case.add("b", n_trials=2)
    case.work(at_once=1)
    assert [len(one.outcomes) for one in first.proposers] == [n_trials] * 3
    assert case.log == [("open", "a")] * 3 + [("close", "a"), ("open", "b"), ("close", "b")]


def test_results_of_a_part_that_is_done_do_not_reach_the_next(case):
    job = case.add("a", n_trials=1, n_parts=2)
    open_part, earlier = job.open, []

    def opening(workplace):
        if earlier:  # of a chunk of the same trial, and of the same number
            result = ChunkResult(0, 0, 1, 0, 5, losses=np.full(5, np.nan))
            case.dispatcher.late = [(earlier[0], result)] * 3
        engine = open_part(workplace)
        earlier.append(job.channel)
        return engine

    job.open = opening
    case.work()
    values = [one.outcomes[0].value for one in job.proposers]
    assert values[0] == values[1]


def test_an_interrupt_on_opening_a_part_closes_the_job(case):
    job = case.add("a", n_trials=1, n_parts=2)
    open_part = job.open

    def opening(workplace):
        if job.proposers:
            raise KeyboardInterrupt
        return open_part(workplace)

    job.open = opening
    with pytest.raises(KeyboardInterrupt):
        case.work()
    assert job.errors == [None]


def test_results_of_a_job_that_is_done_are_dropped(case):
    first = case.add("a", n_trials=1)
    case.add("b", n_trials=4)
    case.work(at_once=1)
    result = ChunkResult(0, 0, 1, 0, 5)
    case.dispatcher.late = [(first.channel, result)] * 3
    case.jobs = []
    case.add("c", n_trials=2)
    case.work()
    assert case.n_told() == [2]


# Errors.


def test_an_error_on_opening_is_the_jobs_own(case):
    error = ValueError("no such study")
    broken = case.add("a", open_error=error)
    fine = [case.add(name) for name in "bc"]
    case.work(at_once=1)
    assert broken.errors == [error]
    assert [job.errors for job in fine] == [[None]] * 2
    assert case.n_told() == [0, 3, 3]


def test_if_all_fail_on_opening_the_loop_ends(case):
    for name in "abc":
        case.add(name, open_error=ValueError(name))
    case.work(at_once=2)
    assert [str(job.errors[0]) for job in case.jobs] == ["a", "b", "c"]
    assert case.dispatcher.n_waits == 0


def at_trial(number: int, error: BaseException) -> Callable[[Any], None]:
    def emit(event: Any) -> None:
        if event.trial.number == number:
            raise error

    return emit


def test_an_error_on_the_way_is_the_jobs_own(case):
    error = ValueError("it broke")
    broken = case.add("a", n_trials=9, emit=at_trial(1, error))
    fine = [case.add(name) for name in "bc"]
    case.work()
    assert broken.errors == [error]
    assert [job.errors for job in fine] == [[None]] * 2
    assert case.n_told() == [2, 3, 3]


def test_a_job_that_stops_at_a_failed_trial_is_at_its_end(case):
    def broken(params, seed):
        raise ValueError("no way")

    case.add("a", loss=broken)
    case.add("b")
    case.work()
    assert [job.errors for job in case.jobs] == [[None], [None]]
    assert case.n_told() == [1, 3]


@pytest.mark.parametrize("where", ["open", "work"])
def test_an_error_that_is_raised_ends_all_and_each_is_closed_once(case, where):
    error = OSError("no room")
    case.add("a", n_trials=50)
    if where == "open":
        case.add("b", open_error=error, ends_all=True)
    else:
        case.add("b", n_trials=50, emit=at_trial(1, error), ends_all=True)
    case.add("c", n_trials=50)
    with pytest.raises(OSError, match="no room"):
        case.work()
    opened = [name for word, name in case.log if word == "open"]
    closed = [name for word, name in case.log if word == "close"]
    assert opened == (["a", "b"] if where == "open" else ["a", "b", "c"])
    assert sorted(closed) == opened
    assert {job.name: job.errors for job in case.jobs if job.errors} == {
        name: [error if name == "b" else None] for name in opened
    }
    assert max(case.n_told()) < 50


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the cluster is gone")])
def test_an_error_of_the_dispatcher_ends_all(case, error):
    for name in "ab":
        case.add(name)
    case.dispatcher.error = error
    with pytest.raises(type(error)) as caught:
        case.work()
    assert caught.value is error
    assert [job.errors for job in case.jobs] == [[None], [None]]


def test_an_interrupt_in_a_job_ends_all(case):
    case.add("a", n_trials=50, emit=at_trial(1, KeyboardInterrupt()))
    case.add("b", n_trials=50)
    with pytest.raises(KeyboardInterrupt):
        case.work()
    assert [job.errors for job in case.jobs] == [[None], [None]]
    assert len(case.jobs[0].proposer.outcomes) == 2

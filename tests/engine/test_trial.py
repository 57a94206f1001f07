"""A trial that is not told yet: what is missing of it, what counts, and what is told."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.engine.trial import Allocation, OpenTrial
from seedwise.folder.ledger import Ledger
from seedwise.model.seeds import seed_plan
from seedwise.model.statistics import estimate
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    Proposal,
    SeedFailure,
    TrialOutcome,
    TrialState,
)

PROPOSAL = Proposal(7, {"x": 0.5})
PLAN = seed_plan(n_seeds=12, chunk_size=5, seed_start=100)
LOSSES = np.array([math.sin(seed) * 10.0 ** (seed % 20) for seed in range(12)])
KINDS = list(FailureKind)


def opened(recorded=(), retries=1, plan=PLAN) -> OpenTrial:
    trial = OpenTrial(PROPOSAL, plan, retries, Allocation(plan).seeds_of(7))
    trial.take_up(recorded)
    return trial


def again(trial: OpenTrial, result: ChunkResult) -> bool:
    """Have the trial take a result; tell whether its chunk is evaluated again."""
    return [chunk.index for chunk in trial.take(result).send] == [result.chunk]


def done(start=0, n=5, *, chunk=None, attempt=1, **more) -> ChunkResult:
    """Return the losses of some seeds, which by default are a chunk of the plan."""
    index = start // 5 if chunk is None else chunk
    losses = LOSSES[start : start + n]
    return ChunkResult(7, index, attempt, start, len(losses), losses.copy(), **more)


def broken(chunk=0, attempt=1, kind=FailureKind.LOSS, seed=101, **more) -> ChunkResult:
    start, n = chunk * 5, min(5, 12 - chunk * 5)
    failure = SeedFailure(start + 1, seed, "ValueError", f"no {chunk}", "trace", kind)
    return ChunkResult(7, chunk, attempt, start, n, failure=failure, **more)


# What is missing.


def test_at_first_all_chunks_are_missing():
    trial = opened()
    assert [chunk.seeds.tolist() for chunk in trial.missing.values()] == [
        chunk.seeds.tolist() for chunk in PLAN.chunks()
    ]
    assert trial.n_attempts == {0: 1, 1: 1, 2: 1}
    assert not trial.decided


def test_what_has_come_is_not_missing_and_not_waited_for():
    trial = opened()
    for left, start in ((2, 5), (1, 0), (0, 10)):
        result = done(start)
        assert trial.waits_for(result)
        assert again(trial, result) is False
        assert not trial.waits_for(result)
        assert len(trial.missing) == left
    assert trial.decided
    assert trial.failure is None


def test_a_chunk_that_is_not_there_is_not_waited_for():
    assert not opened().waits_for(done(0, chunk=3))
    assert not opened().waits_for(broken(3, seed=None))


@given(
    covered=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=4),
    chunk_size=st.integers(1, 13),
)
def test_only_what_the_record_does_not_cover_is_missing(covered, chunk_size):
    plan = seed_plan(n_seeds=12, chunk_size=chunk_size, seed_start=100)
    recorded = [done(start, n, chunk=-1) for start, n in covered]
    trial = opened(recorded, plan=plan)
    known = {place for r in recorded for place in range(r.start, r.start + r.n_seeds)}
    missing = [
        place for c in trial.missing.values() for place in range(c.start, c.start + len(c.seeds))
    ]
    assert missing == [place for place in range(12) if place not in known]
    assert trial.decided is (len(known) == 12)
    for chunk in list(trial.missing.values()):
        trial.take(done(chunk.start, len(chunk.seeds), chunk=chunk.index))
    mean = estimate(LOSSES)
    assert trial.outcome(prunes=False) == TrialOutcome(7, mean.mean, mean.stderr, 12)


# Failures.


@pytest.mark.parametrize(
    ("kind", "retries", "most"),
    [
        (FailureKind.LOSS, 0, 1),
        (FailureKind.LOSS, 2, 3),
        (FailureKind.DIED, 0, 3),
        (FailureKind.DIED, 9, 3),
        (FailureKind.OVERRAN, 9, 1),
    ],
)
def test_how_often_a_chunk_is_tried_is_by_the_kind_of_its_failure(kind, retries, most):
    trial = opened(retries=retries)
    for attempt in range(1, most):
        assert again(trial, broken(1, attempt, kind)) is True
        assert trial.n_attempts[1] == attempt + 1
        assert not trial.decided
    assert again(trial, broken(1, most, kind)) is False
    assert trial.failure.kind is kind
    assert list(trial.missing) == [0]


def test_failures_of_one_kind_do_not_count_for_another():
    trial = opened(retries=1)
    for attempt, kind in enumerate(
        [FailureKind.DIED, FailureKind.LOSS, FailureKind.DIED], start=1
    ):
        assert again(trial, broken(0, attempt, kind))
    assert again(trial, broken(0, 4, FailureKind.LOSS)) is False


def test_an_attempt_of_before_is_not_counted_again_but_its_losses_are_welcome():
    trial = opened(retries=3)
    assert again(trial, broken(1, 1))
    assert not trial.waits_for(broken(1, 1))
    assert trial.waits_for(broken(1, 2))
    assert trial.waits_for(done(5, attempt=1))


def test_only_a_chunk_of_which_a_process_died_has_died():
    trial = opened(retries=9)
    trial.take(broken(0, 1, FailureKind.LOSS))
    trial.take(broken(1, 1, FailureKind.DIED))
    assert [trial.has_died(chunk) for chunk in range(3)] == [False, True, False]


@pytest.mark.parametrize("order", range(6))
def test_the_failure_that_is_told_is_the_first_in_the_order_of_the_seeds(order):
    results = [done(0), broken(1, seed=106), broken(2, seed=111)]
    random.Random(order).shuffle(results)
    trial = opened(retries=0)
    for result in results:
        if trial.waits_for(result):
            trial.take(result)
    assert trial.decided
    assert (trial.failure.seed, trial.chunk_start) == (106, 105)
    assert trial.outcome(prunes=False).error == "seed 106: ValueError: no 1"


def test_seeds_on_record_are_done_once_and_those_that_come_too():
    trial = opened([done(), done(), broken(1)])
    assert trial.n_seeds_done == 5
    chunk = min(trial.missing)
    trial.take(done(5, chunk=chunk))
    assert trial.n_seeds_done == 10


def test_what_comes_after_a_chunk_that_failed_is_not_waited_for():
    trial = opened(retries=0)
    trial.take(broken(1))
    assert not trial.waits_for(done(10))
    assert trial.waits_for(done(0))
    assert trial.waits_for(broken(0))


# Failures of before.


@pytest.mark.parametrize(("n_failures", "left"), [(0, 3), (1, 2), (2, 1), (3, 0)])
def test_attempts_on_record_count(n_failures, left):
    recorded = [broken(1, attempt) for attempt in range(1, n_failures + 1)]
    trial = opened(recorded, retries=2)
    if left == 0:
        assert trial.failure.message == "no 1"
        assert list(trial.missing) == [0]
    else:
        assert trial.n_attempts[1] == n_failures + 1
        assert len(trial.missing) == 3


@pytest.mark.parametrize(("chunk_size", "chunk"), [(4, 1), (1, 6), (12, 0)])
def test_attempts_on_record_count_however_chunks_are_cut(chunk_size, chunk):
    plan = seed_plan(n_seeds=12, chunk_size=chunk_size)
    trial = opened([broken(1, kind=FailureKind.DIED)], plan=plan)
    assert {i: n for i, n in trial.n_attempts.items() if n > 1} == {chunk: 2}
    assert [i for i in trial.missing if trial.has_died(i)] == [chunk]
    assert opened([broken(1)], retries=0, plan=plan).failure.message == "no 1"


def test_each_seed_has_its_own_attempts():
    trial = opened(retries=1)
    for attempt, position in enumerate([6, 8, 7], start=1):
        failure = SeedFailure(position, None, "ValueError", "no", "trace", FailureKind.LOSS)
        assert again(trial, ChunkResult(7, 1, attempt, 5, 5, failure=failure))
    assert again(trial, broken(1, 4)) is False


def test_an_attempt_on_record_of_a_chunk_that_came_in_the_end_does_not_count():
    trial = opened([broken(1, 1), done(5, attempt=2)], retries=0)
    assert trial.failure is None
    assert [chunk.start for chunk in trial.missing.values()] == [0, 10]


def test_a_death_on_record_is_a_death():
    trial = opened([broken(2, 1, FailureKind.DIED)])
    assert trial.has_died(2)
    assert trial.n_attempts[2] == 2


# What is told.


@given(order=st.permutations([0, 5, 10]))
def test_the_mean_is_the_same_bits_in_any_order(order):
    trial = opened()
    for start in order:
        trial.take(done(start))
    expected = math.fsum(LOSSES.tolist()) / 12
    outcome = trial.outcome(prunes=True)
    assert outcome.value.hex() == expected.hex()
    assert (outcome.number, outcome.n_seeds, outcome.state) == (7, 12, TrialState.COMPLETE)
    assert outcome.pruned is False


@pytest.mark.parametrize(
    ("prunes", "state"), [(False, TrialState.FAIL), (True, TrialState.PRUNED)]
)
@pytest.mark.parametrize(
    ("seed", "error"), [(None, "ValueError: no 0"), (101, "seed 101: ValueError: no 0")]
)
def test_a_failed_trial_is_told_with_its_error(prunes, state, seed, error):
    trial = opened(retries=0)
    trial.take(broken(0, seed=seed))
    outcome = trial.outcome(prunes=prunes)
    assert outcome == TrialOutcome(7, None, None, 0, error, pruned=prunes)
    assert outcome.state is state


def test_an_error_without_words_is_told_by_its_type():
    trial = opened(retries=0)
    failure = SeedFailure(0, 100, "KeyError", "", "trace")
    trial.take(ChunkResult(7, 0, 1, 0, 5, failure=failure))
    assert trial.outcome(prunes=False).error == "seed 100: KeyError"


@given(order=st.permutations([0, 5, 10]))
def test_components_are_put_together_by_their_seeds(order):
    whole = {"cost": np.arange(12.0) ** 3, "risk": LOSSES}
    trial = opened()
    for start in order:
        parts = {name: part[start : start + 5] for name, part in whole.items()}
        trial.take(done(start, components=parts))
    components = trial.outcome(prunes=False).components
    assert {name: value.hex() for name, value in components.items()} == {
        name: (math.fsum(part.tolist()) / 12).hex() for name, part in whole.items()
    }


def test_a_component_that_a_chunk_has_none_of_has_no_mean():
    trial = opened()
    for start in (0, 5, 10):
        n = min(5, 12 - start)
        parts = {"all": np.ones(n)} | ({"some": np.ones(n)} if start == 5 else {})
        trial.take(done(start, components=parts))
    components = trial.outcome(prunes=False).components
    assert components["all"] == 1.0
    assert math.isnan(components["some"])


def test_components_of_before_count():
    trial = opened([done(0, components={"cost": np.full(5, 2.0)})])
    for index, chunk in list(trial.missing.items()):
        parts = {"cost": np.full(len(chunk.seeds), 2.0)}
        trial.take(done(chunk.start, chunk=index, components=parts))
    assert trial.outcome(prunes=False).components == {"cost": 2.0}


# Folders.


@given(order=st.permutations([0, 5, 10]))
def test_folders_are_in_the_order_of_the_seeds(order):
    trial = opened()
    for start in order:
        trial.take(done(start, folder=f"f{start}"))
    assert trial.folders() == ["f0", "f5", "f10"]


def test_an_evaluation_that_wrote_nothing_has_no_folder():
    trial = opened([done(0, folder="of before")])
    trial.take(done(5, chunk=0))
    trial.take(done(10, chunk=1, folder="last"))
    assert trial.folders() == ["of before", "last"]


def test_of_attempts_the_one_that_counts_has_the_folder():
    trial = opened(retries=1)
    trial.take(broken(1, 1, folder="failed"))
    trial.take(done(5, attempt=2, folder="good"))
    assert trial.folders() == ["good"]


@given(order=st.permutations(range(3)))
def test_of_a_failed_trial_the_folders_are_those_up_to_its_failure(order):
    results = [done(0, folder="f0"), broken(1, folder="f5"), done(10, folder="f10")]
    trial = opened(retries=0)
    for index in order:
        if trial.waits_for(results[index]):
            trial.take(results[index])
    assert trial.folders() == ["f0", "f5"]


def test_a_failure_on_record_has_its_folder():
    trial = opened([done(10, folder="f10"), broken(1, folder="f5")], retries=0)
    trial.take(done(0, folder="f0"))
    assert trial.folders() == ["f0", "f5"]


# With a real ledger between two drivers.


def test_what_a_ledger_kept_is_taken_up_in_whole(tmp_path: Path):
    results = [
        broken(1, 1, folder="failed"),
        done(5, attempt=2, components={"cost": np.arange(5.0)}, folder="f5"),
        broken(2, 1, FailureKind.DIED),
    ]
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.record([(PROPOSAL, result) for result in results])
    with Ledger(tmp_path / "ledger") as ledger:
        trial = opened(ledger.recorded(PROPOSAL), retries=0)
    # What is left is cut anew: the chunks are numbered from 0.
    assert [(c.index, c.start) for c in trial.missing.values()] == [(0, 0), (1, 10)]
    assert trial.n_attempts == {0: 1, 1: 2}
    assert trial.has_died(1)
    trial.take(done(0, chunk=0, folder="f0"))
    trial.take(done(10, chunk=1, attempt=2))
    assert trial.decided
    assert trial.outcome(prunes=False).value == math.fsum(LOSSES.tolist()) / 12
    assert trial.folders() == ["f0", "f5"]

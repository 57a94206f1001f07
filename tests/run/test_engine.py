from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import LossFailedError
from seedwise.model.options import RunOptions
from seedwise.model.records import TrialOutcome, TrialState
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.run.engine import Engine
from tests.fakes import FakeDispatcher, FakeProposer, Log

PLAN = seed_plan(n_seeds=12, chunk_size=5, seed_start=100)


def noisy(params, seed):
    return math.sin(seed * 12.9898 + params["x"]) * 10.0 ** (seed % 20)


def sometimes_failing(params, seed):
    # About half of the points fail, each on one seed.
    if seed == 100 + int(params["x"] * 10) % 20:
        raise ValueError("no way")
    return noisy(params, seed)


def run(dispatcher, options, plan: SeedPlan = PLAN, out_of_time=lambda: False):
    """Run an engine with fakes; return it with its proposer and its events."""
    proposer, events = FakeProposer(), []
    engine = Engine(options, plan, proposer, dispatcher, events.append, out_of_time)
    engine.run()
    return engine, proposer, events


def failing_run(dispatcher, options, error: type[BaseException]):
    """Run an engine to an error; return the error, the engine and its proposer."""
    proposer = FakeProposer()
    engine = Engine(options, PLAN, proposer, dispatcher, lambda event: None)
    with pytest.raises(error) as caught:
        engine.run()
    return caught.value, engine, proposer


def table(told: list[TrialOutcome]):
    return [(o.number, o.value and o.value.hex(), o.n_seeds, o.state, o.error) for o in told]


def in_words(loss, seeds, n_trials, k) -> FakeProposer:
    """Do what the engine promises in the plainest way: one seed after the other."""
    proposer = FakeProposer()
    for _ in range(min(k, n_trials)):
        proposer.ask()
    for number in range(n_trials):
        params, losses, error = proposer.open[number].params, [], None
        for seed in seeds:
            try:
                losses.append(loss(params, seed))
            except ValueError as problem:
                error = f"seed {seed}: ValueError: {problem}"
                break
        if error is None:
            outcome = TrialOutcome(number, math.fsum(losses) / len(losses), None, len(losses))
        else:
            outcome = TrialOutcome(number, None, None, 0, error)
        proposer.tell(outcome)
        if proposer.n_asked < n_trials:
            proposer.ask()
    return proposer


@given(
    loss=st.sampled_from([noisy, sometimes_failing]),
    n_trials=st.integers(1, 8),
    k=st.integers(1, 5),
    chunk_size=st.integers(1, 13),
    largest_batch=st.integers(1, 6),
    retries=st.integers(0, 2),
    repeats=st.booleans(),
    order=st.integers(0, 2**32),
)
def test_the_told_values_are_the_same_bits_for_any_chunks_and_order(
    loss, n_trials, k, chunk_size, largest_batch, retries, repeats, order
):
    plan = seed_plan(n_seeds=12, chunk_size=chunk_size, seed_start=100)
    dispatcher = FakeDispatcher(
        loss, random.Random(order), largest_batch=largest_batch, repeats=repeats
    )
    options = RunOptions(
        n_trials=n_trials,
        max_concurrent_trials=k,
        trial_retry_attempts=retries,
        fail_on_chunk_error=False,
    )
    engine, proposer, events = run(dispatcher, options, plan)
    expected = in_words(loss, plan.seeds.tolist(), n_trials, k)
    assert table(proposer.told) == table(expected.told)
    assert proposer.log == expected.log
    assert [trial.number for trial in engine.trials] == list(range(n_trials))
    assert [event.trial for event in events] == engine.trials
    assert not proposer.open


@pytest.mark.parametrize(
    ("k", "log"),
    [
        (1, "ask 0, tell 0, ask 1, tell 1, ask 2, tell 2, ask 3, tell 3"),
        (2, "ask 0, ask 1, tell 0, ask 2, tell 1, ask 3, tell 2, tell 3"),
        (3, "ask 0, ask 1, ask 2, tell 0, ask 3, tell 1, tell 2, tell 3"),
        (9, "ask 0, ask 1, ask 2, ask 3, tell 0, tell 1, tell 2, tell 3"),
    ],
)
@pytest.mark.parametrize("order", range(5))
def test_trial_n_is_asked_for_when_exactly_the_trials_up_to_n_minus_k_are_told(k, log, order):
    dispatcher = FakeDispatcher(noisy, random.Random(order), largest_batch=4)
    _, proposer, _ = run(dispatcher, RunOptions(n_trials=4, max_concurrent_trials=k))
    expected: Log = [(word, int(number)) for word, number in map(str.split, log.split(", "))]
    assert proposer.log == expected


def test_all_chunks_of_all_trials_in_flight_are_out_at_once():
    dispatcher = FakeDispatcher(noisy, waits=0)
    failing_run(dispatcher, RunOptions(n_trials=5, max_concurrent_trials=2), KeyboardInterrupt)
    assert dispatcher.submitted == [(trial, chunk, 1) for trial in (0, 1) for chunk in (0, 1, 2)]


def test_a_trial_has_the_standard_error_of_its_mean():
    engine, _, _ = run(FakeDispatcher(lambda params, seed: float(seed)), RunOptions(n_trials=1))
    (trial,) = engine.trials
    assert (trial.value, trial.n_seeds) == (105.5, 12)
    assert trial.stderr == pytest.approx(math.sqrt(13 / 12))


@pytest.mark.parametrize("order", range(5))
def test_only_the_failed_chunk_is_evaluated_again(order):
    dispatcher = FakeDispatcher(
        noisy,
        random.Random(order),
        fails=lambda trial, chunk, attempt: (trial, chunk, attempt) == (1, 2, 1),
    )
    engine, _, _ = run(
        dispatcher, RunOptions(n_trials=3, max_concurrent_trials=2, trial_retry_attempts=1)
    )
    assert [trial.state for trial in engine.trials] == [TrialState.COMPLETE] * 3
    assert [job for job in dispatcher.submitted if job[2] > 1] == [(1, 2, 2)]
    assert len(dispatcher.submitted) == 10
    assert dispatcher.cancelled == {}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_chunk_is_evaluated_no_more_often_than_the_rules_say(retries):
    options = RunOptions(n_trials=1, trial_retry_attempts=retries, fail_on_chunk_error=False)
    for n_failures, state in ((retries, TrialState.COMPLETE), (retries + 1, TrialState.FAIL)):
        dispatcher = FakeDispatcher(
            noisy,
            fails=lambda trial, chunk, attempt, n=n_failures: chunk == 1 and attempt <= n,
        )
        engine, _, _ = run(dispatcher, options)
        assert engine.trials[0].state is state
        again = [job for job in dispatcher.submitted if job[1] == 1]
        assert again == [(0, 1, attempt) for attempt in range(1, retries + 2)]


def test_a_failure_without_a_seed_is_told_without_one():
    dispatcher = FakeDispatcher(noisy, fails=lambda trial, chunk, attempt: True)
    _, proposer, events = run(dispatcher, RunOptions(n_trials=1, fail_on_chunk_error=False))
    (outcome,) = proposer.told
    assert outcome == TrialOutcome(0, None, None, 0, "KilledWorker: it died 0")
    assert events[0].error == outcome.error


def fails_in_trial(number):
    """Make a loss that fails on seed 103 in one trial only."""
    points = []

    def loss(params, seed):
        if params not in points:
            points.append(params)
        if points.index(params) == number and seed == 103:
            raise ValueError("no way")
        return noisy(params, seed)

    return loss


def test_a_failed_trial_is_marked_and_the_run_goes_on():
    dispatcher = FakeDispatcher(fails_in_trial(1))
    options = RunOptions(n_trials=4, trial_retry_attempts=0, fail_on_chunk_error=False)
    engine, proposer, events = run(dispatcher, options)
    assert [trial.state.value for trial in engine.trials] == [
        "COMPLETE",
        "FAIL",
        "COMPLETE",
        "COMPLETE",
    ]
    failed = engine.trials[1]
    assert (failed.value, failed.stderr, failed.n_seeds) == (None, None, 0)
    assert proposer.told[1].error == events[1].error == "seed 103: ValueError: no way"
    assert [event.error for event in (events[0], *events[2:])] == [None] * 3
    assert list(dispatcher.cancelled) == [1]


@pytest.mark.parametrize("order", range(8))
def test_the_first_failure_in_the_order_of_the_seeds_is_told(order):
    # All chunks of trial 1 fail, and come back in any order.
    dispatcher = FakeDispatcher(
        noisy,
        random.Random(order),
        largest_batch=4,
        fails=lambda trial, chunk, attempt: trial == 1,
    )
    options = RunOptions(
        n_trials=3, max_concurrent_trials=3, trial_retry_attempts=1, fail_on_chunk_error=False
    )
    engine, proposer, _ = run(dispatcher, options)
    assert [trial.value is None for trial in engine.trials] == [False, True, False]
    assert dispatcher.cancelled == {1: 0}
    assert proposer.told[1].error == "KilledWorker: it died 0"


def test_a_failure_that_comes_twice_is_counted_once():
    class Twice(FakeDispatcher):
        def wait(self):
            return [result for result in super().wait() for _ in range(2)]

    dispatcher = Twice(noisy, fails=lambda trial, chunk, attempt: attempt == 1)
    engine, _, _ = run(dispatcher, RunOptions(n_trials=1, trial_retry_attempts=1))
    assert engine.trials[0].value is not None


@pytest.mark.parametrize("order", range(8))
def test_a_failed_trial_ends_the_run_in_its_turn(order):
    # Trial 2 may well fail before trials 0 and 1 are complete: these are told first all the same.
    rng = random.Random(order)
    first_asked = FakeProposer()
    points = [first_asked.ask().params for _ in range(3)]

    def loss(params, seed):
        if params == points[2] and seed == 103:
            raise ValueError("no way")
        return noisy(params, seed)

    dispatcher = FakeDispatcher(loss, rng, largest_batch=3)
    options = RunOptions(n_trials=9, max_concurrent_trials=3, trial_retry_attempts=1)
    error, engine, proposer = failing_run(dispatcher, options, LossFailedError)
    assert (error.trial, error.seed, error.params) == (2, 103, points[2])
    assert (error.exception_type, error.traceback) == ("ValueError", "trace: no way")
    assert "the loss failed in trial 2, seed 103, with params" in str(error)
    assert [trial.state.value for trial in engine.trials] == [
        "COMPLETE",
        "COMPLETE",
        "FAIL",
        "FAIL",
        "FAIL",
    ]
    assert [o.error for o in proposer.told[2:]] == [
        "seed 103: ValueError: no way",
        "the run was stopped",
        "the run was stopped",
    ]
    assert not proposer.open
    assert set(dispatcher.cancelled) == {2, 3, 4}
    assert engine.best is min(engine.trials[:2], key=lambda trial: trial.value)


def test_no_trial_is_asked_for_out_of_time_and_those_in_flight_are_finished():
    proposer = FakeProposer()
    options = RunOptions(n_trials=10, max_concurrent_trials=2)
    dispatcher = FakeDispatcher(noisy)
    engine = Engine(
        options, PLAN, proposer, dispatcher, lambda event: None, lambda: proposer.n_asked >= 3
    )
    engine.run()
    assert proposer.log == [
        ("ask", 0),
        ("ask", 1),
        ("tell", 0),
        ("ask", 2),
        ("tell", 1),
        ("tell", 2),
    ]
    assert {trial.state for trial in engine.trials} == {TrialState.COMPLETE}


def test_a_run_that_has_no_time_has_no_trial():
    engine, proposer, events = run(
        FakeDispatcher(noisy), RunOptions(n_trials=3), out_of_time=lambda: True
    )
    assert (engine.trials, engine.best, proposer.log, events) == ([], None, [], [])


@pytest.mark.parametrize(("maximize", "pick"), [(False, min), (True, max)])
def test_the_best_is_known_at_every_event(maximize, pick):
    engine, _, events = run(
        FakeDispatcher(noisy),
        RunOptions(n_trials=8, direction="maximize" if maximize else "minimize"),
    )
    for n_told, event in enumerate(events, start=1):
        assert event.n_trials == 8
        assert event.best == pick(engine.trials[:n_told], key=lambda trial: trial.value)
    assert engine.best == events[-1].best
    assert len({event.best.number for event in events}) > 1


@pytest.mark.parametrize("maximize", [False, True])
def test_of_equal_trials_the_first_is_best(maximize):
    options = RunOptions(
        n_trials=4, max_concurrent_trials=2, direction="maximize" if maximize else "minimize"
    )
    engine, _, _ = run(FakeDispatcher(lambda params, seed: 1.0), options)
    assert engine.best.number == 0


def test_a_failed_trial_is_never_best():
    options = RunOptions(n_trials=3, trial_retry_attempts=0, fail_on_chunk_error=False)
    engine, _, events = run(FakeDispatcher(fails_in_trial(0)), options)
    assert events[0].best is None
    assert engine.best.number in (1, 2)


@pytest.mark.parametrize("waits", range(9))
def test_an_interrupt_leaves_no_trial_untold(waits):
    dispatcher = FakeDispatcher(noisy, random.Random(waits), largest_batch=3, waits=waits)
    options = RunOptions(n_trials=50, max_concurrent_trials=3)
    _, engine, proposer = failing_run(dispatcher, options, KeyboardInterrupt)
    assert not proposer.open
    stopped = [trial.number for trial in engine.trials if trial.state is TrialState.FAIL]
    assert list(dispatcher.cancelled) == stopped
    assert len(stopped) == 3
    assert [trial.number for trial in engine.trials] == list(range(len(engine.trials)))
    assert {o.error for o in proposer.told[-3:]} == {"the run was stopped"}


def test_a_refused_submission_leaves_no_trial_untold(monkeypatch):
    dispatcher = FakeDispatcher(noisy)

    def refuse(proposal, chunks, attempt):
        if proposal.number == 2:
            raise ConnectionError("the scheduler is gone")

    monkeypatch.setattr(dispatcher, "submit", refuse)
    _, _, proposer = failing_run(
        dispatcher, RunOptions(n_trials=9, max_concurrent_trials=3), ConnectionError
    )
    assert [o.state for o in proposer.told] == [TrialState.FAIL] * 3
    assert not proposer.open

from __future__ import annotations

import contextlib
import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.model.options import RunOptions
from seedwise.model.records import FailureKind, Proposal, TrialOutcome, TrialState
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.run.engine import Engine
from tests.fakes import FakeDispatcher, FakeLedger, FakeProposer, Log

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
    engine = Engine(options, plan, proposer, dispatcher, FakeLedger())
    engine.run(events.append, out_of_time)
    return engine, proposer, events


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
    assert table(proposer.outcomes) == table(expected.outcomes)
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
    with pytest.raises(KeyboardInterrupt):
        run(dispatcher, RunOptions(n_trials=5, max_concurrent_trials=2))
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
    (outcome,) = proposer.outcomes
    assert outcome == TrialOutcome(0, None, None, 0, "Broken: it broke 0")
    assert events[0].trial.error == outcome.error


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
    assert proposer.outcomes[1].error == events[1].trial.error == "seed 103: ValueError: no way"
    assert [event.trial.error for event in (events[0], *events[2:])] == [None] * 3
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
    assert proposer.outcomes[1].error == "Broken: it broke 0"


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
    engine, proposer, events = run(dispatcher, options)
    assert engine.failed.proposal == Proposal(2, points[2])
    assert (engine.failed.failure.seed, engine.failed.chunk_start) == (103, 100)
    assert (engine.failed.failure.exception_type, engine.failed.failure.traceback) == (
        "ValueError",
        "trace: no way",
    )
    assert [trial.state.value for trial in engine.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert events[-1].failure.seed == 103
    assert sorted(proposer.open) == [3, 4]  # they stay as they are, for when the run goes on
    assert engine.best is min(engine.trials[:2], key=lambda trial: trial.value)


def test_no_trial_is_asked_for_out_of_time_and_those_in_flight_are_finished():
    proposer = FakeProposer()
    options = RunOptions(n_trials=10, max_concurrent_trials=2)
    dispatcher = FakeDispatcher(noisy)
    engine = Engine(options, PLAN, proposer, dispatcher, FakeLedger())
    engine.run(lambda event: None, lambda: proposer.n_asked >= 3)
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


# A run that is stopped and gone on with.


def resumed(loss, options, plans, rng) -> tuple[FakeProposer, FakeLedger, list[FakeDispatcher]]:
    """Run to an interrupt again and again, with other chunks each time, and then to the end."""
    proposer, ledger, dispatchers = FakeProposer(), FakeLedger(), []
    for plan in plans:
        last = plan is plans[-1]
        dispatchers.append(
            FakeDispatcher(loss, rng, largest_batch=3, waits=None if last else rng.randint(0, 9))
        )
        engine = Engine(options, plan, proposer, dispatchers[-1], ledger)
        with contextlib.suppress(KeyboardInterrupt):
            engine.run(lambda event: None)
    return proposer, ledger, dispatchers


@given(
    loss=st.sampled_from([noisy, sometimes_failing]),
    k=st.integers(1, 5),
    retries=st.integers(0, 2),
    chunk_sizes=st.lists(st.integers(1, 13), min_size=1, max_size=5),
    order=st.integers(0, 2**32),
)
def test_a_run_that_was_stopped_goes_on_to_the_same_trials(loss, k, retries, chunk_sizes, order):
    options = RunOptions(
        n_trials=8,
        max_concurrent_trials=k,
        trial_retry_attempts=retries,
        fail_on_chunk_error=False,
    )
    plans = [seed_plan(n_seeds=12, chunk_size=size, seed_start=100) for size in chunk_sizes]
    proposer, ledger, _ = resumed(loss, options, plans, random.Random(order))
    expected = in_words(loss, plans[0].seeds.tolist(), 8, k)
    assert table(proposer.outcomes) == table(expected.outcomes)
    assert proposer.log == expected.log
    covered = [
        (proposal.number, result.start + offset)
        for proposal, result in ledger.entries
        if result.losses is not None
        for offset in range(result.n_seeds)
    ]
    assert len(covered) == len(set(covered)), "a seed was evaluated again that was on record"


def test_no_seed_on_record_is_evaluated_again():
    rng = random.Random(4)
    options = RunOptions(n_trials=6, max_concurrent_trials=2)
    _, ledger, dispatchers = resumed(noisy, options, [PLAN] * 4, rng)
    first = {
        (p.number, int(s)) for p, r in ledger.entries for s in PLAN.seeds[r.start :][: r.n_seeds]
    }
    assert len(first) == 6 * 12
    for earlier, later in itertools.pairwise(dispatchers):
        lost = set(earlier.seeds) & set(later.seeds)
        assert len(lost) <= 2 * 12  # no more than what was in flight


def test_a_trial_that_is_told_is_on_record_for_good():
    ledger = FakeLedger()

    class Proposer(FakeProposer):
        def tell(self, outcome):
            of_trial = [r for p, r in ledger.entries if p.number == outcome.number]
            assert sum(result.n_seeds for result in of_trial) == 12
            assert ledger.n_synced == len(ledger.entries)
            return super().tell(outcome)

    options = RunOptions(n_trials=5, max_concurrent_trials=2)
    engine = Engine(options, PLAN, Proposer(), FakeDispatcher(noisy, largest_batch=2), ledger)
    engine.run(lambda event: None)
    assert len(engine.trials) == 5


def test_a_result_that_can_not_be_recorded_does_not_count():
    class Full(FakeLedger):
        def record(self, entries):
            if len(self.entries) >= 4:
                raise OSError("no room")
            super().record(entries)

    ledger, proposer = Full(), FakeProposer()
    engine = Engine(RunOptions(n_trials=9), PLAN, proposer, FakeDispatcher(noisy), ledger)
    with pytest.raises(OSError, match="no room"):
        engine.run(lambda event: None)
    assert [outcome.number for outcome in proposer.outcomes] == [0]
    again = Engine(RunOptions(n_trials=9), PLAN, proposer, FakeDispatcher(noisy), FakeLedger())
    again.run(lambda event: None)
    expected = in_words(noisy, PLAN.seeds.tolist(), 9, 1)
    assert table(proposer.outcomes) == table(expected.outcomes)


def test_n_trials_is_a_total():
    proposer, ledger = FakeProposer(), FakeLedger()
    for n_trials, n_told in ((3, 3), (2, 3), (5, 5), (5, 5)):
        engine = Engine(
            RunOptions(n_trials=n_trials), PLAN, proposer, FakeDispatcher(noisy), ledger
        )
        engine.run(lambda event: None)
        assert len(engine.trials) == len(proposer.outcomes) == n_told
        assert engine.best == min(engine.trials, key=lambda trial: trial.value)


def test_a_failed_attempt_that_is_on_record_counts():
    options = RunOptions(n_trials=1, trial_retry_attempts=2, fail_on_chunk_error=False)
    proposer, ledger = FakeProposer(), FakeLedger()
    attempts = []
    for waits in (2, 2, None):
        dispatcher = FakeDispatcher(noisy, waits=waits, fails=lambda t, chunk, a: chunk == 0)
        engine = Engine(options, seed_plan(n_seeds=3), proposer, dispatcher, ledger)
        with contextlib.suppress(KeyboardInterrupt):
            engine.run(lambda event: None)
        attempts += [attempt for _, chunk, attempt in dispatcher.submitted if chunk == 0]
    assert proposer.outcomes[0].state is TrialState.FAIL
    assert sorted(set(attempts)) == [1, 2, 3]
    failures = [result for _, result in ledger.entries if result.failure is not None]
    assert len(failures) == 3


# Chunks that kill their process.


def test_a_chunk_that_kills_its_process_three_times_fails_its_trial_and_not_the_run():
    dispatcher = FakeDispatcher(
        noisy, fails=lambda trial, chunk, _: (trial, chunk) == (1, 2), kind=FailureKind.DIED
    )
    engine, _, _ = run(dispatcher, RunOptions(n_trials=4, trial_retry_attempts=0))
    assert engine.failed is None
    assert [trial.value is None for trial in engine.trials] == [False, True, False, False]
    tries = [job for job in dispatcher.submitted if job[:2] == (1, 2)]
    assert tries == [(1, 2, 1), (1, 2, 2), (1, 2, 3)]
    assert dispatcher.isolated == [(1, 2)] * 2


def test_a_chunk_that_kills_its_process_twice_is_forgiven():
    dispatcher = FakeDispatcher(
        noisy, fails=lambda _, chunk, attempt: chunk == 1 and attempt < 3, kind=FailureKind.DIED
    )
    engine, _, _ = run(dispatcher, RunOptions(n_trials=2, trial_retry_attempts=0))
    assert all(trial.value is not None for trial in engine.trials)


def test_a_chunk_that_takes_too_long_is_not_tried_again():
    dispatcher = FakeDispatcher(
        noisy, fails=lambda trial, chunk, _: trial == 1 == chunk, kind=FailureKind.OVERRAN
    )
    engine, _, _ = run(dispatcher, RunOptions(n_trials=3, trial_retry_attempts=5))
    assert [trial.value is None for trial in engine.trials] == [False, True, False]
    assert [job for job in dispatcher.submitted if job[:2] == (1, 1)] == [(1, 1, 1)]

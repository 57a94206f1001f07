"""The engine with fakes at its ends: what is told depends on no matter of timing."""

from __future__ import annotations

import contextlib
import itertools
import math
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.engine.engine import Engine, Rules
from seedwise.engine.trial import Allocation
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    Proposal,
    TrialOutcome,
    TrialState,
)
from tests.fakes import FakeCases, FakeChannel, FakeFolders, FakeLedger, FakeProposer, Log

PLAN = seed_plan(n_seeds=12, chunk_size=5, seed_start=100)


def noisy(params, seed):
    return math.sin(seed * 12.9898 + params["x"]) * 10.0 ** (seed % 20)


def sometimes_failing(params, seed):
    # About half of the points fail, each on one seed.
    if seed == 100 + int(params["x"] * 10) % 20:
        raise ValueError("no way")
    return noisy(params, seed)


def rules(n_trials: int, k: int = 1, **more) -> Rules:
    """Return rules; as by default, the loss's own error stops the run."""
    return Rules(n_trials, lambda: k, **{"stops_at_failure": True, **more})


class Work:
    """An engine with fakes, and what it was seen to do."""

    def __init__(
        self,
        channel: FakeChannel,
        rules: Rules,
        plan: SeedPlan = PLAN,
        proposer: FakeProposer | None = None,
        ledger: FakeLedger | None = None,
    ) -> None:
        self.proposer = proposer or FakeProposer(rules.direction)
        self.ledger = ledger or FakeLedger()
        self.folders = FakeFolders()
        self.events = []
        self.channel = channel

        def settle(*given):
            self.folders.settle(*given)

        allocation = Allocation(plan)
        self.engine = Engine(rules, allocation, self.proposer, channel, self.ledger, settle)

    @property
    def trials(self):
        return self.proposer.results

    @property
    def best(self):
        return self.events[-1].best

    def begin(self) -> Work:
        self.engine.begin(self.events.append)
        return self

    def to_its_end(self) -> Work:
        self.begin()
        while not self.engine.done:
            self.engine.take(self.channel.results())
        return self


def run(channel, rules, plan: SeedPlan = PLAN) -> Work:
    return Work(channel, rules, plan).to_its_end()


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
    channel = FakeChannel(loss, random.Random(order), largest_batch=largest_batch, repeats=repeats)
    by = rules(n_trials, k, trial_retry_attempts=retries, stops_at_failure=False)
    work = run(channel, by, plan)
    expected = in_words(loss, plan.seeds.tolist(), n_trials, k)
    assert table(work.proposer.outcomes) == table(expected.outcomes)
    assert work.proposer.log == expected.log
    assert [trial.number for trial in work.trials] == list(range(n_trials))
    assert [event.trial for event in work.events] == work.trials
    assert not work.proposer.open
    assert work.engine.n_in_flight == 0


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
    work = run(FakeChannel(noisy, random.Random(order), largest_batch=4), rules(4, k))
    expected: Log = [(word, int(number)) for word, number in map(str.split, log.split(", "))]
    assert work.proposer.log == expected


def test_all_chunks_of_all_trials_in_flight_are_out_at_once():
    work = Work(FakeChannel(noisy), rules(5, 2)).begin()
    assert work.channel.submitted == [(trial, chunk, 1) for trial in (0, 1) for chunk in (0, 1, 2)]
    assert work.engine.n_in_flight == 2
    assert not work.engine.done


@pytest.mark.parametrize("in_order", [True, False])
def test_the_seeds_that_are_done_are_counted_until_their_trial_is_told(in_order):
    work = Work(FakeChannel(noisy), rules(2, 2, in_order=in_order)).begin()
    results, n_done = all_results(work.channel), []
    for key in [(1, 0), (1, 2), (0, 1), (1, 1), (0, 0), (0, 2)]:
        work.engine.take([results[key]])
        n_done.append(work.engine.n_seeds_done)
    assert n_done == ([5, 7, 12, 17, 22, 0] if in_order else [5, 7, 12, 5, 10, 0])


def all_results(channel) -> dict[tuple[int, int], ChunkResult]:
    """Return the results of all chunks that are out, by trial and chunk."""
    results = {}
    while channel.n_out:
        results |= {(result.trial, result.chunk): result for result in channel.results()}
    return results


def test_how_many_may_be_in_flight_is_asked_each_time():
    # A pool that grows when two trials are told, and shrinks when four are.
    limits = [1, 1, 4, 4, 2, 2, 2, 2, 2, 2]
    work = Work(FakeChannel(noisy), Rules(9, lambda: limits[len(work.trials)]))
    work.begin()
    results, n_in_flight = {}, []
    for number in range(9):
        n_in_flight.append(work.engine.n_in_flight)
        results |= all_results(work.channel)
        work.engine.take([results[number, chunk] for chunk in range(3)])
    assert n_in_flight == [1, 1, 4, 4, 3, 2, 2, 2, 1]
    assert work.engine.done


def test_without_further_points_those_in_flight_are_finished_and_no_more():
    proposer = FakeProposer(n_points=3)
    work = Work(FakeChannel(noisy), rules(9, 2), proposer=proposer).to_its_end()
    assert [trial.number for trial in work.trials] == [0, 1, 2]
    assert [event.n_trials for event in work.events] == [9] * 3


def test_a_trial_has_the_standard_error_of_its_mean():
    (trial,) = run(FakeChannel(lambda params, seed: float(seed)), rules(1)).trials
    assert (trial.value, trial.n_seeds) == (105.5, 12)
    assert trial.stderr == pytest.approx(math.sqrt(13 / 12))


@pytest.mark.parametrize("order", range(5))
def test_only_the_failed_chunk_is_evaluated_again(order):
    channel = FakeChannel(
        noisy,
        random.Random(order),
        fails=lambda trial, chunk, attempt: (trial, chunk, attempt) == (1, 2, 1),
    )
    work = run(channel, rules(3, 2, trial_retry_attempts=1))
    assert [trial.state for trial in work.trials] == [TrialState.COMPLETE] * 3
    assert [job for job in channel.submitted if job[2] > 1] == [(1, 2, 2)]
    assert len(channel.submitted) == 10
    assert channel.cancelled == {}
    assert channel.isolated == []


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_chunk_is_evaluated_no_more_often_than_the_rules_say(retries):
    by = rules(1, trial_retry_attempts=retries, stops_at_failure=False)
    for n_failures, state in ((retries, TrialState.COMPLETE), (retries + 1, TrialState.FAIL)):
        channel = FakeChannel(
            noisy,
            fails=lambda trial, chunk, attempt, n=n_failures: chunk == 1 and attempt <= n,
        )
        work = run(channel, by)
        assert work.trials[0].state is state
        again = [job for job in channel.submitted if job[1] == 1]
        assert again == [(0, 1, attempt) for attempt in range(1, retries + 2)]


def test_a_failure_without_a_seed_is_told_without_one():
    channel = FakeChannel(noisy, fails=lambda trial, chunk, attempt: True)
    work = run(channel, rules(1, stops_at_failure=False))
    (outcome,) = work.proposer.outcomes
    assert outcome == TrialOutcome(0, None, None, 0, "Broken: it broke 0")
    assert work.events[0].trial.error == outcome.error


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


@pytest.mark.parametrize(
    ("prunes", "state"), [(False, TrialState.FAIL), (True, TrialState.PRUNED)]
)
def test_a_failed_trial_is_marked_and_the_run_goes_on(prunes, state):
    channel = FakeChannel(fails_in_trial(1))
    work = run(channel, rules(4, trial_retry_attempts=0, stops_at_failure=False, prunes=prunes))
    complete = TrialState.COMPLETE
    assert [trial.state for trial in work.trials] == [complete, state, complete, complete]
    failed = work.trials[1]
    assert (failed.value, failed.stderr, failed.n_seeds) == (None, None, 0)
    outcome = work.proposer.outcomes[1]
    assert outcome.pruned is prunes
    assert outcome.error == work.events[1].trial.error == "seed 103: ValueError: no way"
    assert [event.trial.error for event in (work.events[0], *work.events[2:])] == [None] * 3
    assert [event.failure is None for event in work.events] == [True, False, True, True]
    assert list(channel.cancelled) == [1]
    assert work.engine.failed is None


@pytest.mark.parametrize("order", range(8))
def test_the_first_failure_in_the_order_of_the_seeds_is_told(order):
    # All chunks of trial 1 fail, and come back in any order.
    channel = FakeChannel(
        noisy,
        random.Random(order),
        largest_batch=4,
        fails=lambda trial, chunk, attempt: trial == 1,
    )
    work = run(channel, rules(3, 3, trial_retry_attempts=1, stops_at_failure=False))
    assert [trial.value is None for trial in work.trials] == [False, True, False]
    assert channel.cancelled == {1: 0}
    assert work.proposer.outcomes[1].error == "Broken: it broke 0"


def test_a_failure_that_comes_twice_is_counted_once():
    class Twice(FakeChannel):
        def results(self):
            return [result for result in super().results() for _ in range(2)]

    channel = Twice(noisy, fails=lambda trial, chunk, attempt: attempt == 1)
    work = run(channel, rules(1, trial_retry_attempts=1))
    assert work.trials[0].value is not None


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

    channel = FakeChannel(loss, rng, largest_batch=3)
    work = run(channel, rules(9, 3, trial_retry_attempts=1))
    failed = work.engine.failed
    assert failed.proposal == Proposal(2, points[2])
    assert (failed.failure.seed, failed.chunk_start) == (103, 100)
    assert (failed.failure.exception_type, failed.failure.traceback) == (
        "ValueError",
        "trace: no way",
    )
    assert [trial.state.value for trial in work.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert work.events[-1].failure.seed == 103
    # They stay as they are, for when the run goes on.
    assert sorted(work.proposer.open) == [3, 4]
    assert work.engine.n_in_flight == 2
    assert work.best is min(work.trials[:2], key=lambda trial: trial.value)


def failing_from(number):
    return lambda trial, chunk, attempt: trial >= number and chunk == 1


def test_the_trial_to_stop_at_is_noted_before_it_is_told():
    proposer, noted = FakeProposer(), []

    def note(failed) -> bool:
        proposer.log.append(("note", failed.proposal.number))
        noted.append(failed)
        return True

    channel = FakeChannel(noisy, fails=failing_from(1))
    by = rules(9, 2, trial_retry_attempts=0, note_stop=note)
    work = Work(channel, by, proposer=proposer)
    work.folders.log = proposer.log
    work.to_its_end()
    assert noted == [work.engine.failed]
    assert (noted[0].proposal.number, noted[0].chunk_start) == (1, 105)
    assert proposer.log[-3:] == [("settle", 1), ("note", 1), ("tell", 1)]


def test_a_trial_at_which_it_stopped_before_is_gone_past():
    channel = FakeChannel(noisy, fails=failing_from(1))
    by = rules(9, 2, trial_retry_attempts=0, note_stop=lambda failed: failed.proposal.number > 3)
    work = run(channel, by)
    assert work.engine.failed.proposal.number == 4
    assert [trial.value is None for trial in work.trials] == [False] + [True] * 4


def test_a_trial_that_can_not_be_noted_is_not_told():
    def full(failed) -> bool:
        raise OSError("no room")

    channel = FakeChannel(noisy, fails=failing_from(1))
    work = Work(channel, rules(9, 2, trial_retry_attempts=0, note_stop=full))
    with pytest.raises(OSError, match="no room"):
        work.to_its_end()
    assert [trial.number for trial in work.trials] == [0]
    assert work.engine.failed is None
    assert sorted(work.proposer.open) == [1, 2]


@pytest.mark.parametrize("kind", [FailureKind.DIED, FailureKind.OVERRAN])
def test_what_does_not_stop_the_run_is_not_noted(kind):
    noted = []
    channel = FakeChannel(noisy, fails=failing_from(1), kind=kind)
    run(channel, rules(3, note_stop=noted.append))
    run(FakeChannel(noisy, fails=failing_from(1)), rules(3, stops_at_failure=False))
    assert noted == []


@pytest.mark.parametrize("in_order", [True, False])
def test_when_a_trial_is_told_the_next_is_in_flight_already(in_order):
    work = Work(FakeChannel(noisy), rules(6, 2, in_order=in_order))
    n_in_flight = []
    work.engine.begin(lambda event: n_in_flight.append(work.engine.n_in_flight))
    while not work.engine.done:
        work.engine.take(work.channel.results())
    assert n_in_flight == [2, 2, 2, 2, 1, 0]


def test_no_trial_is_asked_for_out_of_time_and_those_in_flight_are_finished():
    by = rules(10, 2, out_of_time=lambda: work.proposer.n_asked >= 3)
    work = Work(FakeChannel(noisy), by)
    work.to_its_end()
    assert work.proposer.log == [
        ("ask", 0),
        ("ask", 1),
        ("tell", 0),
        ("ask", 2),
        ("tell", 1),
        ("tell", 2),
    ]
    assert {trial.state for trial in work.trials} == {TrialState.COMPLETE}


def test_a_run_that_has_no_time_has_no_trial():
    work = run(FakeChannel(noisy), rules(3, out_of_time=lambda: True))
    assert (work.trials, work.proposer.log, work.events) == ([], [], [])
    assert work.engine.done


@pytest.mark.parametrize(("direction", "pick"), [("minimize", min), ("maximize", max)])
def test_the_best_is_known_at_every_event(direction, pick):
    work = run(FakeChannel(noisy), rules(8, direction=direction))
    for n_told, event in enumerate(work.events, start=1):
        assert event.n_trials == 8
        assert event.best == pick(work.trials[:n_told], key=lambda trial: trial.value)
    assert len({event.best.number for event in work.events}) > 1


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("order", range(4))
def test_of_equal_trials_the_first_is_best(direction, in_order, order):
    channel = FakeChannel(lambda params, seed: 1.0, random.Random(order), largest_batch=3)
    work = run(channel, rules(5, 3, direction=direction, in_order=in_order))
    assert work.best.number == 0


def test_a_failed_trial_is_never_best():
    by = rules(3, trial_retry_attempts=0, stops_at_failure=False)
    work = run(FakeChannel(fails_in_trial(0)), by)
    assert work.events[0].best is None
    assert work.best.number in (1, 2)


# A run that is stopped and gone on with.


def resumed(loss, by, plans, rng) -> tuple[FakeProposer, FakeLedger, list[FakeChannel]]:
    """Run to an interrupt again and again, with other chunks each time, and then to the end."""
    proposer, ledger, channels = FakeProposer(), FakeLedger(), []
    for plan in plans:
        last = plan is plans[-1]
        channels.append(
            FakeChannel(loss, rng, largest_batch=3, waits=None if last else rng.randint(0, 9))
        )
        with contextlib.suppress(KeyboardInterrupt):
            Work(channels[-1], by, plan, proposer, ledger).to_its_end()
    return proposer, ledger, channels


def require_each_seed_once(ledger) -> None:
    covered = [
        (proposal.number, result.start + offset)
        for proposal, result in ledger.entries
        if result.losses is not None
        for offset in range(result.n_seeds)
    ]
    assert len(covered) == len(set(covered)), "a seed was evaluated again that was on record"


@given(
    loss=st.sampled_from([noisy, sometimes_failing]),
    k=st.integers(1, 5),
    retries=st.integers(0, 2),
    chunk_sizes=st.lists(st.integers(1, 13), min_size=1, max_size=5),
    order=st.integers(0, 2**32),
)
def test_a_run_that_was_stopped_goes_on_to_the_same_trials(loss, k, retries, chunk_sizes, order):
    by = rules(8, k, trial_retry_attempts=retries, stops_at_failure=False)
    plans = [seed_plan(n_seeds=12, chunk_size=size, seed_start=100) for size in chunk_sizes]
    proposer, ledger, _ = resumed(loss, by, plans, random.Random(order))
    expected = in_words(loss, plans[0].seeds.tolist(), 8, k)
    assert table(proposer.outcomes) == table(expected.outcomes)
    assert proposer.log == expected.log
    require_each_seed_once(ledger)


def test_no_seed_on_record_is_evaluated_again():
    _, ledger, channels = resumed(noisy, rules(6, 2), [PLAN] * 4, random.Random(4))
    first = {
        (p.number, int(s)) for p, r in ledger.entries for s in PLAN.seeds[r.start :][: r.n_seeds]
    }
    assert len(first) == 6 * 12
    for earlier, later in itertools.pairwise(channels):
        lost = set(earlier.seeds) & set(later.seeds)
        assert len(lost) <= 2 * 12  # no more than what was in flight


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_on_record_in_whole_is_told_without_a_result(in_order):
    ledger = FakeLedger()
    numbers = range(5)
    whole = Work(FakeChannel(noisy), rules(5, 2), ledger=ledger, proposer=FakeCases(numbers))
    whole.to_its_end()
    channel = FakeChannel(noisy)
    by = rules(5, 2, in_order=in_order)
    again = Work(channel, by, proposer=FakeCases(numbers), ledger=ledger).begin()
    assert again.engine.done
    assert channel.submitted == []
    assert table(again.proposer.outcomes) == table(whole.proposer.outcomes)


def test_the_best_of_before_is_the_best_to_beat():
    proposer = FakeProposer()
    for n_trials in (3, 6):
        work = Work(FakeChannel(noisy), rules(n_trials), proposer=proposer).to_its_end()
    assert len(work.events) == 3
    for event in work.events:
        told = work.trials[: event.trial.number + 1]
        assert event.best is min(told, key=lambda trial: trial.value)


class Checked(FakeProposer):
    """Looks whether a trial's results are on record for good when it is told."""

    def __init__(self, ledger: FakeLedger) -> None:
        super().__init__()
        self.ledger = ledger

    def tell(self, outcome):
        of_trial = [r for p, r in self.ledger.entries if p.number == outcome.number]
        assert sum(result.n_seeds for result in of_trial) == 12
        assert self.ledger.n_synced == len(self.ledger.entries)
        return super().tell(outcome)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_trial_that_is_told_is_on_record_for_good(in_order):
    ledger = FakeLedger()
    channel = FakeChannel(noisy, largest_batch=2)
    by = rules(5, 2, in_order=in_order)
    work = Work(channel, by, proposer=Checked(ledger), ledger=ledger).to_its_end()
    assert len(work.trials) == 5


def test_a_result_that_can_not_be_recorded_does_not_count():
    class Full(FakeLedger):
        def record(self, entries):
            if len(self.entries) >= 4:
                raise OSError("no room")
            super().record(entries)

    proposer = FakeProposer()
    work = Work(FakeChannel(noisy), rules(9), proposer=proposer, ledger=Full())
    with pytest.raises(OSError, match="no room"):
        work.to_its_end()
    assert [outcome.number for outcome in proposer.outcomes] == [0]
    Work(FakeChannel(noisy), rules(9), proposer=proposer).to_its_end()
    expected = in_words(noisy, PLAN.seeds.tolist(), 9, 1)
    assert table(proposer.outcomes) == table(expected.outcomes)


def test_n_trials_is_a_total():
    proposer, ledger = FakeProposer(), FakeLedger()
    for n_trials, n_told in ((3, 3), (2, 3), (5, 5), (5, 5)):
        work = Work(FakeChannel(noisy), rules(n_trials), proposer=proposer, ledger=ledger)
        work.to_its_end()
        assert len(work.trials) == len(proposer.outcomes) == n_told


def test_a_failed_attempt_that_is_on_record_counts():
    by = rules(1, trial_retry_attempts=2, stops_at_failure=False)
    proposer, ledger = FakeProposer(), FakeLedger()
    attempts = []
    for waits in (2, 2, None):
        channel = FakeChannel(noisy, waits=waits, fails=lambda t, chunk, a: chunk == 0)
        with contextlib.suppress(KeyboardInterrupt):
            Work(channel, by, seed_plan(n_seeds=3), proposer, ledger).to_its_end()
        attempts += [attempt for _, chunk, attempt in channel.submitted if chunk == 0]
    assert proposer.outcomes[0].state is TrialState.FAIL
    assert sorted(set(attempts)) == [1, 2, 3]
    failures = [result for _, result in ledger.entries if result.failure is not None]
    assert len(failures) == 3


@pytest.mark.parametrize("at", ["settle", "tell"])
def test_a_trial_that_can_not_be_told_is_still_in_flight(at):
    work = Work(FakeChannel(noisy), rules(4, 2))
    part = {"settle": work.folders, "tell": work.proposer}[at]
    method = getattr(part, at)

    def interrupted(*args):
        if len(work.trials) == 1:
            raise KeyboardInterrupt
        return method(*args)

    setattr(part, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        work.to_its_end()
    assert [trial.number for trial in work.trials] == [0]
    assert work.engine.n_in_flight == 2
    assert not work.engine.done


def test_what_nobody_waits_for_is_not_recorded():
    work = Work(FakeChannel(noisy, repeats=True), rules(3, 2)).to_its_end()
    assert len(work.ledger.entries) == 9
    for late in [result for _, result in work.ledger.entries]:
        work.engine.take([late])
    work.engine.take([attrs.evolve(late, trial=99)])
    assert len(work.ledger.entries) == 9
    assert len(work.trials) == 3


# Chunks that kill their process.


def test_a_chunk_that_kills_its_process_three_times_fails_its_trial_and_not_the_run():
    channel = FakeChannel(
        noisy, fails=lambda trial, chunk, _: (trial, chunk) == (1, 2), kind=FailureKind.DIED
    )
    work = run(channel, rules(4, trial_retry_attempts=0))
    assert work.engine.failed is None
    assert [trial.value is None for trial in work.trials] == [False, True, False, False]
    tries = [job for job in channel.submitted if job[:2] == (1, 2)]
    assert tries == [(1, 2, 1), (1, 2, 2), (1, 2, 3)]
    assert channel.isolated == [(1, 2)] * 2


def test_a_chunk_that_kills_its_process_twice_is_forgiven():
    channel = FakeChannel(
        noisy, fails=lambda _, chunk, attempt: chunk == 1 and attempt < 3, kind=FailureKind.DIED
    )
    work = run(channel, rules(2, trial_retry_attempts=0))
    assert all(trial.value is not None for trial in work.trials)


def test_a_chunk_that_takes_too_long_is_not_tried_again():
    channel = FakeChannel(
        noisy, fails=lambda trial, chunk, _: trial == 1 == chunk, kind=FailureKind.OVERRAN
    )
    work = run(channel, rules(3, trial_retry_attempts=5))
    assert work.engine.failed is None
    assert [trial.value is None for trial in work.trials] == [False, True, False]
    assert [job for job in channel.submitted if job[:2] == (1, 1)] == [(1, 1, 1)]


# Trials that are told as they come.


def one_by_one(loss, numbers) -> list[TrialOutcome]:
    """Return the outcomes of cases in the plainest way, by number."""
    cases = FakeCases(numbers)
    channel = FakeChannel(loss)
    by = rules(len(numbers), stops_at_failure=False)
    return Work(channel, by, proposer=cases).to_its_end().proposer.outcomes


def by_number(outcomes) -> list[TrialOutcome]:
    return sorted(outcomes, key=lambda outcome: outcome.number)


@given(
    loss=st.sampled_from([noisy, sometimes_failing]),
    n_trials=st.integers(1, 8),
    k=st.integers(1, 9),
    chunk_size=st.integers(1, 13),
    largest_batch=st.integers(1, 9),
    retries=st.integers(0, 2),
    repeats=st.booleans(),
    order=st.integers(0, 2**32),
)
def test_out_of_order_the_same_outcomes_are_told_for_any_chunks_and_order(
    loss, n_trials, k, chunk_size, largest_batch, retries, repeats, order
):
    plan = seed_plan(n_seeds=12, chunk_size=chunk_size, seed_start=100)
    channel = FakeChannel(loss, random.Random(order), largest_batch=largest_batch, repeats=repeats)
    by = rules(n_trials, k, in_order=False, trial_retry_attempts=retries, stops_at_failure=False)
    work = Work(channel, by, plan, FakeCases(range(n_trials))).to_its_end()
    expected = one_by_one(loss, range(n_trials))
    assert table(by_number(work.proposer.outcomes)) == table(expected)
    assert [event.trial for event in work.events] == work.trials
    complete = [trial for trial in work.trials if trial.value is not None]
    assert work.best == min(complete, key=lambda trial: (trial.value, trial.number), default=None)
    assert not work.proposer.open


def test_out_of_order_a_trial_does_not_wait_for_the_one_before_it():
    work = Work(FakeChannel(noisy), rules(4, 2, in_order=False)).begin()
    results = all_results(work.channel)
    work.engine.take([results[1, chunk] for chunk in (2, 0, 1)])
    assert [trial.number for trial in work.trials] == [1]
    assert work.proposer.log == [("ask", 0), ("ask", 1), ("tell", 1), ("ask", 2)]
    work.engine.take([results[0, chunk] for chunk in (0, 2, 1)])
    assert [trial.number for trial in work.trials] == [1, 0]
    assert work.engine.n_in_flight == 2


def test_in_order_a_trial_waits_for_the_one_before_it():
    work = Work(FakeChannel(noisy), rules(4, 2)).begin()
    results = all_results(work.channel)
    work.engine.take([results[1, chunk] for chunk in (2, 0, 1)])
    assert work.trials == []
    work.engine.take([results[0, chunk] for chunk in (0, 2, 1)])
    assert [trial.number for trial in work.trials] == [0, 1]


@given(
    loss=st.sampled_from([noisy, sometimes_failing]),
    k=st.integers(1, 5),
    chunk_sizes=st.lists(st.integers(1, 13), min_size=1, max_size=5),
    order=st.integers(0, 2**32),
)
def test_cases_that_were_stopped_go_on_to_the_same_outcomes(loss, k, chunk_sizes, order):
    rng = random.Random(order)
    by = rules(8, k, in_order=False, stops_at_failure=False)
    ledger, told, outcomes = FakeLedger(), [], []
    plans = [seed_plan(n_seeds=12, chunk_size=size, seed_start=100) for size in chunk_sizes]
    for plan in plans:
        waits = None if plan is plans[-1] else rng.randint(0, 9)
        left = [number for number in range(8) if number not in {t.number for t in told}]
        cases = FakeCases(left, told)
        channel = FakeChannel(loss, rng, largest_batch=3, waits=waits)
        with contextlib.suppress(KeyboardInterrupt):
            Work(channel, by, plan, cases, ledger).to_its_end()
        told, outcomes = cases.results, [*outcomes, *cases.outcomes]
    assert table(by_number(outcomes)) == table(one_by_one(loss, range(8)))
    require_each_seed_once(ledger)


def test_out_of_order_all_that_is_decided_together_is_told_before_the_run_stops():
    channel = FakeChannel(noisy, fails=lambda trial, chunk, attempt: trial == 0)
    work = Work(channel, rules(9, 3, in_order=False, trial_retry_attempts=0)).begin()
    work.engine.take(list(all_results(channel).values()))
    assert work.engine.failed.proposal.number == 0
    assert work.engine.done
    assert [trial.number for trial in work.trials] == [0, 1, 2]
    assert work.proposer.n_asked == 3


# Files that the loss writes.


def kept(number, by_start) -> list[str]:
    return [f"trial_{number}-{start}-{attempt}" for start, attempt in by_start]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("order", range(5))
def test_files_are_settled_before_their_trial_is_told_in_the_order_of_the_seeds(in_order, order):
    channel = FakeChannel(noisy, random.Random(order), largest_batch=4, repeats=True)
    proposer = FakeProposer()
    work = Work(channel, rules(5, 3, in_order=in_order), proposer=proposer)
    work.folders.log = proposer.log
    work.to_its_end()
    steps = [entry for entry in proposer.log if entry[0] != "ask"]
    assert steps == [(word, trial.number) for trial in work.trials for word in ("settle", "tell")]
    params = {trial.number: trial.params for trial in work.trials}
    for number, accepted, about in work.folders.settled:
        assert accepted == kept(number, [(0, 1), (5, 1), (10, 1)])
        assert about == {"number": number, "params": params[number]}


@pytest.mark.parametrize("order", range(5))
def test_of_a_chunk_that_is_tried_again_the_files_of_the_last_attempt_are_kept(order):
    channel = FakeChannel(
        noisy,
        random.Random(order),
        largest_batch=3,
        fails=lambda trial, chunk, attempt: chunk == 1 and attempt < 3,
    )
    work = run(channel, rules(2, 2, trial_retry_attempts=2))
    for number, accepted, _ in work.folders.settled:
        assert accepted == kept(number, [(0, 1), (5, 3), (10, 1)])


@pytest.mark.parametrize("order", range(8))
def test_of_a_failed_trial_the_files_up_to_its_failure_are_kept_whatever_came_first(order):
    channel = FakeChannel(
        noisy,
        random.Random(order),
        largest_batch=2,
        fails=lambda trial, chunk, attempt: trial == 1 and chunk in (1, 2),
    )
    work = run(channel, rules(3, 3, trial_retry_attempts=1, stops_at_failure=False))
    settled = {number: accepted for number, accepted, _ in work.folders.settled}
    assert settled == {
        0: kept(0, [(0, 1), (5, 1), (10, 1)]),
        1: kept(1, [(0, 1), (5, 2)]),
        2: kept(2, [(0, 1), (5, 1), (10, 1)]),
    }


def test_files_of_before_are_settled_with_those_of_now():
    proposer, ledger = FakeProposer(), FakeLedger()
    first = Work(FakeChannel(noisy), rules(1), proposer=proposer, ledger=ledger).begin()
    first.engine.take([all_results(first.channel)[0, 1]])
    before = {result.folder for _, result in ledger.entries}
    assert before == {"trial_0-5-1"}
    again = Work(FakeChannel(noisy), rules(1), proposer=proposer, ledger=ledger).to_its_end()
    ((_, accepted, _),) = again.folders.settled
    assert accepted == kept(0, [(0, 1), (5, 1), (10, 1)])
    assert {job[:2] for job in again.channel.submitted} == {(0, 0), (0, 1)}

"""Which seeds trials get: the same values as one seed after the other, whatever the timing."""

from __future__ import annotations

import contextlib
import math
import random

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.engine.engine import Engine, Rules
from seedwise.engine.trial import Racing
from seedwise.model.options.race import Race
from seedwise.model.racing import dropped_estimate, is_worse, looks
from seedwise.model.seeds import seed_plan
from seedwise.model.statistics import estimate
from seedwise.model.trials import FailureKind, TrialOutcome, TrialState, best_trial
from tests.builders import trial
from tests.fakes import FakeChannel, FakeFolders, FakeLedger, FakeProposer

N_PLAN = 20
RACES = [
    Race(first_look=3, growth=1.7),
    Race(first_look=2, contender_seeds=13, level=0.5),
    Race(first_look=6, contender_seeds=6),
    False,
]


def noisy(params, seed):
    return params["x"] + 4 * math.sin(seed * 12.9898 + params["x"])


def sometimes_failing(params, seed):
    # About half of the points fail, each on one seed, which may come after they are dropped.
    if seed == 100 + int(params["x"] * 100) % 40:
        raise ValueError("no way")
    return noisy(params, seed)


def mirrored(loss):
    return lambda params, seed: -loss(params, seed)


def plan_of(chunk_size=5):
    return seed_plan(n_seeds=N_PLAN, chunk_size=chunk_size, seed_start=100)


class InWords:
    """Does what a race promises in the plainest way: one seed after the other."""

    def __init__(self, loss, race, n_trials, k) -> None:
        self.proposer = FakeProposer()
        self.loss, self.k, self.looks = loss, k, looks(race, N_PLAN)
        self.losses, self.incumbents = {}, {}
        for _ in range(min(k, n_trials)):
            self.ask()
        for number in range(n_trials):
            self.proposer.tell(self.outcome(number))
            if self.proposer.n_asked < n_trials:
                self.ask()

    def ask(self) -> None:
        number, sizes = self.proposer.n_asked, self.looks.sizes
        whole = [one for one in self.proposer.results if one.n_seeds == sizes[-1]]
        assert all(one.number <= number - self.k for one in whole)
        self.incumbents[number] = best_trial(whole, "minimize") if len(sizes) > 1 else None
        self.proposer.ask()

    def outcome(self, number) -> TrialOutcome:
        losses = self.losses[number] = np.full(N_PLAN, np.nan)
        n_looks, incumbent = len(self.looks.sizes), self.incumbents[number]
        for look in range(n_looks if incumbent else 1):
            last = incumbent is None or look == n_looks - 1
            wanted = self.looks.wanted(number, -1 if last else look)
            try:
                self.evaluate(number, wanted)
            except ValueError as problem:
                return TrialOutcome(number, None, None, 0, str(problem))
            if not last and (told := self.dropped(losses, incumbent, wanted)):
                return attrs.evolve(told, number=number)
        found = estimate(losses[wanted])
        return TrialOutcome(number, found.mean, found.stderr, found.n_seeds)

    def evaluate(self, number, wanted) -> None:
        losses, params = self.losses[number], self.proposer.open[number].params
        for place in np.flatnonzero(wanted & np.isnan(losses)):
            try:
                losses[place] = self.loss(params, 100 + int(place))
            except ValueError as problem:
                raise ValueError(f"seed {100 + place}: ValueError: {problem}") from None

    def dropped(self, losses, incumbent, wanted) -> TrialOutcome | None:
        theirs, whole = self.losses[incumbent.number], self.looks.wanted(0, -1)
        if not is_worse((losses - theirs)[wanted], self.looks.level):
            return None
        told = dropped_estimate(losses[whole], theirs[whole], wanted[whole])
        raw = estimate(losses[wanted]).mean
        return TrialOutcome(-1, told.mean, told.stderr, told.n_seeds, raw_value=raw)


def in_words(loss, race, n_trials, k) -> FakeProposer:
    return InWords(loss, race, n_trials, k).proposer


def known(k):
    return lambda told, asked: told <= asked - k


class Work:
    """An engine that races, with fakes at its ends."""

    def __init__(self, channel, race, k=1, n_trials=12, proposer=None, **more) -> None:
        direction = more.get("direction", "minimize")
        self.channel = channel
        self.proposer = proposer or FakeProposer(direction)
        self.ledger = more.pop("ledger", None) or FakeLedger()
        self.folders = FakeFolders()
        plan = plan_of(more.pop("chunk_size", 5))
        self.racing = Racing(
            plan, looks(race, N_PLAN), direction, known(k), self.proposer.results, self.read
        )
        most = more.pop("max_total_seeds", math.inf)

        def in_flight() -> int:
            return k if sum(one.n_seeds for one in self.proposer.results) < most else 0

        rules = Rules(n_trials, in_flight, **more)
        self.engine = Engine(
            rules, self.racing, self.proposer, channel, self.ledger, self.folders.settle
        )

    def read(self, number):
        losses = np.full(N_PLAN, np.nan)
        for proposal, result in self.ledger.entries:
            if proposal.number == number and result.losses is not None:
                losses[result.start : result.start + result.n_seeds] = result.losses
        return losses

    def to_its_end(self) -> Work:
        self.engine.begin(lambda _: None)
        while not self.engine.done:
            self.engine.take(self.channel.results())
        return self


def table(outcomes):
    return [
        (o.number, *(v and v.hex() for v in (o.value, o.stderr, o.raw_value)), o.n_seeds, o.error)
        for o in outcomes
    ]


CASES = {
    "loss": st.sampled_from([noisy, sometimes_failing]),
    "race": st.sampled_from(RACES),
    "k": st.sampled_from([1, 2, 4]),
    "order": st.integers(0, 2**32),
    "room": st.sampled_from([0, 1]),
}


@given(
    chunk_size=st.integers(1, 21),
    largest_batch=st.integers(1, 6),
    retries=st.integers(0, 1),
    repeats=st.booleans(),
    **CASES,
)
def test_the_told_values_are_the_same_bits_whatever_the_timing(
    loss, race, k, order, room, chunk_size, largest_batch, retries, repeats
):
    channel = FakeChannel(loss, random.Random(order), largest_batch=largest_batch, repeats=repeats)
    work = Work(
        channel,
        race,
        k,
        chunk_size=chunk_size,
        trial_retry_attempts=retries,
        room=lambda: room,
    ).to_its_end()
    expected = in_words(loss, race, 12, k)
    assert table(work.proposer.outcomes) == table(expected.outcomes)
    assert work.proposer.log == expected.log
    best = work.proposer.best
    assert best is None or best.n_seeds == looks(race, N_PLAN).sizes[-1]
    if not room:
        assert work.engine.n_seeds_unused == 0
        assert len(channel.seeds) == len(set(channel.seeds)) or retries


@pytest.mark.parametrize("race", RACES[:2])
@pytest.mark.parametrize("loss", [noisy, sometimes_failing])
def test_the_cases_are_of_all_kinds(race, loss):
    """If this fails, the equality above may hold for the wrong reason."""
    outcomes = [one for k in (1, 2, 4) for one in in_words(loss, race, 12, k).outcomes]
    kinds = {(one.error is not None, one.raw_value is not None) for one in outcomes}
    assert kinds >= {(False, True), (False, False)}
    assert (loss is noisy) or (True, False) in kinds
    assert len({one.n_seeds for one in outcomes if one.raw_value is not None}) > 1


@given(chunk_sizes=st.lists(st.integers(1, 21), min_size=2, max_size=5), **CASES)
def test_a_killed_race_is_resumed_to_the_same_values(loss, race, k, order, room, chunk_sizes):
    rng = random.Random(order)
    proposer, ledger = FakeProposer(), FakeLedger()
    for index, chunk_size in enumerate(chunk_sizes):
        waits = None if index == len(chunk_sizes) - 1 else rng.randint(0, 12)
        channel = FakeChannel(loss, rng, largest_batch=3, waits=waits)
        more = {"chunk_size": chunk_size, "room": lambda: room, "trial_retry_attempts": 0}
        with contextlib.suppress(KeyboardInterrupt):
            Work(channel, race, k, proposer=proposer, ledger=ledger, **more).to_its_end()
    expected = in_words(loss, race, 12, k)
    assert table(proposer.outcomes) == table(expected.outcomes)
    recorded = [
        (proposal.number, result.start + place)
        for proposal, result in ledger.entries
        if result.losses is not None
        for place in range(result.n_seeds)
    ]
    assert len(recorded) == len(set(recorded))


@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("k", [1, 3])
def test_to_maximise_mirrors_to_minimise(race, k):
    # The points of both must be the same: they depend on what is told.
    class Mirrored(FakeProposer):
        def tell(self, outcome):
            told = super().tell(outcome)
            mirror = attrs.evolve(outcome, value=outcome.value and -outcome.value)
            self.outcomes[-1] = mirror
            return told

    low = Work(FakeChannel(noisy), race, k).to_its_end().proposer
    high = Mirrored("maximize")
    Work(FakeChannel(mirrored(noisy)), race, k, proposer=high, direction="maximize").to_its_end()
    assert [one.value for one in low.results] == [-one.value for one in high.results]
    for mine, other in zip(low.results, high.results, strict=True):
        assert (mine.n_seeds, mine.stderr) == (other.n_seeds, other.stderr)
        assert (mine.raw_value or 0) == -(other.raw_value or 0)


class Numbered(Work):
    """A race of trials with these values, and the same noise in all; it ends as it is made."""

    def __init__(self, values, race, k=1, *, order=0, **more) -> None:
        def loss(params, seed):
            asked = self.proposer.open.items()  # without those that are told already
            value = values[next((n for n, one in asked if one.params == params), 0)]
            return value(seed) if callable(value) else value + math.sin(seed)

        channel = FakeChannel(loss, random.Random(order), largest_batch=3, **more.pop("out", {}))
        super().__init__(channel, race, k, **{"n_trials": len(values), "chunk_size": 1, **more})
        self.to_its_end()

    @property
    def n_seeds(self):
        return [one.n_seeds for one in self.proposer.results]


def test_the_incumbent_is_the_one_as_of_asking():
    # Trial 2 is asked for when trial 0 is told, and not trial 1, which is better.
    race = Race(first_look=2, growth=9.0)
    for k, n_seeds in ((1, 2), (2, N_PLAN)):
        assert Numbered([5.0, 1.0, 3.0], race, k).n_seeds == [N_PLAN, N_PLAN, n_seeds]


def test_an_incumbent_was_told_whole_and_early_enough():
    own = looks(Race(first_look=2, growth=9.0), N_PLAN)
    told = [
        trial(0, 5.0, n_seeds=N_PLAN),
        trial(1, 1.0, n_seeds=2, raw_value=1.5),
        trial(2, None),
        trial(3, 3.0, n_seeds=N_PLAN),
        trial(4, 3.0, n_seeds=N_PLAN),
    ]
    read = {number: np.full(N_PLAN, float(number)) for number in range(5)}
    racing = Racing(plan_of(), own, "minimize", known(2), told, read.get)
    found = [racing.seeds_of(number).incumbent for number in range(8)]
    assert [one if one is None else one[0] for one in found] == [None, None, 0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize("order", range(10))
def test_a_failure_in_a_look_that_came_early_does_not_count_if_the_trial_is_dropped(order):
    def poor(seed):
        if seed > 101:
            raise ValueError("no way")
        return 9.0 + math.sin(seed)

    more = {"room": lambda: 1, "trial_retry_attempts": 0, "stops_at_failure": True}
    work = Numbered([0.0, poor], Race(first_look=2), order=order, **more)
    assert work.engine.failed is None
    assert work.n_seeds == [N_PLAN, 2]
    assert work.folders.settled[1][1] == ["trial_1-0-1", "trial_1-1-1"]


@pytest.mark.parametrize("kind", list(FailureKind))
@pytest.mark.parametrize("order", range(3))
def test_a_failure_in_a_look_that_came_early_counts_if_the_trial_comes_to_it(kind, order):
    out = {"fails": lambda number, chunk, attempt: number == 1 and chunk == 3, "kind": kind}
    more = {"room": lambda: 1, "trial_retry_attempts": 0}
    work = Numbered([2.0, 1.0], Race(first_look=2), order=order, out=out, **more)
    assert [one.state for one in work.proposer.results] == [TrialState.COMPLETE, TrialState.FAIL]
    assert work.proposer.outcomes[1].error == "Broken: it broke 3"


@pytest.mark.parametrize("order", range(40))
def test_what_was_evaluated_early_and_not_needed_is_counted(order):
    work = Numbered([0.0, 9.0], Race(first_look=2), order=order, room=lambda: 1)
    assert work.n_seeds == [N_PLAN, 2]
    assert len([seed for number, seed in work.channel.seeds if number == 1]) == N_PLAN
    assert work.channel.cancelled == {1: 2}
    n_recorded = sum(proposal.number == 1 for proposal, _ in work.ledger.entries)
    assert work.engine.n_seeds_unused == n_recorded - 2


def test_a_look_begins_early_only_while_there_is_room():
    rooms = iter([1, 1, 0])
    work = Work(FakeChannel(noisy), Race(first_look=2), chunk_size=2, room=lambda: next(rooms))
    work.engine.begin(lambda _: None)
    while work.proposer.n_asked < 2:
        work.engine.take(work.channel.results())
    assert [chunk for number, chunk, _ in work.channel.submitted if number == 1] == [0, 1, 2, 3]


@pytest.mark.parametrize(("most", "n_trials"), [(1, 1), (20, 1), (21, 2), (40, 2), (239, 12)])
def test_no_trial_is_asked_for_once_the_told_ones_have_all_the_seeds(most, n_trials):
    work = Work(FakeChannel(noisy), False, max_total_seeds=most).to_its_end()
    assert len(work.proposer.results) == n_trials


@pytest.mark.parametrize("order", range(5))
def test_the_seeds_of_trials_in_flight_do_not_count_before_they_are_told(order):
    channel = FakeChannel(noisy, random.Random(order), largest_batch=4)
    work = Work(channel, False, 3, max_total_seeds=2 * N_PLAN).to_its_end()
    # When trial 1 is told, 2 and 3 are in flight.
    assert len(work.proposer.results) == 4
    again = Work(FakeChannel(noisy), False, 3, proposer=work.proposer, max_total_seeds=2 * N_PLAN)
    assert len(again.to_its_end().proposer.results) == 4


def test_seeds_that_were_not_needed_are_not_of_the_limit():
    values, most = [0.0] + [9.0] * 11, N_PLAN + 3 * 2
    more = {"max_total_seeds": most, "room": lambda: 1}
    assert Numbered(values, Race(first_look=2), **more).n_seeds == [N_PLAN, 2, 2, 2]

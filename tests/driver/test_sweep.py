"""Where the points of a sweep come from, and where it is kept how they turned out."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from seedwise.driver import sweep as module
from seedwise.driver.sweep import SweepProposer
from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import TrialTable, read_rows
from seedwise.model.options.study import SweepOptions
from seedwise.model.points import Cases
from seedwise.model.sources import grid
from seedwise.model.space import checked_space
from seedwise.model.trials import Proposal, TrialOutcome, TrialResult, TrialState

CASES = Cases(
    grid(x=[0.0, 0.5, 1.0], n=[1, 2]), SweepOptions(), checked_space({"x": (0, 1), "n": (1, 2)})
)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "trials.table"


@pytest.fixture
def table(path):
    with TrialTable(path) as table:
        yield table


def proposer(table, numbers=range(6), best=None) -> SweepProposer:
    return SweepProposer(CASES, table, iter(numbers), best)


def complete(number: int, value: float) -> TrialOutcome:
    return TrialOutcome(number, value, 0.25, 12)


def test_each_case_is_asked_for_once_in_the_order_of_the_numbers(table):
    source = proposer(table, [4, 0, 2])
    assert [source.ask() for _ in range(4)] == [
        *(Proposal(number, CASES.params(number)) for number in (4, 0, 2)),
        None,
    ]
    assert source.n_asked == 3
    assert source.ask() is None


def test_numbers_are_drawn_when_they_are_asked_for(table):
    drawn = []
    endless = (drawn.append(number) or number % 6 for number in itertools.count())
    source = proposer(table, endless)
    for n_asked in range(4):
        assert len(drawn) == source.n_asked == n_asked
        source.ask()


def test_what_was_in_flight_is_not_known_here(table):
    source = proposer(table)
    source.ask()
    assert list(source.unfinished()) == []


def test_told_trials_are_in_the_table(table, path, monkeypatch):
    now = iter([100.0, 101.0, 104.5, 110.0])
    # Not the clock of all: event loops in other threads have it, too.
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    source = proposer(table)
    for _ in range(2):
        source.ask()
    whole = TrialOutcome(1, 1 / 3, 0.25, 12, components={"cost": 2.0, "risk": math.inf})
    failed = TrialOutcome(0, None, None, 0, "seed 3: ValueError: no")
    assert source.tell(whole) == TrialResult(
        number=1,
        params=CASES.params(1),
        value=1 / 3,
        stderr=0.25,
        n_seeds=12,
        state=TrialState.COMPLETE,
        duration_s=3.5,
        components={"cost": 2.0, "risk": math.inf},
    )
    assert source.tell(failed) == TrialResult(
        number=0,
        params=CASES.params(0),
        value=None,
        stderr=None,
        n_seeds=0,
        state=TrialState.FAIL,
        duration_s=10.0,
        error="seed 3: ValueError: no",
    )
    assert table.counts == {TrialState.COMPLETE: 1, TrialState.FAIL: 1}
    rows = read_rows(path)
    assert rows.number.tolist() == [0, 1]
    assert rows.value.tolist()[1] == 1 / 3
    assert rows.errors == {0: "seed 3: ValueError: no"}
    assert [digest.tobytes().hex() for digest in rows.digest] == [
        params_digest(CASES.params(number)) for number in (0, 1)
    ]


def test_those_told_before_are_counted_as_asked_for(table):
    first = proposer(table)
    for _ in range(4):
        first.ask()
    for number in (0, 2, 3):
        first.tell(complete(number, 1.0))
    assert first.n_asked == 4
    again = proposer(table, [1, 4, 5])
    assert again.n_asked == 3
    assert again.ask().number == 1
    assert again.n_asked == 4
    again.tell(complete(1, 1.0))
    assert (again.n_asked, table.counts.total()) == (4, 4)


def test_a_trial_that_the_table_does_not_take_can_be_told_again(table, monkeypatch):
    source = proposer(table)
    source.ask()
    add = table.add

    def full(trials, digests) -> None:
        raise OSError("no room")

    monkeypatch.setattr(table, "add", full)
    with pytest.raises(OSError, match="no room"):
        source.tell(complete(0, 1.0))
    monkeypatch.setattr(table, "add", add)
    assert source.tell(complete(0, 1.0)).value == 1.0
    with pytest.raises(KeyError):  # once is enough
        source.tell(complete(0, 1.0))


def test_the_best_of_before_is_known(table):
    best = TrialResult(3, {"x": 0.5, "n": 2}, 0.25, None, 1, TrialState.COMPLETE, 1.0)
    assert proposer(table, best=best).best is best
    assert proposer(table).best is None

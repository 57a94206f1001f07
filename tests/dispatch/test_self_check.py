"""The check of one seed: who evaluates it, what is compared, and what happens when it differs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from seedwise.dispatch import self_check
from seedwise.dispatch.channel import Order
from seedwise.dispatch.self_check import Record, SelfCheck
from seedwise.errors import SelfCheckError
from seedwise.model.seeds import Chunk
from seedwise.model.trials import ChunkResult, FailureKind, SeedFailure
from seedwise.worker.chunk import ChunkTask, Reference

PARAMS = {"x": 0.5}
FIRST = Reference(0, PARAMS, 11, None, 0)


class FakeWitness:
    """A witness that answers what it is told to, when it is told to."""

    def __init__(self, answer: float | str | None = None) -> None:
        self.value = answer
        self.asked: list[Reference] = []
        self.is_closed = False

    def ask(self, reference: Reference) -> None:
        self.asked.append(reference)

    def answer(self) -> float | str | None:
        assert self.asked
        assert not self.is_closed
        return self.value

    def close(self) -> None:
        self.is_closed = True


class Checked:
    """A check, and the chunks that go through it."""

    def __init__(self, witness=None, record=None) -> None:
        self.notes: list[str] = []
        self.kept: list[Record] = []
        self.check = SelfCheck(witness, self.notes.append, self.kept.append, record)

    def order(self, trial=0, start=0, entry_id=None) -> Order:
        seeds = np.array([11, 12, 13, 14])[start : start + 2]
        task = ChunkTask("id", trial, PARAMS, entry_id, Chunk(start // 2, start, seeds))
        return self.check.with_reference(Order(None, task))

    def passed(self, *results: tuple[Order, ChunkResult]) -> list[ChunkResult]:
        return [result for _, result in self.check.passed(results)]


def result(order, reference=None, losses=(1.0, 2.0), worker="w0", job_id=None) -> ChunkResult:
    failure = None
    if losses is None:
        failure = SeedFailure(0, 11, "ValueError", "no", "no", FailureKind.LOSS)
    return ChunkResult(
        trial=order.task.trial,
        chunk=order.task.chunk.index,
        attempt=1,
        start=order.task.chunk.start,
        n_seeds=2,
        losses=None if losses is None else np.array(losses),
        failure=failure,
        components={},
        folder="",
        duration_s=0.1,
        worker=worker,
        job_id=job_id,
        reference=reference,
    )


def test_the_reference_goes_with_the_chunks_that_begin_with_its_seed():
    """Else two workers might evaluate one seed at the same time."""
    checked = Checked()
    orders = [checked.order(), checked.order(start=2), checked.order(trial=1)]
    assert [order.task.reference for order in orders] == [FIRST, None, FIRST]


def test_of_several_entries_the_first_that_is_sent_counts_for_all():
    checked = Checked()
    orders = [checked.order(entry_id=name) for name in ("anna", "ben")]
    assert [order.task.reference for order in orders] == [Reference(0, PARAMS, 11, "anna", 0)] * 2


def test_the_driver_is_asked_when_the_first_worker_has_answered():
    witness = FakeWitness(1.0)
    checked = Checked(witness)
    order, other = checked.order(), checked.order(start=2)
    assert checked.passed((other, result(other))) == []
    assert witness.asked == []
    assert len(checked.passed((order, result(order, 1.0)))) == 2
    assert witness.asked == [FIRST]
    assert witness.is_closed


def test_a_failure_is_handed_on_without_the_driver():
    witness = FakeWitness()
    checked = Checked(witness)
    order = checked.order()
    assert len(checked.passed((order, result(order, None, None)))) == 1
    assert (witness.asked, witness.is_closed) == ([], True)
    assert checked.kept == []


def test_values_that_agree_pass_and_are_kept():
    checked = Checked(FakeWitness(1.0))
    order, other = checked.order(), checked.order(trial=1)
    results = [(other, result(other, 1.0, worker="w1")), (order, result(order, 1.0))]
    assert checked.passed(*results) == [found for _, found in results]
    assert checked.notes == []
    assert checked.kept == [Record(FIRST, 1.0)]


def test_nothing_is_handed_on_before_the_driver_has_answered():
    witness = FakeWitness()
    checked = Checked(witness)
    order = checked.order()
    first, second = result(order, 1.0), result(order)
    assert checked.passed((order, first)) == []
    assert checked.passed() == []
    assert checked.passed((order, second)) == []
    witness.value = 1.0
    assert checked.passed() == [first, second]
    assert checked.passed() == []


def test_a_driver_whose_value_differs_ends_the_run_before_it_begins():
    witness = FakeWitness()
    checked = Checked(witness)
    order = checked.order()
    assert checked.passed((order, result(order, 1.0, job_id="77"))) == []
    witness.value = 3.0
    with pytest.raises(SelfCheckError, match=r"3\.0 on the driver") as caught:
        checked.passed()
    assert caught.value.values == {"worker w0, job 77": 1.0, "the driver": 3.0}
    assert checked.kept == [Record(FIRST, 3.0)]  # with which it is compared when it is resumed
    assert (caught.value.seed, caught.value.params) == (11, PARAMS)
    with pytest.raises(SelfCheckError):
        checked.passed((order, result(order)))


def test_a_difference_waits_for_the_chunk_that_tells_whether_it_is_by_chance():
    checked = Checked(FakeWitness(3.0))
    first, other = checked.order(), checked.order(trial=1)
    assert checked.passed((other, result(other, 1.0))) == []
    with pytest.raises(SelfCheckError):
        checked.passed((first, result(first)))


def test_a_loss_that_draws_by_chance_is_told_and_goes_on():
    checked = Checked(FakeWitness(3.0))
    first, other = checked.order(), checked.order(trial=1)
    assert checked.passed((other, result(other, 1.0))) == []
    assert len(checked.passed((first, result(first, losses=(1.5, 2.0))))) == 2
    (note,) = checked.notes
    assert "for seed 11 it gave 1.0 and then 1.5 on one worker" in note
    late = checked.order(trial=3)
    assert len(checked.passed((late, result(late, 9.0, worker="w9")))) == 1
    assert len(checked.notes) == 1
    assert checked.kept == [Record(FIRST, None)]


@pytest.mark.parametrize("losses", [(1.0, 2.0), (1.0 + 1e-15, 2.0), None])
def test_the_same_value_twice_is_not_chance(losses):
    checked = Checked(FakeWitness(1.0))
    order = checked.order()
    assert len(checked.passed((order, result(order, 1.0, losses)))) == 1
    assert checked.notes == []


def test_chance_is_looked_for_on_one_worker_only():
    checked = Checked(FakeWitness(1.0))
    first, other = checked.order(), checked.order(trial=1)
    results = [(other, result(other, 1.0)), (first, result(first, None, (5.0, 2.0), "w1"))]
    assert len(checked.passed(*results)) == 2
    assert checked.notes == []


@pytest.mark.parametrize("loss", [1.0 + 1e-15, 1.0 - 1e-6])
def test_what_may_be_rounding_is_told_once(loss):
    checked = Checked(FakeWitness(loss))
    order = checked.order()
    assert len(checked.passed((order, result(order, 1.0)))) == 1
    assert len(checked.passed((order, result(order, 1.0 + 1e-14, worker="w1")))) == 1
    (note,) = checked.notes
    assert "seed 11 differs a little" in note
    assert f"{loss!r} on the driver" in note


@pytest.mark.parametrize("loss", [1.0 + 1e-3, -1.0, 0.0, float("inf")])
def test_more_than_rounding_is_an_error(loss):
    checked = Checked(FakeWitness(loss))
    order = checked.order()
    with pytest.raises(SelfCheckError):
        checked.passed((order, result(order, 1.0)))


def test_a_late_worker_whose_value_differs_ends_the_run():
    checked = Checked(FakeWitness(1.0))
    order, late = checked.order(), checked.order(trial=7)
    assert len(checked.passed((order, result(order, 1.0)))) == 1
    with pytest.raises(SelfCheckError, match=r"2\.0 on worker late"):
        checked.passed((late, result(late, 2.0, worker="late")))


def test_a_late_worker_that_differs_after_rounding_did_ends_the_run():
    checked = Checked(FakeWitness(1.0 + 1e-15))
    order, late = checked.order(), checked.order(trial=7)
    assert len(checked.passed((order, result(order, 1.0)))) == 1
    with pytest.raises(SelfCheckError, match=r"2\.0 on worker late"):
        checked.passed((late, result(late, 2.0, worker="late")))


def test_workers_that_differ_from_one_another_without_a_witness():
    checked = Checked(None)
    first, other = checked.order(), checked.order(trial=1)
    assert len(checked.passed((first, result(first, 1.0)))) == 1
    with pytest.raises(SelfCheckError) as caught:
        checked.passed((other, result(other, 2.0, worker="w1")))
    assert caught.value.values == {"worker w0": 1.0, "worker w1": 2.0}


def test_a_witness_that_dies_is_told():
    checked = Checked(FakeWitness("its process died"))
    order = checked.order()
    assert len(checked.passed((order, result(order, 1.0)))) == 1
    assert checked.notes == [
        "the driver could not evaluate the first seed (its process died): it is not compared"
    ]


def test_a_witness_that_never_answers_is_waited_for_a_while(monkeypatch):
    checked = Checked(FakeWitness())
    order = checked.order()
    now_s = 100.0
    monkeypatch.setattr(self_check, "time", SimpleNamespace(monotonic=lambda: now_s))
    assert checked.passed() == []
    assert checked.passed((order, result(order, 1.0))) == []
    now_s += 29.0
    assert checked.passed((order, result(order))) == []
    now_s += 2.0
    assert len(checked.passed()) == 2
    (note,) = checked.notes
    assert "could not evaluate the first seed in time" in note


def test_a_worker_that_could_not_evaluate_it_has_nothing_to_compare():
    checked = Checked(FakeWitness(1.0))
    order = checked.order()
    assert len(checked.passed((order, result(order, None, None)))) == 1
    assert checked.notes == []


@pytest.mark.parametrize(("value", "differs"), [(1.0, False), (1.0 + 1e-15, False), (2.0, True)])
def test_a_run_that_is_resumed_is_compared_with_its_record(value, differs):
    witness = FakeWitness(value)
    checked = Checked(witness, Record(FIRST, 1.0))
    order = checked.order(trial=5)
    assert order.task.reference == FIRST
    if differs:
        with pytest.raises(SelfCheckError) as caught:
            checked.passed((order, result(order, value)))
        assert caught.value.values == {"the run's record": 1.0, "worker w0": 2.0}
    else:
        assert len(checked.passed((order, result(order, value)))) == 1
        assert len(checked.notes) == (value != 1.0)
    assert checked.kept == []


def test_a_run_that_is_resumed_amid_a_trial_waits_for_nothing():
    """The chunk that begins with the seed may be on record already."""
    checked = Checked(FakeWitness(), Record(FIRST, 1.0))
    order = checked.order(trial=5, start=2)
    assert len(checked.passed((order, result(order)))) == 1


def test_a_loss_that_is_known_to_draw_by_chance_is_not_compared():
    checked = Checked(FakeWitness(3.0), Record(FIRST, None))
    order = checked.order(trial=5)
    assert len(checked.passed((order, result(order, 2.0)))) == 1
    assert checked.notes == []

"""Where a run's chunks are evaluated: how many it may evaluate at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from seedwise.cluster.place import Place
from seedwise.disk import every
from seedwise.driver.workplace import _LateTrials, _slots
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.study import RunOptions
from seedwise.model.status import PoolStatus


@pytest.fixture
def now(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(every, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def place(kind: type[Place] = Place) -> Place:
    return kind(client=None, mode=ExecutionMode.SINGLE, description="here", slots=7)


def test_a_cluster_that_was_passed_has_the_slots_that_it_had(now):
    assert _slots(place(), chunks_per_worker=3)() == 7


def test_the_slots_follow_the_bounds_of_the_pool(now):
    most, asked = 2, []

    class Pooled(Place):
        def pool(self) -> PoolStatus:
            asked.append(now.s)
            return PoolStatus(least=1, most=most, wanted=1, joined=1, pending=0)

    slots = _slots(place(Pooled), chunks_per_worker=3)
    assert [slots() for _ in range(100)] == [6] * 100
    assert len(asked) == 1
    most = 20
    now.s += 1.0
    assert slots() == 60


@pytest.mark.parametrize(
    ("given", "ends", "told"),
    [
        (
            {"slurm_timeout_minutes": 90},
            True,
            "{} has run for more than slurm_timeout_minutes=90: its chunks",
        ),
        (
            {},
            False,
            "{} has run for more than 120 minutes, and goes on; to have such trials fail",
        ),
    ],
)
def test_a_limit_that_strikes_is_told(given, ends, told):
    notes = []
    late = _LateTrials(RunOptions.from_keywords({"cluster": "slurm", **given}), notes.append)
    late.tell((None, 3, ""))
    late.tell(("p1", 4, ""))
    late.tell((None, 5, "validation-2"))
    assert late.are_ended is ends
    who = ["trial 3", "trial 4 of entry 'p1'", "trial 5, on fresh seeds,"]
    who = who if ends else who[:1]  # once is enough
    assert len(notes) == len(who)
    assert all(note.startswith(told.format(one)) for note, one in zip(notes, who, strict=True))

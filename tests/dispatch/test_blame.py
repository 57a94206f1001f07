"""Chunks that are held until it is known whose fault it was, and results that never come."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from seedwise.dispatch import channel as module
from seedwise.dispatch.channel import Blame, Order, failed
from seedwise.model.seeds import Chunk
from seedwise.model.trials import FailureKind
from seedwise.worker.chunk import ChunkTask


@pytest.fixture
def order():
    chunk = Chunk(3, 30, np.arange(5, dtype=np.int64))
    return Order(None, ChunkTask("loss", 7, {}, None, chunk, isolated=True))


def test_its_own_fault_is_a_death(order):
    blame = Blame({"job-1": "out of memory"}.get)
    blame.hold(order, "job-1")
    again, ((of, result),) = blame.settled()
    assert (again, of, len(blame)) == ([], order, 0)
    assert result.failure.kind is FailureKind.DIED
    assert (result.trial, result.chunk, result.start, result.n_seeds) == (7, 3, 30, 5)
    assert result.failure.message == "out of memory"


def test_the_clusters_fault_costs_nothing(order):
    blame = Blame({"job-1": ""}.get)
    blame.hold(order, "job-1")
    assert blame.settled() == ([order], [])
    assert blame.settled() == ([], [])


def test_nobody_waits_for_ever(order, monkeypatch):
    now = {"s": 0.0}
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now["s"]))
    blame = Blame(lambda _: None)
    blame.hold(order, "job-1")
    now["s"] = 14.0
    assert blame.settled() == ([], [])
    assert len(blame) == 1
    now["s"] = 16.0
    assert blame.settled() == ([order], [])


def test_what_is_not_wanted_any_more_is_forgotten(order):
    blame = Blame(lambda _: "")
    blame.hold(order, "job-1")
    blame.forget(lambda one: one.task.trial == 7)
    assert blame.settled() == ([], [])


# What stands for the result of a chunk of which none will come.

TASK = ChunkTask("id", 4, {"x": 0.5}, None, Chunk(2, 40, np.array([7, 8, 9])), attempt=3)


def test_it_is_of_that_chunk_and_blames_no_seed():
    result = failed(TASK, "OSError", "gone")
    assert (result.trial, result.chunk, result.attempt, result.start) == (4, 2, 3, 40)
    assert (result.n_seeds, result.losses) == (3, None)
    assert (result.failure.position, result.failure.seed) == (40, None)


def test_it_says_why():
    failure = failed(TASK, "OSError", "gone\nfor ever").failure
    assert (failure.exception_type, failure.message) == ("OSError", "gone")
    assert failure.traceback == "gone\nfor ever"

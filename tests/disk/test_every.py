"""A reminder that comes every few seconds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from seedwise.disk import every as module
from seedwise.disk.every import Every


@pytest.fixture
def now(monkeypatch):
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 5000.0 + now.s))
    return now


def test_it_is_due_at_first_and_then_every_so_many_seconds(now):
    every, due = Every(2.0), []
    for _ in range(9):
        due.append(every.due())
        now.s += 0.5
    assert due == [True, *[False] * 3, True, *[False] * 3, True]


def test_after_a_long_time_it_is_due_once(now):
    every = Every(2.0)
    every.due()
    now.s += 60.0
    assert (every.due(), every.due()) == (True, False)


def test_every_0_seconds_is_always(now):
    every = Every(0.0)
    assert all(every.due() for _ in range(3))

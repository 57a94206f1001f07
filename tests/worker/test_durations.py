"""How long chunks took: comparable ones count, and no single one of many does."""

from __future__ import annotations

import pytest

from seedwise.worker.durations import Durations


@pytest.fixture
def durations() -> Durations:
    return Durations(40)


def test_nothing_is_known_before_the_first(durations):
    assert durations.needs_s(10) is None
    assert durations.comparable(10) == []


def test_the_slowest_of_a_few_counts_and_a_fifth_more(durations):
    for duration_s in (10.0, 30.0, 20.0):
        durations.note(10, duration_s)
    assert durations.needs_s(10) == pytest.approx(36.0)
    assert durations.needs_s(5) == pytest.approx(18.0)
    assert durations.needs_s(20) == pytest.approx(72.0)


def test_the_slowest_of_many_does_not_count(durations):
    durations.note(10, 1000.0)
    for _ in range(18):
        durations.note(10, 10.0)
    assert durations.needs_s(10) == pytest.approx(1200.0)
    durations.note(10, 10.0)
    assert durations.needs_s(10) == pytest.approx(12.0)


def test_what_many_of_them_take_counts(durations):
    for number in range(40):
        durations.note(10, 50.0 if number % 10 == 0 else 10.0)
    assert durations.needs_s(10) == pytest.approx(60.0)


def test_of_much_smaller_ones_the_time_is_not_multiplied(durations):
    """Most of it may be what it took to load the loss."""
    durations.note(1, 60.0)
    assert durations.needs_s(1) == pytest.approx(72.0)
    assert durations.needs_s(2) == pytest.approx(144.0)
    assert durations.needs_s(100) == pytest.approx(72.0)
    durations.note(100, 100.0)
    assert durations.needs_s(100) == pytest.approx(120.0)
    assert durations.comparable(100) == [1.0]


def test_the_last_ones_are_remembered(durations):
    durations.note(10, 1000.0)
    for _ in range(40):
        durations.note(10, 10.0)
    assert durations.comparable(10) == [1.0] * 40

"""Durations in words."""

from __future__ import annotations

import pytest

from seedwise.errors.durations import exact_duration, rough_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.01234, "0.0123 s"),
        (23.04, "23 s"),
        (59, "59 s"),
        (60, "1 min"),
        (89.6, "1 min 30 s"),
        (14_400, "4 h"),
        (129_600, "1 d 12 h"),
        (788_645, "9 d 3 h 4 min 5 s"),
    ],
)
def test_exact_durations(seconds, words):
    assert exact_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (999_997_200, "11574 d 1 h"),
    ],
)
def test_rough_durations_are_cut_off(seconds, words):
    assert rough_duration(seconds) == words

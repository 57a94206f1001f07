"""Times as Slurm writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.model.slurm_time import time_s, time_text

WHOLE = st.integers(min_value=0, max_value=10**12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 600),
        ("10:30", 630),
        ("04:00:00", 14_400),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("7-00:00:00", 604_800),
        ("365-00:00:00", 31_536_000),
        ("00:00:01.500", 1.5),
        ("00:01.500", 1.5),
        (" 0 ", 0),
        ("100:00:00", 360_000),
        ("UNLIMITED", None),
        ("Infinite", None),
    ],
)
def test_times(text, seconds):
    assert time_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "N/A", "NONE", "(null)", "-1", "1:2:3:4", "1-", "1-2:3:4:5", "2h", "INVALID", "\u0661"],
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time as Slurm writes it"):
        time_s(text)


@given(WHOLE)
def test_a_time_comes_back(seconds):
    assert time_s(time_text(seconds)) == seconds


@given(st.floats(min_value=0, max_value=1e9))
def test_no_time_is_cut_off(seconds):
    assert time_s(time_text(seconds)) == math.ceil(seconds)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_what_is_no_time_of_a_job(seconds):
    with pytest.raises(ValueError, match="is not a time of 0 s or more"):
        time_text(seconds)


def test_no_limit_comes_back():
    assert time_s(time_text(None)) is None

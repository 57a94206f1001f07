"""Amounts of memory as Slurm writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.slurm.words import memory_mb, memory_text, readable_memory

WHOLE = st.integers(min_value=0, max_value=10**12)


@pytest.mark.parametrize(
    ("text", "mb"),
    [
        ("2G", 2048),
        ("2g", 2048),
        ("2GB", 2048),
        ("2GiB", 2048),
        ("2000M", 2000),
        ("2000", 2000),
        ("62.50G", 64_000),
        ("1.5T", 1.5 * 1024**2),
        ("512K", 0.5),
        ("2000Mn", 2000),
        ("4Gc", 4096),
        ("4000 M", 4000),
        ("0", 0),
        ("UNLIMITED", None),
        ("INFINITE", None),
    ],
)
def test_memory(text, mb):
    assert memory_mb(text) == mb


@pytest.mark.parametrize("text", ["", "N/A", "(null)", "-1", "2X", "G", "2 G G", "16000+"])
def test_what_is_no_memory(text):
    with pytest.raises(ValueError, match="is not an amount of memory"):
        memory_mb(text)


@given(WHOLE)
def test_memory_comes_back(mb):
    assert memory_mb(memory_text(mb)) == mb


@given(st.floats(min_value=0, max_value=1e9))
def test_no_memory_is_cut_off(mb):
    assert memory_mb(memory_text(mb)) == math.ceil(mb)


def test_memory_has_the_largest_unit_that_is_exact():
    assert [memory_text(mb) for mb in (0, 1000, 1024, 1025, 1024**2, 3 * 1024**3)] == [
        *("0M", "1000M", "1G", "1025M", "1T", "3072T")
    ]


@pytest.mark.parametrize(
    ("mb", "words"),
    [
        (0, "0 MB"),
        (1000, "1000 MB"),
        (16_384, "16 GB"),
        (16_000, "15.6 GB"),
        (1024 * 1024 - 1, "1023.9 GB"),
        (1.5 * 1024**2, "1.5 TB"),
        (9999 * 1024**2, "9999 TB"),
    ],
)
def test_readable_memory_is_never_rounded_up(mb, words):
    assert readable_memory(mb) == words

"""The limit of open files."""

from __future__ import annotations

import resource

import pytest

from seedwise.disk import open_files
from seedwise.disk.open_files import allow_many_files, most_entries_open


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_is_raised_as_far_as_we_may(limits):
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    few = most_entries_open()
    allow_many_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert most_entries_open() > few


def test_there_is_room_for_one_entry(limits, monkeypatch):
    monkeypatch.setattr(open_files.resource, "getrlimit", lambda _: (10, 10))
    assert most_entries_open() == 1

"""Folders that only their owner may use and their removal; the limit of open files."""

from __future__ import annotations

import resource
import stat
from pathlib import Path

import pytest

from seedwise.disk import files as module
from seedwise.disk.files import (
    allow_many_files,
    is_folder,
    make_own_folder,
    most_entries_open,
    remove,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_ours_alone_and_keeps_what_counts_a_projects_space(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(0o2775)
    make_own_folder(project / "run")
    assert mode(project / "run") == 0o2700


def test_what_the_folder_above_hands_down_is_taken_away(tmp_path, monkeypatch):
    """As a file system with access lists of its own does, which there is none of here."""
    mkdir = Path.mkdir

    def open_to_a_group(path, mode=0o777):
        mkdir(path)
        path.chmod(0o2770)

    monkeypatch.setattr(Path, "mkdir", open_to_a_group)
    make_own_folder(tmp_path / "run")
    assert mode(tmp_path / "run") == 0o2700


def test_one_that_is_there_is_not_made(tmp_path):
    with pytest.raises(FileExistsError):
        make_own_folder(tmp_path)


def test_a_link_to_a_folder_is_removed_and_not_followed(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    (folder / "inner").mkdir(parents=True)
    link.symlink_to(folder)
    assert [is_folder(path) for path in (folder, link, tmp_path / "none")] == [True, False, False]
    remove(link)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    remove(folder)
    remove(folder)
    assert not list(tmp_path.iterdir())


# The limit of open files.


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
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: (10, 10))
    assert most_entries_open() == 1

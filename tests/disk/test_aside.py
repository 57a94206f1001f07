"""Whole files: a reader sees the old one or the new one, whatever breaks off in between."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from seedwise.disk.files import replace_file, replacing, write_all


class FillingDisk:
    """An os.write that takes a part of what does not fit, and then nothing; see write(2)."""

    def __init__(self, room: int) -> None:
        self._write, self._room = os.write, room

    def __call__(self, handle: int, data) -> int:
        n_written = self._write(handle, bytes(data)[: self._room])
        self._room -= n_written
        return n_written


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "notes.json"
    path.write_bytes(b"old")
    return path


def names(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()]


# All bytes.


def test_what_is_written_in_parts_is_whole(path, monkeypatch):
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:3]))
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: pwrite(handle, data[:3], at))
    with path.open("wb") as file:
        write_all(file.fileno(), b"0123456789")
        write_all(file.fileno(), b"abcdefg", at=1)
        write_all(file.fileno(), b"")
    assert path.read_bytes() == b"0abcdefg89"


@pytest.mark.parametrize("at", [None, 0])
def test_a_disk_that_takes_nothing_more_is_full(at, path, monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: 0)
    monkeypatch.setattr(os, "write", FillingDisk(room=4))
    with path.open("wb") as file, pytest.raises(OSError, match="No space left") as caught:
        write_all(file.fileno(), b"0123456789", at)
    assert caught.value.errno == errno.ENOSPC


# Aside, then renamed.


def test_until_the_block_ends_the_old_file_is_there(path):
    with replacing(path) as handle:
        write_all(handle, b"new")
        (aside,) = path.parent.glob(".*")
        assert re.fullmatch(r"\.notes\.json\.[0-9a-f]{8}\.new", aside.name)
        assert (path.read_bytes(), aside.read_bytes()) == (b"old", b"new")
    assert path.read_bytes() == b"new"
    assert names(path) == ["notes.json"]


def test_a_file_is_made_for_its_owner_only(path):
    path.chmod(0o644)
    replace_file(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_place_aside_can_be_chosen(path, tmp_path):
    (tmp_path / "work").mkdir()
    aside = tmp_path / "work" / "aside"
    with replacing(path, aside=aside):
        assert aside.exists()
    assert not aside.exists()
    assert path.read_bytes() == b""


def test_a_file_of_another_is_not_written_to(path, tmp_path):
    aside = tmp_path / "aside"
    aside.symlink_to(path)
    with pytest.raises(FileExistsError):
        replace_file(path, b"new", aside=aside)
    assert path.read_bytes() == b"old"
    assert aside.is_symlink()


@pytest.mark.parametrize(
    ("durable", "calls"), [(True, ["fsync", "replace"]), (False, ["replace"])]
)
def test_a_durable_file_is_synced_before_it_is_renamed(path, durable, calls, monkeypatch):
    seen, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda *a: (seen.append("replace"), replace(*a)))
    replace_file(path, b"new", durable=durable)
    assert seen == calls


def test_a_disk_that_fills_up_leaves_the_old_file_alone(path, monkeypatch):
    monkeypatch.setattr(os, "write", FillingDisk(room=2))
    with pytest.raises(OSError, match="No space left on device"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(path) == ["notes.json"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_what_breaks_off_leaves_the_old_file_alone_and_is_closed(path, call, error, monkeypatch):
    def broken(*args) -> None:
        raise error

    opened, closed, system_open, close = [], [], os.open, os.close
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *args: opened.append(system_open(*args)) or opened[-1])
        patch.setattr(os, "close", lambda handle: (close(handle), closed.append(handle)))
        patch.setattr(Path if call == "replace" else os, call, broken)
        with pytest.raises(type(error)) as caught:
            replace_file(path, b"new")
    assert caught.value is error
    assert path.read_bytes() == b"old"
    assert names(path) == ["notes.json"]
    assert opened[0] in closed


def test_an_error_is_told_even_if_the_file_aside_can_not_be_removed(path, monkeypatch):
    def broken(*args, **kwargs) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", broken)
        with pytest.raises(ValueError, match="the first"), replacing(path):
            raise ValueError("the first")


def test_a_process_that_dies_before_the_rename_leaves_the_old_file_whole(path):
    code = (
        "import os, pathlib, sys\n"
        "from seedwise.disk.files import replace_file\n"
        "pathlib.Path.replace = lambda *args: os._exit(9)\n"
        "replace_file(pathlib.Path(sys.argv[1]), b'new')\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert died.returncode == 9
    assert path.read_bytes() == b"old"
    (left,) = path.parent.glob(".*.new")
    assert left.read_bytes() == b"new"
    replace_file(path, b"newer")  # what was left does not disturb
    assert path.read_bytes() == b"newer"

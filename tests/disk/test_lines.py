"""JSON lines: appended whole, and read past what is torn."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from seedwise.disk.files import append_lines, read_lines


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "notes.jsonl"


def test_an_object_is_a_line(path):
    assert read_lines(path) == []
    append_lines(path, [{"n": 1}, {"text": "a\nb ü"}])
    append_lines(path, [{"n": 2}])
    assert path.read_bytes() == b'{"n": 1}\n{"text": "a\\nb \\u00fc"}\n{"n": 2}\n'
    assert read_lines(path) == [{"n": 1}, {"text": "a\nb ü"}, {"n": 2}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_line_torn_at_any_byte_costs_no_other(path):
    append_lines(path, [{"n": 1}, {"n": 2}])
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for length in range(first, len(data)):
        path.write_bytes(data[:length])
        # If only the newline is missing, the object is whole.
        whole = [{"n": 2}] if length == len(data) - 1 else []
        assert read_lines(path) == [{"n": 1}, *whole]
        append_lines(path, [{"n": 3}])
        assert read_lines(path) == [{"n": 1}, *whole, {"n": 3}]


def test_what_is_no_object_is_left_out(path):
    path.write_bytes(b'{"n": 1}\n\n\xff\xfe\n[]\n7\nnull\n\0\0\0\n{"n": 2}\n')
    assert read_lines(path) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("room", [1, 5, 8])
def test_a_disk_that_fills_up_is_told_and_costs_one_line(path, room, monkeypatch):
    append_lines(path, [{"n": 1}])
    write, left = os.write, [room]

    def partial(handle: int, data) -> int:
        n_written = write(handle, bytes(data)[: left[0]])
        left[0] -= n_written
        return n_written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", partial)
        with pytest.raises(OSError, match="No space left on device"):
            append_lines(path, [{"n": 2}])
    assert path.stat().st_size == len('{"n": 1}\n') + room
    append_lines(path, [{"n": 3}])
    whole = [{"n": 2}] if room == 8 else []  # all but the newline
    assert read_lines(path) == [{"n": 1}, *whole, {"n": 3}]


@pytest.mark.parametrize("durable", [True, False])
def test_lines_are_synced_if_they_are_to_last(path, durable, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(path.read_bytes()))
    append_lines(path, [{"n": 1}, {"n": 2}], durable=durable)
    assert synced == [b'{"n": 1}\n{"n": 2}\n'] * durable


def test_two_that_append_at_once_tear_no_line(path):
    def append(name: int) -> None:
        for n in range(50):
            append_lines(path, [{"of": name, "n": n, "text": "x" * 500}])

    threads = [threading.Thread(target=append, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = read_lines(path)  # an empty line, which it passes over, does no harm
    for name in range(4):
        assert [line["n"] for line in lines if line["of"] == name] == list(range(50))

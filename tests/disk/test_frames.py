"""Frames: records are read as they were written, and damage is found wherever it is."""

from __future__ import annotations

import errno
import os
import stat
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.disk import frames as module
from seedwise.disk.frames import FrameFile, Framing, frames, frames_end
from seedwise.errors import DamagedFileError, RunFileError

AT_BEGIN = Framing("a list", b"a list 1\n", b"\xf7t")
LATER = Framing("a list", b"a list 1\n", b'{"', mark_at=4)
framings = pytest.mark.parametrize("framing", [AT_BEGIN, LATER], ids=["at-begin", "later"])
#: What a body has besides its mark; among it are marks and frames.
CONTENTS = st.binary(max_size=40) | st.sampled_from(
    [b'\xf7t{"' * 5, b"\x02\x00\x00\x00" * 3, b"\x00" * 30]
)


def body_of(framing: Framing, content: bytes) -> bytes:
    return bytes(framing.mark_at) + framing.mark + content


def framed(body: bytes) -> bytes:
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


def fill(path, framing, bodies) -> list[int]:
    """Write bodies one by one; return where the first begins and where each of them ends."""
    with FrameFile(path, framing) as file:
        ends = [path.stat().st_size]
        for body in bodies:
            file.append([body])
            ends.append(path.stat().st_size)
    return ends


def bodies_in(path, framing) -> list[bytes]:
    return [body for _, body in frames(path, framing)]


SOME = [b"first", b"", b'\xf7t{"\xf7t{"', b"x" * 300, b"last"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.list"


@pytest.fixture(scope="module")
def new_path(tmp_path_factory):
    """Return a function that gives another path each time, for tests of many examples."""
    folder, count = tmp_path_factory.mktemp("lists"), iter(range(10**6))
    return lambda: folder / f"{next(count)}.list"


@framings
@given(openings=st.lists(st.lists(st.lists(CONTENTS, max_size=4), max_size=3), max_size=3))
def test_any_bodies_are_read_with_their_places(openings, framing, new_path):
    path, kept = new_path(), []
    for batches in openings:
        with FrameFile(path, framing) as file:
            for batch in batches:
                bodies = [body_of(framing, content) for content in batch]
                file.append(iter(bodies))
                kept += bodies
        data = path.read_bytes()
        found = list(frames(path, framing))
        assert [body for _, body in found] == kept
        assert all(data[:end].endswith(framed(body)) for end, body in found)
        assert frames_end(path, framing) == len(data)


def test_there_need_be_no_file(path):
    assert frames_end(path, LATER) == 0
    assert bodies_in(path, LATER) == []
    path.touch()
    assert frames_end(path, LATER) == 0
    assert bodies_in(path, LATER) == []


def test_the_file_is_its_owners_only(path):
    fill(path, LATER, [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"a list 1\n"
    assert frames_end(path, LATER) == 9


@framings
def test_after_a_cut_at_any_byte_the_whole_records_are_read(framing, path):
    bodies = [body_of(framing, content) for content in SOME]
    ends = fill(path, framing, bodies)
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        end = max((end for end in ends if end <= length), default=0)
        assert frames_end(path, framing) == end
        assert bodies_in(path, framing) == bodies[: sum(its_end <= end for its_end in ends[1:])]


#: A flip of one bit of each byte; those of other bits, and of all, are for the full count.
FLIPS = [0x01, *(pytest.param(flip, marks=pytest.mark.full) for flip in (0x20, 0x80, 0xFF))]


@framings
@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("buffer_bytes", [1 << 20, 7, 2])
def test_a_flip_at_any_byte_is_found_in_its_record(buffer_bytes, flip, framing, path, monkeypatch):
    """Whether in a length, a checksum or a body, and wherever the search has its windows."""
    monkeypatch.setattr(module, "_BUFFER_BYTES", buffer_bytes)
    bodies = [body_of(framing, content) for content in SOME]
    ends = fill(path, framing, bodies)
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])
        damaged = max((end for end in ends if end <= position), default=0)
        if damaged == ends[-2]:  # in the last record, which then counts as torn
            assert frames_end(path, framing) == damaged
            assert bodies_in(path, framing) == bodies[:-1]
            continue
        with pytest.raises(DamagedFileError, match=f"at byte {damaged}:") as caught:
            frames_end(path, framing)
        assert (caught.value.path, caught.value.position) == (path, damaged)


@framings
@given(
    contents=st.lists(CONTENTS, min_size=2, max_size=5),
    length=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_any_damaged_length_is_found(contents, length, data, framing, new_path):
    path = new_path()
    bodies = [body_of(framing, content) for content in contents]
    ends = fill(path, framing, bodies)
    index = data.draw(st.integers(0, len(bodies) - 2))
    if length == len(bodies[index]):
        return
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, ends[index], length)
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        frames_end(path, framing)
    assert caught.value.position == ends[index]


def test_what_precedes_the_damage_is_read_before_it_is_refused(path):
    bodies = [body_of(LATER, content) for content in SOME]
    ends = fill(path, LATER, bodies)
    content = bytearray(path.read_bytes())
    content[ends[2]] ^= 1
    path.write_bytes(content)
    reader = frames(path, LATER)
    assert [next(reader)[1], next(reader)[1]] == bodies[:2]
    with pytest.raises(DamagedFileError, match=f"whole ones follow at {ends[3]}"):
        next(reader)


@framings
def test_a_tail_of_zeros_is_torn(framing, path):
    end = fill(path, framing, [body_of(framing, content) for content in SOME])[-1]
    with path.open("ab") as file:
        file.write(bytes(5000))
    assert frames_end(path, framing) == end


@pytest.mark.parametrize("content", [b"{}", b"a list 2\n", b"a list\n", b"\x00" * 40])
def test_another_file_is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="does not begin as a list does") as caught:
        frames_end(path, LATER)
    assert caught.value.position == 0


def test_what_is_appended_while_the_file_is_read_is_not_read(path):
    """So that a record that is half written is torn, whatever comes after it."""
    bodies = [body_of(LATER, content) for content in SOME]
    with FrameFile(path, LATER) as file:
        file.append(bodies[:2])
        reader = frames(path, LATER)
        next(reader)
        file.append(bodies[2:])
        assert [body for _, body in reader] == bodies[1:2]


def test_a_file_that_is_cut_while_it_is_read_ends_there(path):
    bodies = [body_of(LATER, b"x" * 1000) for _ in range(5000)]
    with FrameFile(path, LATER) as file:
        file.append(bodies)
    reader = frames(path, LATER)
    next(reader)
    os.truncate(path, 2_000_000)
    assert 1000 < sum(1 for _ in reader) < 2000


def test_a_long_file_is_not_in_memory(path):
    with FrameFile(path, LATER) as file:
        for _ in range(40):
            file.append([body_of(LATER, bytes(250_000))] * 4)
    tracemalloc.start()
    try:
        assert frames_end(path, LATER) > 40_000_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


# The guard, full disks.


class LostError(Exception):
    pass


def refuse() -> None:
    raise LostError


def test_nothing_is_written_if_the_guard_refuses(path):
    with pytest.raises(LostError):
        FrameFile(path, LATER, refuse).__enter__()
    assert path.read_bytes() == b""
    fill(path, LATER, [body_of(LATER, b"")])
    data = path.read_bytes()
    with FrameFile(path, LATER, refuse) as file:
        with pytest.raises(LostError):
            file.append([body_of(LATER, b"")])
        with pytest.raises(LostError):
            file.sync()
        file.append([])  # writes nothing
    assert path.read_bytes() == data


def test_a_file_that_can_not_be_begun_is_closed(path, monkeypatch):
    handles, system_open = [], os.open
    monkeypatch.setattr(
        os, "open", lambda *args: handles.append(system_open(*args)) or handles[-1]
    )
    with pytest.raises(LostError):
        FrameFile(path, LATER, refuse).__enter__()
    (handle,) = handles
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(handle)


@pytest.mark.parametrize("room", [0, 1, 9, 25])
def test_a_full_disk_keeps_all_of_a_batch_or_nothing(room, path, monkeypatch):
    bodies = [body_of(LATER, content) for content in SOME]
    write, left = os.write, [room]

    def partial(handle: int, data) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_written = write(handle, bytes(data)[: left[0]])
        left[0] -= n_written
        return n_written

    with FrameFile(path, LATER) as file:
        file.append(bodies[:1])
        data = path.read_bytes()
        monkeypatch.setattr(os, "write", partial)
        with pytest.raises(RunFileError, match="No space left on device") as caught:
            file.append(bodies[1:])
        assert caught.value.path == path
        assert path.read_bytes() == data
        left[0] = 10**6
        file.append(bodies[1:])
    assert bodies_in(path, LATER) == bodies


def test_a_short_write_is_completed_and_one_of_nothing_is_refused(path, monkeypatch):
    bodies, write = [body_of(LATER, content) for content in SOME], os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:7]))
    fill(path, LATER, bodies)
    assert bodies_in(path, LATER) == bodies
    monkeypatch.setattr(os, "write", lambda handle, data: 0)
    with FrameFile(path, LATER) as file, pytest.raises(RunFileError, match="No space left"):
        file.append(bodies)
    assert bodies_in(path, LATER) == bodies


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RunFileError, match="can't be written: No such file or directory"):
        FrameFile(tmp_path / "gone" / "a.list", LATER).__enter__()

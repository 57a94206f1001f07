"""Files of framed records, which a crash can damage at their end only.

A file begins with a line that says what it is. Each record after it is

====================  =====================================================================
4 bytes               length of the body, little-endian
4 bytes               CRC-32 of the body
body                  the record; every body of a kind of file has the same mark in it
====================  =====================================================================
"""

import contextlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

import attrs

from seedwise.disk.files import write_all, writing
from seedwise.errors import DamagedFileError

_FRAME = struct.Struct("<II")
_BUFFER_BYTES = 1 << 20


@attrs.frozen
class Framing:
    """What tells a kind of file from others, and its records from other bytes."""

    #: What the file is, with its article, as in ``"a ledger"``.
    name: str
    #: The first line, with its newline.
    magic: bytes
    #: What every body has at `mark_at`: it finds the next record where a length is damaged.
    mark: bytes
    #: Where the mark is, in bytes from the beginning of the body.
    mark_at: int = 0


@attrs.define(eq=False)
class FrameFile:
    """A file of records that is open for appending; made, for its owner only, if there is none.

    It must end with a whole record: see `frames_end`. `guard` is called before each write, and
    raises if another driver has taken the run over.
    """

    _path: Path
    _framing: Framing
    _guard: Callable[[], None] = lambda: None
    _handle: int = -1
    _end: int = 0
    _synced_s: float = 0.0

    def __enter__(self) -> Self:
        """Open the file."""
        with contextlib.ExitStack() as closing:
            with writing(self._path):
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                closing.callback(os.close, self._handle)
                self._end = os.fstat(self._handle).st_size
            if self._end == 0:
                self._append(self._framing.magic)
            closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._handle)

    def append(self, bodies: Iterable[bytes]) -> None:
        """Append records by their bodies: all, or none and a RunFileError."""
        data = b"".join(_FRAME.pack(len(body), zlib.crc32(body)) + body for body in bodies)
        if data:
            self._append(data)

    def sync(self) -> None:
        """Have what was appended on disk before this returns."""
        self._guard()
        with writing(self._path):
            os.fsync(self._handle)
        self._synced_s = time.monotonic()

    def _append(self, data: bytes) -> None:
        self._guard()
        with writing(self._path):
            try:
                write_all(self._handle, data)
            except OSError:
                os.ftruncate(self._handle, self._end)  # takes no room, so a full disk allows it
                raise
        self._end += len(data)


def frames(path: Path, framing: Framing, position: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the whole records that a file has when this begins, each with where it ends, in bytes.

    They are those from a position on, where one begins; 0 yields all. A file that is not there has
    no records. Raises DamagedFileError if a whole record comes after one that is not, or if the
    file is of another kind.
    """
    # Not mapped to memory: where another machine cuts the file, a mapping ends the process.
    try:
        file = path.open("rb", buffering=_BUFFER_BYTES)
    except FileNotFoundError:
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(len(framing.magic))
        if first != framing.magic:
            if framing.magic.startswith(first):  # torn at the very beginning
                return
            raise DamagedFileError(path, 0, f"it does not begin as {framing.name} does")
        position = position or len(first)
        file.seek(position)
        while position < size:
            body = _read_body(file, size - position, framing)
            if body is None:
                after = _next_whole(file, position, size, framing)
                if after is not None:
                    problem = (
                        f"the record's checksum does not match, and whole ones follow at {after}"
                    )
                    raise DamagedFileError(path, position, problem)
                return
            position += _FRAME.size + len(body)
            yield position, body


def frames_end(path: Path, framing: Framing) -> int:
    """Return the length in bytes up to the end of the last whole record; 0 without a file."""
    n_magic = len(framing.magic)
    begin = n_magic if path.exists() and path.stat().st_size >= n_magic else 0
    return max((end for end, _ in frames(path, framing)), default=begin)


def _read_body(file: BinaryIO, room_bytes: int, framing: Framing) -> bytes | None:
    """Read the record at the file's position; None if there is no whole one."""
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(frame)
    shortest = framing.mark_at + len(framing.mark)
    if not shortest <= length <= room_bytes - _FRAME.size:
        return None
    body = file.read(length)
    return body if len(body) == length and zlib.crc32(body) == checksum else None


def _next_whole(file: BinaryIO, bad: int, size: int, framing: Framing) -> int | None:
    """Return where the next whole record begins after a bad one; None if there is none."""
    to_mark = _FRAME.size + framing.mark_at
    begin = bad + 1 + to_mark
    while begin < size:
        file.seek(begin)
        window = file.read(_BUFFER_BYTES)
        if not window:  # the file was cut in the meantime
            return None
        found = window.find(framing.mark)
        while found >= 0:
            start = begin + found - to_mark
            file.seek(start)
            if _read_body(file, size - start, framing) is not None:
                return start
            found = window.find(framing.mark, found + 1)
        begin += max(1, len(window) - len(framing.mark) + 1)  # a mark may lie across two windows
    return None

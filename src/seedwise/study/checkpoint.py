"""Checkpoints: the sampler's state after each ask and tell, to resume it as if never stopped."""

import os
import struct
import zlib
from pathlib import Path
from typing import TypeAlias

from seedwise.disk.files import replacing, write_all, writing

_MAGIC = b"seedwise"
_HEADER = struct.Struct("<8sII")  # magic, checksum and length of the body
_BODY = struct.Struct("<QQ")  # serial number, position; the state follows

#: The length of the study file, in bytes, when a sampler's state was saved; and that, pickled.
Checkpoint: TypeAlias = tuple[int, bytes]


class Checkpoints:
    """The last two checkpoints, in two files that are overwritten in turn.

    If the newest one is torn, or ahead of a study file that lost its end, the one before it
    serves. So neither need be synced to disk.
    """

    def __init__(self, paths: tuple[Path, Path]) -> None:
        self._paths = paths
        self._handles: dict[Path, int] = {}
        self._serial = 0

    def save(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint over the older of the two. Raises RunFileError if it can't."""
        self._serial += 1
        position, state = checkpoint
        body = _BODY.pack(self._serial, position) + state
        data = _HEADER.pack(_MAGIC, zlib.crc32(body), len(body)) + body
        self._put(self._paths[self._serial % 2], data)

    def close(self) -> None:
        """Close the files."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def latest(self, end: int) -> Checkpoint | None:
        """Return the newest whole checkpoint up to the `end` of the study file, in bytes."""
        chosen: Checkpoint | None = None
        self._serial = 0
        for path in self._paths:
            serial, found = _read(path) or (0, None)
            if found is None or found[0] > end:
                path.unlink(missing_ok=True)  # the study file will hold something else there
            elif serial > self._serial:
                self._serial, chosen = serial, found
        if chosen is not None:
            path = self._paths[self._serial % 2]
            self._put(path, path.read_bytes())  # into a file of our own
        return chosen

    def _put(self, path: Path, data: bytes) -> None:
        with writing(path):
            if path in self._handles:
                write_all(self._handles[path], data, at=0)
                return
            # A new file even where there is one: a driver that lost the run may still write to it.
            # This one is synced; later checkpoints may be lost, as long as one is there.
            with replacing(path) as handle:
                write_all(handle, data)
                own = os.dup(handle)
            self._handles[path] = own


def _read(path: Path) -> tuple[int, Checkpoint] | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _HEADER.size + _BODY.size:
        return None
    magic, checksum, length = _HEADER.unpack_from(data)
    body = data[_HEADER.size : _HEADER.size + length]  # a longer state may have been here before
    if magic != _MAGIC or len(body) != length or zlib.crc32(body) != checksum:
        return None
    serial, position = _BODY.unpack_from(body)
    return serial, (position, body[_BODY.size :])

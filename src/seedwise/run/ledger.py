"""The ledger: the append-only record of chunk results, which is the truth about work done.

A file begins with the line ``seedwise ledger 1``. Each record after it is

====================  =====================================================================
4 bytes               length of what follows the checksum, little-endian
4 bytes               CRC-32 of it
4 bytes               length of the header
header                JSON: trial, start, n, attempt, digest, duration_s, worker, job_id, and
                      failure, a chunk's first failure, if it has no losses
8 bytes a seed        the losses, float64, little-endian; nothing for a failure
====================  =====================================================================

A record of another kind, with the header ``{"phase": ...}``, says that the losses before it are
of an older state of the loss or of the seeds; they are not used for trials that are not told.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np

from seedwise.errors import DamagedFileError, LedgerMismatchError, writing
from seedwise.model.records import ChunkResult, FailureKind, Proposal, SeedFailure
from seedwise.model.space import ParamValue

__all__ = ["Ledger", "ledger_end"]

_MAGIC = b"seedwise ledger 1\n"
_FRAME = struct.Struct("<II")
_SIZE = struct.Struct("<I")
_SYNC_S = 1.0  # what a power cut may lose of a trial that is not told yet
_LONGEST_NAME = 40
_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 8000


class Ledger:
    """The chunk results of a run.

    Parameters
    ----------
    path : pathlib.Path
        The file; made if there is none. It must end with a whole record: see `ledger_end`.
    guard : callable
        Called before anything is written; raises if another driver has taken the run over.
    accept_changes : bool
        Whether results at other params than the study has are dropped, and not refused.
    """

    def __init__(
        self,
        path: Path,
        guard: Callable[[], None] = lambda: None,
        accept_changes: bool = False,
    ) -> None:
        self._path = path
        self._guard = guard
        self._accept_changes = accept_changes
        # By trial: the digest of the params and the result, of each chunk.
        self._records: dict[int, list[tuple[str, ChunkResult]]] = {}
        self._file = -1
        self._end = 0
        self._synced_s = 0.0

    def __enter__(self) -> Self:
        """Open the file and read what is in it."""
        with contextlib.ExitStack() as closing, writing(self._path):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            closing.callback(os.close, self._file)
            self._end = os.fstat(self._file).st_size
            if self._end == 0:
                self._append(_MAGIC)
            for _, body in _scan(self._path)[0]:
                self._remember(body)
            closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._file)

    def forget(self, told: Sequence[int]) -> None:
        """Drop from memory what is known of trials that were told."""
        for number in told:
            self._records.pop(number, None)

    def recorded(self, proposal: Proposal) -> Sequence[ChunkResult]:
        """Return what is on record for a trial, in the order in which it came.

        Parameters
        ----------
        proposal : Proposal
            The trial's number and params.

        Returns
        -------
        sequence of ChunkResult
            The results; their `chunk` is -1, since chunks may be cut differently now.

        Raises
        ------
        LedgerMismatchError
            If what is on record was evaluated at other params: losses are never mixed.
        """
        entries = self._records.pop(proposal.number, [])
        digest = _digest(proposal.params)
        same = [result for other, result in entries if other == digest]
        if len(same) < len(entries) and not self._accept_changes:
            raise LedgerMismatchError(self._path, proposal.number, proposal.params)
        return same

    def record(self, entries: Sequence[tuple[Proposal, ChunkResult]]) -> None:
        """Append results.

        Parameters
        ----------
        entries : sequence of (Proposal, ChunkResult)
            The results, each with its trial.

        Raises
        ------
        RunFileError
            If the disk does not take them, say because it is full; none is kept then.
        """
        records = [
            _framed(_body(result, _digest(proposal.params))) for proposal, result in entries
        ]
        if records:
            self._append(b"".join(records))
        if time.monotonic() - self._synced_s > _SYNC_S:
            self.sync()

    def begin_phase(self, reason: str) -> None:
        """Note that what is on record is of an older state of the loss or of the seeds."""
        self._append(_framed(_with_header({"phase": reason})))
        self.sync()
        self._records.clear()

    def sync(self) -> None:
        """Have what was appended on disk before this returns."""
        self._guard()
        with writing(self._path):
            os.fsync(self._file)
        self._synced_s = time.monotonic()

    def _append(self, data: bytes) -> None:
        self._guard()
        with writing(self._path):
            try:
                self._write(data)
            except OSError:
                os.ftruncate(self._file, self._end)  # takes no room, so a full disk allows it
                raise

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:  # a disk that fills up takes a part first
            n_written = os.write(self._file, left)
            if not n_written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left = left[n_written:]
        self._end += len(data)

    def _remember(self, body: memoryview) -> None:
        header, rest = _parts(body)
        if "phase" in header:
            self._records.clear()
            return
        entry = (header["digest"], _result(header, rest))
        self._records.setdefault(header["trial"], []).append(entry)


def ledger_end(path: Path) -> int:
    """Return the length of a ledger up to and with its last whole record.

    Parameters
    ----------
    path : pathlib.Path
        The file; if there is none, its length is 0.

    Returns
    -------
    int
        Bytes; what comes after them is a record that a crash has torn.

    Raises
    ------
    DamagedFileError
        If a record is not whole and another one comes after it, or if it is no ledger.
    """
    return _scan(path)[1] if path.exists() else 0


def _scan(path: Path) -> tuple[list[tuple[int, memoryview]], int]:
    """Return a ledger's whole records with their positions, and where they end."""
    data = memoryview(path.read_bytes())
    if data[: len(_MAGIC)] != _MAGIC:
        if _MAGIC.startswith(data):  # torn at the very beginning
            return [], 0
        raise DamagedFileError(path, 0, "it does not begin as a ledger does")
    records = []
    position = len(_MAGIC)
    while position < len(data):
        body = _body_at(data, position)
        if body is None:
            after = _next_whole(data, position)
            if after is not None:
                problem = f"the record's checksum does not match, and whole ones follow at {after}"
                raise DamagedFileError(path, position, problem)
            break
        records.append((position, body))
        position += _FRAME.size + len(body)
    return records, position


def _body_at(data: memoryview, position: int) -> memoryview | None:
    if position + _FRAME.size > len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, position)
    body = data[position + _FRAME.size : position + _FRAME.size + length]
    whole = len(body) == length > _SIZE.size and zlib.crc32(body) == checksum
    return body if whole else None


def _next_whole(data: memoryview, position: int) -> int | None:
    """Return where the next whole record begins after a bad one, if there is one."""
    # Every header begins in the same way, so that records are found after a damaged length.
    raw = bytes(data)
    mark = position + 1
    while (found := raw.find(_HEADER_BEGIN, mark)) >= 0:
        start = found - _SIZE.size - _FRAME.size
        if start > position and _body_at(data, start) is not None:
            return start
        mark = found + 1
    return None


_HEADER_BEGIN = b'{"'


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _with_header(header: Mapping[str, Any], losses: bytes = b"") -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return _SIZE.pack(len(text)) + text + losses


def _body(result: ChunkResult, digest: str) -> bytes:
    header: dict[str, Any] = {
        "trial": result.trial,
        "start": result.start,
        "n": result.n_seeds,
        "attempt": result.attempt,
        "digest": digest,
        "duration_s": round(result.duration_s, 6),
        "worker": result.worker[:_LONGEST_NAME],
        "job_id": result.job_id,
    }
    if result.losses is not None:
        return _with_header(header, result.losses.astype("<f8").tobytes())
    assert result.failure is not None  # a result has one of the two
    failure = attrs.asdict(result.failure)
    failure["message"] = failure["message"][:_LONGEST_MESSAGE]
    failure["traceback"] = failure["traceback"][-_LONGEST_TRACEBACK:]
    return _with_header({**header, "failure": failure})


def _parts(body: memoryview) -> tuple[dict[str, Any], memoryview]:
    (size,) = _SIZE.unpack_from(body)
    header: dict[str, Any] = json.loads(bytes(body[_SIZE.size : _SIZE.size + size]))
    return header, body[_SIZE.size + size :]


def _result(header: Mapping[str, Any], losses: memoryview) -> ChunkResult:
    failure = header.get("failure")
    return ChunkResult(
        trial=header["trial"],
        chunk=-1,
        attempt=header["attempt"],
        start=header["start"],
        n_seeds=header["n"],
        losses=None if failure else np.frombuffer(losses, dtype="<f8"),
        failure=failure and SeedFailure(**{**failure, "kind": FailureKind(failure["kind"])}),
        duration_s=header["duration_s"],
        worker=header["worker"],
        job_id=header["job_id"],
    )


def _digest(params: Mapping[str, ParamValue]) -> str:
    # By repr, which is exact for floats; the params' order is the space's.
    return hashlib.blake2b(repr(sorted(params.items())).encode(), digest_size=6).hexdigest()

"""The ledger: the append-only record of chunk results, the truth about the work done.

A file begins with the line ``seedwise ledger 1``. Each record after it has a frame, see
`seedwise.disk.frames`, and is

====================  =====================================================================
4 bytes               length of the header
header                JSON: trial, start, n, attempt, digest, duration_s, worker, job_id;
                      components, their names, and folder, if there are any; and failure, a
                      chunk's first failure, if it has no losses
8 bytes a seed        the losses, float64, little-endian; nothing for a failure
8 bytes a seed        the same for each component, in the order of their names in the header
====================  =====================================================================

Two other kinds of record say that earlier results do not count any more. ``{"phase": ...}``: the
results before it are of an older state of the loss or of the seeds, and are not used for trials
that are not told. ``{"redo": [...]}``: the trials of these numbers are evaluated again.
"""

import hashlib
import itertools
import json
import math
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.disk.files import writing
from seedwise.disk.frames import FrameFile, Framing, frames
from seedwise.errors import LedgerMismatchError
from seedwise.model.space import ParamValue
from seedwise.model.trials import OVERRUNS, ChunkResult, FailureKind, Proposal, SeedFailure

_SIZE = struct.Struct("<I")
FRAMING = Framing("a ledger", b"seedwise ledger 1\n", mark=b'{"', mark_at=_SIZE.size)
_RESULT_BEGIN = b'{"trial":'
_SYNC_S = 1.0  # what a power cut may lose of a trial that is not told yet
_LONGEST_NAME = 40
_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 8000
_NUMBERS_A_RECORD = 10_000


class Ledger(FrameFile):
    """The chunk results of a run.

    With `accept_changes`, results at other params than the study's are dropped, and not refused.
    Results of trials that are `told`, by number, are not kept in memory.
    """

    def __init__(
        self,
        path: Path,
        guard: Callable[[], None] = lambda: None,
        accept_changes: bool = False,
        told: Callable[[int], bool] = lambda _: False,
    ) -> None:
        super().__init__(path, FRAMING, guard)
        self._accept_changes = accept_changes
        self._told = told
        # By trial: the digest of the params and the result, of each chunk.
        self._records: dict[int, list[tuple[str, ChunkResult]]] = {}

    def __enter__(self) -> Self:
        """Read what is in the file, and open it."""
        with writing(self._path):
            # First what does not count: millions of trials may have been begun again, and their
            # old results should never be in memory.
            phase_at, again_at = _begun_again(self._path)
            for position, body in frames(self._path, FRAMING):
                number = _trial_number(body)
                if number is None or self._told(number):
                    continue
                if position < max(phase_at, again_at.get(number, 0)):
                    continue
                header, arrays = _parts(body)
                entry = (header["digest"], _result(header, arrays))
                self._records.setdefault(number, []).append(entry)
        return super().__enter__()

    def recorded(self, proposal: Proposal) -> Sequence[ChunkResult]:
        """Return what is on record for a trial, in the order in which it came.

        The results' `chunk` is -1, since chunks may be cut differently now. Raises
        LedgerMismatchError if they were evaluated at other params: losses are never mixed.
        """
        entries = self._records.pop(proposal.number, [])
        digest = params_digest(proposal.params)
        same = [result for other, result in entries if other == digest]
        if len(same) < len(entries) and not self._accept_changes:
            raise LedgerMismatchError(self._path, proposal.number, proposal.params)
        return same

    def record(self, entries: Sequence[tuple[Proposal, ChunkResult]]) -> None:
        """Append results, each with its trial: all, or none and a RunFileError."""
        self.append(_body(result, params_digest(proposal.params)) for proposal, result in entries)
        if time.monotonic() - self._synced_s > _SYNC_S:
            self.sync()

    def begin_phase(self, reason: str) -> None:
        """Note that all results so far are of an older state of the loss or of the seeds."""
        self.append([_with_header({"phase": reason})])
        self.sync()
        self._records.clear()

    def begin_again(self, numbers: Iterable[int]) -> None:
        """Note that trials are evaluated again, so that their results are not used.

        Of a trial that only took too long, nothing was wrong with the losses that are in memory:
        they are recorded once more, and count.
        """
        kept: dict[int, list[tuple[str, ChunkResult]]] = {}

        def bodies() -> Iterable[bytes]:
            some = iter(numbers)
            while block := list(itertools.islice(some, _NUMBERS_A_RECORD)):
                yield _with_header({"redo": block})
                for number in self._records.keys() & block:
                    kept[number] = _without_overruns(self._records[number])
                    yield from (_body(result, digest) for digest, result in kept[number])

        self.append(bodies())
        self.sync()
        self._records |= kept


class TrialLosses:
    """The losses of a trial's first seeds, and their components, taken in a record at a time."""

    def __init__(self, number: int, n_seeds: int) -> None:
        #: By position in the seed plan; NaN where there is none.
        self.losses = np.full(n_seeds, np.nan)
        #: The named parts of each loss; NaN where a seed has none of the name.
        self.components: dict[str, NDArray[np.float64]] = {}
        #: What the run's results depend on that was changed after they were recorded, in order.
        self.changed_since: list[str] = []
        self._number = number
        self._digest: str | None = None
        self._failures: dict[int, SeedFailure] = {}  # by position of the chunk

    @property
    def failure(self) -> SeedFailure | None:
        """Its first failure, in the order of the seeds, that no later attempt mended."""
        return self._failures[min(self._failures)] if self._failures else None

    def take(self, header: Mapping[str, Any], arrays: memoryview) -> None:
        """Take a result, or a note that earlier results do not count any more."""
        if self._number in header.get("redo", ()):
            self._start_over()
        if "phase" in header:
            self._digest = None
            self.changed_since += header["phase"].split(", ")
        if header.get("trial") != self._number:
            return
        if header["digest"] != self._digest:
            self._start_over()
            self._digest = header["digest"]
        result = _result(header, arrays)
        if result.losses is None:
            assert result.failure is not None  # a result has one of the two
            self._failures[result.start] = result.failure
            return
        self._failures.pop(result.start, None)
        where = slice(result.start, result.start + result.n_seeds)
        n_seeds = len(self.losses[where])
        self.losses[where] = result.losses[:n_seeds]
        for name in dict.fromkeys([*self.components, *result.components]):
            whole = self.components.setdefault(name, np.full(len(self.losses), np.nan))
            part = result.components.get(name)
            whole[where] = np.nan if part is None else part[:n_seeds]

    def _start_over(self) -> None:
        self.losses.fill(np.nan)
        for found in (self.components, self._failures, self.changed_since):
            found.clear()


def read_trials(path: Path, numbers: Iterable[int], n_seeds: int) -> dict[int, TrialLosses]:
    """Read the losses of some trials' first seeds, of which the latest count; in one pass.

    Losses at other params, or of an older state of the loss or of the seeds, are dropped as soon
    as newer ones are on record: they are never mixed, and those of a trial that was told before a
    change are still there after it.
    """
    found = {number: TrialLosses(number, n_seeds) for number in numbers}
    for _, body in frames(path, FRAMING):
        number = _trial_number(body)
        if number in found:
            found[number].take(*_parts(body))
        elif number is None:  # a note
            parts = _parts(body)
            for one in found.values():
                one.take(*parts)
    return found


@attrs.frozen
class Work:
    """What workers have evaluated, repeated evaluations included."""

    n_chunks: int = 0
    n_seeds: int = 0
    #: Together, for all chunks.
    seconds: float = 0.0


def work_in(path: Path) -> Work:
    """Return the work that is on record."""
    headers = (_parts(body)[0] for _, body in frames(path, FRAMING))
    done = [(header["n"], header["duration_s"]) for header in headers if "trial" in header]
    return Work(len(done), sum(n for n, _ in done), math.fsum(s for _, s in done))


def params_digest(params: Mapping[str, ParamValue]) -> str:
    """Return 12 hexadecimal digits that any change of the params changes."""
    # By repr, which is exact for floats; the params' order is the space's.
    return hashlib.blake2b(repr(sorted(params.items())).encode(), digest_size=6).hexdigest()


def _begun_again(path: Path) -> tuple[int, dict[int, int]]:
    """Return where the last phase begins, and where each trial was begun again last."""
    phase_at, again_at = 0, {}
    for position, body in frames(path, FRAMING):
        if _trial_number(body) is None:
            header, _ = _parts(body)
            if "phase" in header:
                phase_at = position
            else:
                again_at.update(dict.fromkeys(header["redo"], position))
    return phase_at, again_at


def _without_overruns(
    entries: Sequence[tuple[str, ChunkResult]],
) -> list[tuple[str, ChunkResult]]:
    """Return the losses of a trial that failed for want of time; nothing of any other."""
    failures = [result.failure for _, result in entries if result.failure is not None]
    if not failures or any(failure.exception_type not in OVERRUNS for failure in failures):
        return []
    # The files of a failed trial are not all kept.
    return [entry for entry in entries if entry[1].failure is None and not entry[1].folder]


def _trial_number(body: bytes) -> int | None:
    """Return the number of a result's trial, without decoding the rest; None for other records."""
    if not body.startswith(_RESULT_BEGIN, _SIZE.size):
        return None
    begin = _SIZE.size + len(_RESULT_BEGIN)
    return int(body[begin : body.index(b",", begin)])


def _with_header(header: Mapping[str, Any], arrays: bytes = b"") -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return _SIZE.pack(len(text)) + text + arrays


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
    if result.folder:
        header["folder"] = result.folder
    if result.losses is not None:
        if result.components:
            header["components"] = list(result.components)
        arrays = [result.losses, *result.components.values()]
        return _with_header(header, b"".join(part.astype("<f8").tobytes() for part in arrays))
    assert result.failure is not None  # a result has one of the two
    failure = attrs.asdict(result.failure)
    failure["message"] = failure["message"][:_LONGEST_MESSAGE]
    failure["traceback"] = failure["traceback"][-_LONGEST_TRACEBACK:]
    return _with_header({**header, "failure": failure})


def _parts(body: bytes) -> tuple[dict[str, Any], memoryview]:
    (size,) = _SIZE.unpack_from(body)
    header: dict[str, Any] = json.loads(body[_SIZE.size : _SIZE.size + size])
    return header, memoryview(body)[_SIZE.size + size :]


def _result(header: Mapping[str, Any], arrays: memoryview) -> ChunkResult:
    failure = header.get("failure")
    names = header.get("components", ())
    losses = None if failure else np.frombuffer(arrays, dtype="<f8", count=header["n"])
    parts = np.frombuffer(arrays, dtype="<f8").reshape(-1, header["n"])[1:] if names else ()
    return ChunkResult(
        trial=header["trial"],
        chunk=-1,
        attempt=header["attempt"],
        start=header["start"],
        n_seeds=header["n"],
        losses=losses,
        failure=failure and SeedFailure(**{**failure, "kind": FailureKind(failure["kind"])}),
        components=dict(zip(names, parts, strict=True)),
        folder=header.get("folder", ""),
        duration_s=header["duration_s"],
        worker=header["worker"],
        job_id=header["job_id"],
    )

"""The trial table, the file of a sweep's finished trials: its format, readers and writer.

A file begins with the line ``seedwise trials 1``. Each record after it has a frame, see
`seedwise.disk.frames`, and is one of

====================  =====================================================================
45 bytes              a trial: mark, state, number, digest of the params, number of seeds,
                      value, standard error, seconds; NaN for no value or standard error
JSON                  its error and its components, if there are any
====================  =====================================================================

====================  =====================================================================
3 bytes               mark, and 0, which is not a state
8 bytes a number      trials that are not told any more, since they are evaluated again
====================  =====================================================================

Of several records of a number the last counts.
"""

import json
import math
import struct
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.disk.files import inode_and_size, writing
from seedwise.disk.frames import FrameFile, Framing, frames
from seedwise.model.trials import TrialResult, TrialState

#: The codes of states in a file and in `TableRows.state`.
STATE_CODES = {TrialState.COMPLETE: 1, TrialState.FAIL: 2, TrialState.PRUNED: 3}
STATES = {code: state for state, code in STATE_CODES.items()}
NOT_TOLD = 0

_MARK = b"\xf7t"
_AGAIN_BEGIN = _MARK + bytes([NOT_TOLD])
FRAMING = Framing("a trial table", b"seedwise trials 1\n", _MARK)

_ROW = struct.Struct("<2sBq6sIddd")
_ROW_TYPE = np.dtype(
    [
        ("mark", "S2"),
        ("state", "u1"),
        ("number", "<i8"),
        ("digest", "u1", (6,)),
        ("n_seeds", "<u4"),
        ("value", "<f8"),
        ("stderr", "<f8"),
        ("duration_s", "<f8"),
    ]
)
_COLUMNS = [name for name in _ROW_TYPE.names or () if name != "mark"]
_NUMBERS_A_RECORD = 8192
_LONGEST_ERROR = 1000
_STATES_A_BLOCK = 512  # what a single told trial far from all others costs, in bytes


@attrs.frozen(eq=False)
class TableRows:
    """The told trials of a sweep, as columns in the order of their numbers."""

    number: NDArray[np.int64]
    #: By `STATE_CODES`.
    state: NDArray[np.uint8]
    #: Mean loss; as its standard error, NaN where there is none.
    value: NDArray[np.float64]
    stderr: NDArray[np.float64]
    #: In the mean.
    n_seeds: NDArray[np.uint32]
    #: Seconds from asking for the point to telling its value.
    duration_s: NDArray[np.float64]
    #: Digests of the params; ``digest[i].tobytes().hex()`` is one as text.
    digest: NDArray[np.uint8]
    #: Why trials failed, by number.
    errors: dict[int, str]
    #: Means of the named parts of the loss; NaN where a trial has none of the name.
    components: dict[str, NDArray[np.float64]]

    def state_names(self) -> NDArray[np.str_]:
        """Return how the trials ended, by name."""
        names = np.array([STATES[code].value for code in sorted(STATES)])
        return names[self.state - 1]


class TrialTable(FrameFile):
    """The finished trials of a sweep: one byte a trial is in memory."""

    def __init__(self, path: Path, guard: Callable[[], None] = lambda: None) -> None:
        super().__init__(path, FRAMING, guard)
        self.counts: Counter[TrialState] = Counter()
        # A byte for each number, in blocks; 0 for those that are not told.
        self._codes: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(_STATES_A_BLOCK))

    def __enter__(self) -> Self:
        """Read what is in the file, and open it."""
        with writing(self._path):
            for _, body in frames(self._path, FRAMING):
                if body.startswith(_AGAIN_BEGIN):
                    for number in _numbers(body).tolist():
                        self._set(number, NOT_TOLD)
                else:
                    _, code, number, *_ = _ROW.unpack_from(body)
                    self._set(number, code)
        return super().__enter__()

    def state_of(self, number: int) -> TrialState | None:
        """Return how a trial ended; None if it is not told."""
        block, place = divmod(number, _STATES_A_BLOCK)
        return STATES.get(self._codes[block][place])

    def add(self, trials: Sequence[TrialResult], digests: Sequence[str]) -> None:
        """Append finished trials, each with its `params_digest`; all of them, or none."""
        self.append(
            _row_body(trial, digest) for trial, digest in zip(trials, digests, strict=True)
        )
        for trial in trials:
            self._set(trial.number, STATE_CODES[trial.state])

    def begin_again(self, numbers: Iterable[int]) -> None:
        """Note that trials are evaluated again, so not told any more; all of them, or none."""
        told = [number for number in numbers if self.state_of(number)]
        blocks = (told[i : i + _NUMBERS_A_RECORD] for i in range(0, len(told), _NUMBERS_A_RECORD))
        self.append(_AGAIN_BEGIN + np.array(block, dtype="<i8").tobytes() for block in blocks)
        self.sync()
        for number in told:
            self._set(number, NOT_TOLD)

    def _set(self, number: int, code: int) -> None:
        before = self.state_of(number)
        if before:
            self.counts[before] -= 1
        block, place = divmod(number, _STATES_A_BLOCK)
        self._codes[block][place] = code
        if code:
            self.counts[STATES[code]] += 1


def read_rows(path: Path, *, tails: bool = True) -> TableRows:
    """Read the told trials; without `tails`, errors and components are left out."""
    return _read_on(path, 0, tails=tails)[0]


class FollowedRows:
    """Reads the told trials of a table whose writer is elsewhere, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = self._position = 0

    def news(self) -> tuple[bool, TableRows]:
        """Return whether all trials are to be taken anew, and those that were told since."""
        inode, size = inode_and_size(self._path)
        anew = inode != self._inode or size < self._position
        if anew:
            self._inode, self._position = inode, 0
        begin = self._position
        rows, self._position, begin_again = _read_on(self._path, begin)
        if begin and begin_again:
            anew = True
            rows, self._position, _ = _read_on(self._path, 0)
        return anew, rows


def _read_on(path: Path, begin: int, *, tails: bool = True) -> tuple[TableRows, int, bool]:
    """Read the trials told in the records from `begin` on, with no object for each of them.

    Return where these records end, too, and whether one says that trials are evaluated again.
    """
    data, end, begin_again = bytearray(), begin, False
    errors: dict[int, str] = {}  # by row
    parts: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
    for position, body in frames(path, FRAMING, begin):
        end, row = position, len(data) // _ROW.size
        if body.startswith(_AGAIN_BEGIN):
            begin_again = True
            numbers = _numbers(body)
            not_told = np.zeros(len(numbers), dtype=_ROW_TYPE)
            not_told["number"] = numbers
            data += not_told.tobytes()
            continue
        data += memoryview(body)[: _ROW.size]
        tail = json.loads(body[_ROW.size :]) if tails and len(body) > _ROW.size else {}
        if "error" in tail:
            errors[row] = tail["error"]
        for name, value in tail.get("components", {}).items():
            parts[name].extend(repeat(math.nan, row - len(parts[name])))
            parts[name].append(value)
    rows = np.frombuffer(data, dtype=_ROW_TYPE)
    kept = _last_told(rows)
    failed = np.intersect1d(np.fromiter(errors, dtype=np.intp), kept).tolist()
    for column in parts.values():
        column.extend(repeat(math.nan, len(rows) - len(column)))
    told = TableRows(
        **{name: rows[name][kept] for name in _COLUMNS},
        errors={int(rows["number"][row]): errors[row] for row in failed},
        components={name: np.frombuffer(column)[kept] for name, column in parts.items()},
    )
    return told, end, begin_again


def _last_told(rows: NDArray[Any]) -> NDArray[np.intp]:
    """Return the last row of each trial that is told, in the order of their numbers."""
    _, from_end = np.unique(rows["number"][::-1], return_index=True)
    last = len(rows) - 1 - from_end
    told: NDArray[np.intp] = last[rows["state"][last] != NOT_TOLD]
    return told


def _numbers(body: bytes) -> NDArray[np.int64]:
    return np.frombuffer(body, dtype="<i8", offset=len(_AGAIN_BEGIN))


def _row_body(trial: TrialResult, digest: str) -> bytes:
    """Return the record of a finished trial and of the digest of its params."""
    row = _ROW.pack(
        _MARK,
        STATE_CODES[trial.state],
        trial.number,
        bytes.fromhex(digest),
        trial.n_seeds,
        math.nan if trial.value is None else trial.value,
        math.nan if trial.stderr is None else trial.stderr,
        trial.duration_s,
    )
    tail: dict[str, Any] = {}
    if trial.error is not None:
        tail["error"] = trial.error[:_LONGEST_ERROR]
    if trial.components:
        tail["components"] = trial.components
    return row + json.dumps(tail, separators=(",", ":")).encode() if tail else row

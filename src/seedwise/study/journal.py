"""The study file: Optuna's journal format, written by one process, each record with a checksum."""

import collections
import contextlib
import io
import json
import os
import threading
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from seedwise.disk.files import inode_and_size, replace_file, write_all, writing
from seedwise.errors import DamagedFileError

# Optuna's operation codes, part of the journal's format (optuna.storages.journal,
# JournalOperation: SET_TRIAL_STATE_VALUES, SET_TRIAL_USER_ATTR, CREATE_STUDY, CREATE_TRIAL).
_SET_STATE = 6
_SET_ATTRIBUTE = 8
CREATE_STUDY = 0
CREATE_TRIAL = 4

# A record ends with its checksum, in a key that Optuna ignores.
_CHECKSUM = b',"crc32":"'
_TAIL_LENGTH = len(_CHECKSUM) + len(b'00000000"}\n')


class SingleWriterJournal(BaseJournalBackend):
    """A journal that one process appends to; stock Optuna reads the file.

    Optuna's own file backend locks, reopens and syncs the file for each of the about eight
    operations of a trial. One writer needs no lock, and syncs the file when a trial has ended,
    which must not be lost. The file must end with a whole record: see `journal_end`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a path: the scheduler opens the file."""
        return type(self), (self.path,)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the records from a number on."""
        with self._lock:
            lines = list(_whole_lines(self.path))
        return map(_record, lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all of some records, or none and raise OSError; synced if one ends a trial."""
        self.append(b"".join(map(_line, logs)), durable=any(map(_ends_trial, logs)))

    def append(self, lines: bytes, *, durable: bool) -> int:
        """Append records as they are in the file, all or none; return the file's length then."""
        with self._lock:
            if self._file is None:
                self.path.touch(mode=0o600)
                self._file = self.path.open("ab", buffering=0)
            handle = self._file.fileno()
            begin = os.fstat(handle).st_size
            try:
                write_all(handle, lines)
                if durable:
                    os.fsync(handle)
            except OSError as error:
                with contextlib.suppress(OSError):  # the first error says why
                    os.ftruncate(handle, begin)  # takes no room, so a full disk allows it
                raise OSError(error.errno, error.strerror, str(self.path)) from error
            return os.fstat(handle).st_size  # others may have appended a note

    def close(self) -> None:
        """Close the file, once nobody writes to it."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


class ReadOnlyJournal(BaseJournalBackend):
    """The whole records that a journal has now, without one at its end that a crash has torn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = [_record(line) for line in _whole_lines(path)]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the records from a number on."""
        return iter(self._records[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse to append."""
        del logs
        raise io.UnsupportedOperation(f"{self._path} is open for reading only")


class FollowedJournal(ReadOnlyJournal):
    """The whole records of a journal, read on as its writer, elsewhere, appends more."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0
        self._inode = inode_and_size(path)[0]

    @property
    def is_replaced(self) -> bool:
        """Whether the file no longer begins with what was read."""
        inode, size = inode_and_size(self._path)
        return inode != self._inode or size < self._position

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the records that follow; a storage reads each once and in order."""
        del log_number_from
        for line in _whole_lines(self._path, self._position):
            self._position += len(line)
            yield _record(line)


class JournalCopy(BaseJournalBackend):
    """The records of a journal, and those that its writer, elsewhere, is yet to append."""

    def __init__(self, path: Path) -> None:
        self._unread = collections.deque(ReadOnlyJournal(path).read_logs(0))
        self._unsent: list[bytes] = []
        self._ends_trial = False

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the records from a number on; a storage reads each once and in order."""
        del log_number_from
        while self._unread:
            yield self._unread.popleft()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records, which are read as a reader of the file sees them."""
        lines = [_line(log) for log in logs]
        self._unread += map(_record, lines)
        self._unsent += lines
        self._ends_trial |= any(map(_ends_trial, logs))

    def take(self) -> tuple[bytes, bool]:
        """Return what is to be appended, once, and whether a trial ends in it."""
        taken = b"".join(self._unsent), self._ends_trial
        self._unsent, self._ends_trial = [], False
        return taken


def journal_end(path: Path) -> int:
    """Return the length of the journal in bytes up to the end of its last whole record."""
    return sum(map(len, _whole_lines(path)))


def _whole_lines(path: Path, position: int = 0) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(position)
            content = file.read()  # at once: its writer may be at work
    except FileNotFoundError:
        return
    for line in (lines := io.BytesIO(content)):
        if _is_whole(line):
            yield line
        elif lines.read(1):
            raise DamagedFileError(path, position, "the record's checksum does not match")
        position += len(line)


def turn_direction(path: Path, direction: str) -> None:
    """Change the direction of the study in a journal, which Optuna can't do; no record moves."""
    if not path.exists():
        return
    wanted = [int(StudyDirection[direction.upper()])]
    first, *rest = path.read_bytes().splitlines(keepends=True) or [b"{}"]
    record = _record(first)
    if record.get("op_code") == CREATE_STUDY and record["directions"] != wanted:
        record["directions"] = wanted
        with writing(path):
            replace_file(path, b"".join([_line(record), *rest]))


def take_back_tells(path: Path, numbers: Collection[int]) -> None:
    """Have trials be in flight as before they were told, which Optuna can't do."""
    # What they were told becomes records of the same length that say only that they are RUNNING.
    with writing(path):
        lines = path.read_bytes().splitlines(keepends=True)
        for index, line in enumerate(lines):
            record = _record(line)
            told = record["op_code"] == _SET_ATTRIBUTE or _ends_trial(record)
            if told and record["trial_id"] in numbers:  # in a file of one study they are the same
                kept = {name: record[name] for name in ("worker_id", "trial_id")}
                nothing = {"op_code": _SET_STATE, **kept, "state": TrialState.RUNNING}
                lines[index] = _line(nothing, len(line))
        replace_file(path, b"".join(lines))


def told_later(path: Path, numbers: Collection[int]) -> dict[int, set[int]]:
    """Return for each of some trials which ones were told after it was asked for, by number."""
    records = [_record(line) for line in _whole_lines(path)]
    asked = [at for at, record in enumerate(records) if record["op_code"] == CREATE_TRIAL]
    # In a file of one study a trial's id is its number.
    return {
        number: {record["trial_id"] for record in records[asked[number] :] if _ends_trial(record)}
        for number in numbers
    }


def _line(log: dict[str, Any], length: int = 0) -> bytes:
    body = json.dumps(log, separators=(",", ":")).encode()[:-1].ljust(length - _TAIL_LENGTH)
    return b'%b%b%08x"}\n' % (body, _CHECKSUM, zlib.crc32(body))


def _record(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    record.pop("crc32", None)
    return record


def _is_whole(line: bytes) -> bool:
    body, tail = line[:-_TAIL_LENGTH], line[-_TAIL_LENGTH:]
    if tail.startswith(_CHECKSUM):
        return tail == b'%b%08x"}\n' % (_CHECKSUM, zlib.crc32(body))
    # Another program's record, say a note made in optuna-dashboard.
    with contextlib.suppress(ValueError, TypeError):
        return line.endswith(b"\n") and "op_code" in json.loads(line)
    return False


def _ends_trial(log: dict[str, Any]) -> bool:
    return log["op_code"] == _SET_STATE and TrialState(log["state"]).is_finished()

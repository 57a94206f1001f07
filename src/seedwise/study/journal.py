"""The study file: Optuna's journal format, written by one process."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

__all__ = ["SingleWriterJournal"]

# Optuna's operation code of a change of a trial's state, part of the journal's format
# (optuna.storages.journal, JournalOperation.SET_TRIAL_STATE_VALUES).
_SET_STATE = 6


class SingleWriterJournal(BaseJournalBackend):
    """A journal that one process appends to; stock Optuna reads the file.

    Optuna's own file backend locks, reopens and syncs the file for each of the about eight
    operations of a trial. One writer needs no lock and knows what it wrote; the file is synced
    when a trial has ended, which is what must not be lost.

    Parameters
    ----------
    path : pathlib.Path
        The file; made if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._n_read = 0
        self._pending: list[dict[str, Any]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a path: the scheduler opens the file."""
        return type(self), (self.path,)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the records from a number on.

        Parameters
        ----------
        log_number_from : int
            Number of the first record to read.

        Returns
        -------
        iterator of dict
            The records.
        """
        if self._file is None:
            self._pending = self._open()
        # The storage reads each record once and in order: what it has is dropped.
        del self._pending[: max(0, log_number_from - self._n_read)]
        self._n_read = log_number_from
        yield from list(self._pending)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records; they are on disk before this returns when one of them ends a trial.

        Parameters
        ----------
        logs : list of dict
            The records.
        """
        if self._file is None:
            self._pending = self._open()
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        data = memoryview("".join(lines).encode())
        while data:  # a disk that fills up takes a part first
            n_written = self._file.write(data)
            if not n_written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            data = data[n_written:]
        if any(_ends_trial(log) for log in logs):
            os.fsync(self._file.fileno())
        # What a reader of the file would see: enumerations and tuples become plain JSON.
        self._pending.extend(json.loads(line) for line in lines)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> list[dict[str, Any]]:
        self._file = self.path.open("ab", buffering=0)
        self._n_read = 0
        with self.path.open("rb") as file:
            return [json.loads(line) for line in file]


def _ends_trial(log: dict[str, Any]) -> bool:
    return log["op_code"] == _SET_STATE and TrialState(log["state"]).is_finished()

"""The following of a run's trials in its folder, while they are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from seedwise.disk.same_file import inode_and_size
from seedwise.folder.directory import RunDirectory
from seedwise.folder.table_rows import read_rows_on
from seedwise.model.points import Cases
from seedwise.model.trials import TrialResult
from seedwise.results.read import read_cases
from seedwise.results.sweep import SweepTrials
from seedwise.study.follow import FollowedStudy


class Followed(Protocol):
    """Trials that are read as they are told, each once."""

    def news(self) -> tuple[bool, Sequence[TrialResult]]:
        """Return whether all trials are to be taken anew, and those that were told since."""


def follow(directory: RunDirectory) -> Followed:
    """Follow the trials of a run or of an entry, from the first on."""
    meta = directory.read_meta()
    if meta["kind"] == "sweep":
        return _FollowedTable(directory.trial_table, read_cases(meta))
    return FollowedStudy(directory.study_file, meta["study_name"])


class _FollowedTable:
    """Reads the trials of a sweep as they are told."""

    def __init__(self, path: Path, cases: Cases) -> None:
        self._path, self._cases = path, cases
        self._inode = self._position = 0

    def news(self) -> tuple[bool, Sequence[TrialResult]]:
        inode, size = inode_and_size(self._path)
        anew = inode != self._inode or size < self._position
        if anew:
            self._inode, self._position = inode, 0
        begin = self._position
        rows, self._position, begin_again = read_rows_on(self._path, begin)
        if begin and begin_again:
            anew = True
            rows, self._position, _ = read_rows_on(self._path, 0)
        return anew, SweepTrials(rows, self._cases)

"""The following of a run's trials in its folder, while they are told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from seedwise.folder.directory import RunDirectory
from seedwise.folder.trial_table import FollowedRows
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
        return _FollowedSweep(directory.trial_table, read_cases(meta))
    return FollowedStudy(directory.study_file, meta["study_name"])


class _FollowedSweep:
    """Reads the trials of a sweep as they are told."""

    def __init__(self, path: Path, cases: Cases) -> None:
        self._rows, self._cases = FollowedRows(path), cases

    def news(self) -> tuple[bool, Sequence[TrialResult]]:
        anew, rows = self._rows.news()
        return anew, SweepTrials(rows, self._cases)

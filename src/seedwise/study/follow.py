"""The following of a study in its file, to which another process, or thread, writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optuna.storages import JournalStorage

from seedwise.model.trials import TrialResult
from seedwise.study.journal import FollowedJournal
from seedwise.study.proposer import told_trial


class FollowedStudy:
    """Reads the trials of a study as they are told, each once; nothing is written."""

    def __init__(self, path: Path, study_name: str) -> None:
        self._path, self._name = path, study_name
        self._journal = FollowedJournal(path)
        self._storage = JournalStorage(self._journal)
        self._n = 0
        #: Numbers of those that were in flight at the last look.
        self._open: list[int] = []

    def news(self) -> tuple[bool, Sequence[TrialResult]]:
        """Return whether all trials are to be taken anew, and those that were told since."""
        anew = self._journal.is_replaced
        if anew:
            self._journal = FollowedJournal(self._path)
            self._storage = JournalStorage(self._journal)
            self._n, self._open = 0, []
        try:
            study_id = self._storage.get_study_id_from_name(self._name)
        except KeyError:  # there is no study yet
            return anew, ()
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        looked_at = [trials[number] for number in (*self._open, *range(self._n, len(trials)))]
        self._n = len(trials)
        self._open = [trial.number for trial in looked_at if not trial.state.is_finished()]
        return anew, [told_trial(trial) for trial in looked_at if trial.state.is_finished()]

"""The following of a study in its file, to which another process, or thread, writes."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from seedwise.model.trials import TrialResult
from seedwise.study.journal import CREATE_STUDY, CREATE_TRIAL, FollowedJournal
from seedwise.study.proposer import told_trial
from seedwise.study.storage import quiet_optuna


class _Studies(BaseJournalBackend):
    """Several journals, each of one study, as one journal of all, for reading only."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._journals: dict[str, FollowedJournal] = {}
        # Optuna counts both, over the whole journal.
        self._study_ids: dict[str, int] = {}
        self._trial_ids: dict[str, list[int]] = {name: [] for name in paths}
        self._n_trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read the records that follow; a storage reads each once and in order."""
        for name, path in self._paths.items():
            if name not in self._journals and path.exists():
                self._journals[name] = FollowedJournal(path)
        for name, journal in self._journals.items():
            if journal.is_replaced:
                raise io.UnsupportedOperation(f"{self._paths[name]} was replaced: start anew")
            for record in journal.read_logs(log_number_from):
                yield self._as_of_all(name, record)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse to append."""
        del logs
        raise io.UnsupportedOperation("the studies of a run are open for reading only")

    def _as_of_all(self, name: str, record: dict[str, Any]) -> dict[str, Any]:
        if record["op_code"] == CREATE_STUDY:
            self._study_ids[name] = len(self._study_ids)
            record["study_name"] = name
        elif record["op_code"] == CREATE_TRIAL:
            # In a file of one study a trial's id is its number.
            self._trial_ids[name].append(self._n_trials)
            self._n_trials += 1
        if "study_id" in record:
            record["study_id"] = self._study_ids[name]
        if "trial_id" in record:
            record["trial_id"] = self._trial_ids[name][record["trial_id"]]
        return record


def followed_storage(paths: Mapping[str, Path]) -> JournalStorage:
    """Return a storage of studies by their names, which follows their files and can't write."""
    with quiet_optuna():
        return JournalStorage(_Studies(paths))


class FollowedStudy:
    """Reads the trials of a study as they are told, each once; nothing is written."""

    def __init__(self, path: Path, study_name: str) -> None:
        self._path, self._name = path, study_name
        self._begin()

    def _begin(self) -> None:
        self._journal = FollowedJournal(self._path)
        self._storage = JournalStorage(self._journal)
        self._n = 0
        #: Numbers of those that were in flight at the last look.
        self._open: list[int] = []

    def news(self) -> tuple[bool, Sequence[TrialResult]]:
        """Return whether all trials are to be taken anew, and those that were told since."""
        anew = self._journal.is_replaced
        if anew:
            self._begin()
        try:
            study_id = self._storage.get_study_id_from_name(self._name)
        except KeyError:  # there is no study yet
            return anew, ()
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        looked_at = [trials[number] for number in (*self._open, *range(self._n, len(trials)))]
        self._n = len(trials)
        self._open = [trial.number for trial in looked_at if not trial.state.is_finished()]
        return anew, [told_trial(trial) for trial in looked_at if trial.state.is_finished()]

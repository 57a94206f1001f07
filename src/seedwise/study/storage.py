"""The study's storage: DaskStorage over the study file, with finished trials kept at hand."""

from __future__ import annotations

import copy
import logging
import uuid
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from optuna_integration.dask import DaskStorage

from seedwise.errors import StudyFileError
from seedwise.study.journal import ReadOnlyJournal, SingleWriterJournal

if TYPE_CHECKING:
    from distributed import Client, Scheduler

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)

# Fetching a trial costs a call of a millisecond, fetching all of them 0.1 ms each.
_ALL_AT_ONCE = 20


class CachedDaskStorage(DaskStorage):  # type: ignore[misc]
    """A DaskStorage that fetches a finished trial once.

    Finished trials never change. Bare DaskStorage sends all trials at every ask; here only their
    number and the unfinished ones travel.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._finished: dict[int, dict[int, FrozenTrial]] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return a study's trials, as `optuna.storages.BaseStorage.get_all_trials` says."""
        if states is not None and not any(s in states for s in TrialState if s.is_finished()):
            unfinished: list[FrozenTrial] = super().get_all_trials(
                study_id, deepcopy, tuple(s for s in _UNFINISHED if s in states)
            )
            return unfinished
        finished = self._finished.setdefault(study_id, {})
        # The number first: a trial made after that is not looked for, and one that ends after
        # that is found finished when it is fetched.
        n_trials = self.get_n_trials(study_id)
        trials = dict(finished)
        many = n_trials - len(finished) > _ALL_AT_ONCE  # of a run that is resumed
        for trial in super().get_all_trials(study_id, False, None if many else _UNFINISHED):
            trials[trial.number] = trial
            if trial.state.is_finished():
                finished[trial.number] = trial
        for number in range(n_trials):
            if number not in trials:
                trial_id = self.get_trial_id_from_study_id_trial_number(study_id, number)
                trials[number] = self.get_trial(trial_id)
                if trials[number].state.is_finished():
                    finished[number] = trials[number]
        chosen = [
            trials[number]
            for number in sorted(trials)
            if states is None or trials[number].state in states
        ]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def delete_study(self, study_id: int) -> None:
        """Delete a study, here and in the file."""
        super().delete_study(study_id)
        self._finished.pop(study_id, None)


class _StudyFile(JournalStorage):
    def __init__(self, path: Path) -> None:
        self.journal = SingleWriterJournal(path)
        super().__init__(self.journal)


def open_storage(client: Client, path: Path) -> CachedDaskStorage:
    """Open the study file on the scheduler; it is made if there is none.

    Raises StudyFileError if the scheduler can't write it where this process can see it.
    """
    name = f"seedwise-{uuid.uuid4().hex}"  # a second one under a name in use would be ignored
    try:
        client.run_on_scheduler(_register_journal, path=path, name=name)
    except OSError as error:
        raise StudyFileError(path, f"the scheduler can't write it ({error})") from error
    if not path.exists():
        raise StudyFileError(path, "the scheduler wrote it to a disk of its own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return CachedDaskStorage(None, name=name, client=client)


def close_storage(storage: CachedDaskStorage) -> None:
    """Close the study file and forget the storage on the scheduler."""
    storage.client.run_on_scheduler(_unregister, name=storage.name)


def journal_position(storage: CachedDaskStorage) -> int:
    """Return the length of the study file in bytes, as its writer sees it."""
    position: int = storage.client.run_on_scheduler(_position, name=storage.name)
    return position


def load_study(path: Path, study_name: str) -> optuna.Study:
    """Load a study from its file, as it is now, to read it; KeyError if it is not there yet."""
    with quiet_optuna():
        storage: BaseStorage = JournalStorage(ReadOnlyJournal(path))
        return optuna.load_study(study_name=study_name, storage=storage)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing studies; the user's own verbosity is restored."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _register_journal(dask_scheduler: Scheduler, path: Path, name: str) -> None:
    # On the scheduler, where DaskStorage looks for its storage by name.
    from optuna_integration.dask.dask import _register_with_scheduler

    _register_with_scheduler(dask_scheduler, _StudyFile(path), name)


def _position(dask_scheduler: Scheduler, name: str) -> int:
    position: int = dask_scheduler.extensions["optuna"].storages[name].journal.position
    return position


def _unregister(dask_scheduler: Scheduler, name: str) -> None:
    dask_scheduler.extensions["optuna"].storages.pop(name).journal.close()

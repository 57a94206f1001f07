"""The study's storage: a DaskStorage over the study file, with a copy of the study at hand."""

import asyncio
import collections
import contextlib
import copy
import itertools
import logging
import uuid
import warnings
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import optuna
from distributed import Client, Scheduler
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from optuna_integration.dask import DaskStorage

from seedwise.errors import StudyFileError
from seedwise.study.journal import JournalCopy, ReadOnlyJournal, SingleWriterJournal


class CachedDaskStorage(JournalStorage, DaskStorage):  # type: ignore[misc]
    """A DaskStorage whose only writer has a copy of the study.

    Bare DaskStorage calls the scheduler for each of the about fifteen reads and writes of a trial,
    and sends all trials at every ask. Here all is read from the copy, and what is written goes to
    the scheduler with the next `send`, at once.
    """

    def __init__(self, client: Client, name: str, path: Path) -> None:
        DaskStorage.__init__(self, None, name, client, register=False)
        self._copy = JournalCopy(path)
        # By study, those before its first trial in flight. They never change again.
        self._told: dict[int, list[FrozenTrial]] = collections.defaultdict(list)
        JournalStorage.__init__(self, self._copy)

    # Of these, DaskStorage has methods, and JournalStorage has none.
    get_n_trials = BaseStorage.get_n_trials
    get_trial_number_from_id = BaseStorage.get_trial_number_from_id
    get_trial_param = BaseStorage.get_trial_param

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials; JournalStorage gathers all of them one by one at each call."""
        self.get_study_name_from_id(study_id)  # KeyError if there is no such study
        told = self._told[study_id]
        others: list[FrozenTrial] = []
        with contextlib.suppress(KeyError):
            for number in itertools.count(len(told)):
                trial_id = self.get_trial_id_from_study_id_trial_number(study_id, number)
                trial = self.get_trial(trial_id)
                (others if others or not trial.state.is_finished() else told).append(trial)
        if states is not None:  # at each ask, Optuna looks for those that wait
            is_of_told = any(state in states for state in TrialState if state.is_finished())
            told = [trial for trial in told if trial.state in states] if is_of_told else []
            others = [trial for trial in others if trial.state in states]
        return copy.deepcopy(told + others) if deepcopy else told + others

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a bare DaskStorage."""
        self.send()
        return tuple(DaskStorage.__reduce__(self))

    def send(self) -> int:
        """Have the scheduler write what is new, and sync it after a trial; return its length."""
        taken = self._copy.take()
        return int(self.client.run_on_scheduler(_append, name=self.name, taken=taken))


class _StudyFile(JournalStorage):
    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self.journal = SingleWriterJournal(path)
        super().__init__(self.journal)


def open_storage(client: Client, path: Path) -> CachedDaskStorage:
    """Open or make the study file on the scheduler; StudyFileError if it can't be seen here."""
    name = f"seedwise-{uuid.uuid4().hex}"  # a second one under a name in use would be ignored
    try:
        size = client.run_on_scheduler(_register_journal, path=path, name=name)
    except OSError as error:
        raise StudyFileError(path, f"the scheduler can't write it ({error})") from error
    if not path.exists() or path.stat().st_size != size:
        raise StudyFileError(path, "the scheduler wrote it to a disk of its own")
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return CachedDaskStorage(client, name, path)


def close_storage(storage: CachedDaskStorage) -> None:
    """Close the study file and forget the storage on the scheduler."""
    storage.client.run_on_scheduler(_unregister, name=storage.name)


def load_study(path: Path, study_name: str) -> optuna.Study:
    """Load a study from its file, as it is now, to read it; KeyError if it is not there yet."""
    with quiet_optuna():
        storage = JournalStorage(ReadOnlyJournal(path))
        return optuna.load_study(study_name=study_name, storage=storage)


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing studies; the user's own verbosity is restored."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _register_journal(dask_scheduler: Scheduler, path: Path, name: str) -> int:
    # On the scheduler, where DaskStorage looks for its storage by name. What may take long runs in
    # a thread: the scheduler's event loop must not wait for a disk.
    from optuna_integration.dask.dask import _register_with_scheduler

    _register_with_scheduler(dask_scheduler, await asyncio.to_thread(_StudyFile, path), name)
    return path.stat().st_size


async def _append(dask_scheduler: Scheduler, name: str, taken: tuple[bytes, bool]) -> int:
    journal = dask_scheduler.extensions["optuna"].storages[name].journal
    return int(await asyncio.to_thread(journal.append, taken[0], durable=taken[1]))


async def _unregister(dask_scheduler: Scheduler, name: str) -> None:
    storage = dask_scheduler.extensions["optuna"].storages.pop(name)
    await asyncio.to_thread(storage.journal.close)

"""The study's storage: what a copy reads, and what the scheduler gets."""

from __future__ import annotations

import threading

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna_integration.dask import DaskStorage

from seedwise.errors import StudyFileError
from seedwise.study import storage as storage_module
from seedwise.study.storage import close_storage, load_study, open_storage, quiet_optuna

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


@pytest.fixture
def storage(client, path):
    storage = open_storage(client, path)
    yield storage
    close_storage(storage)


def begin(storage) -> optuna.Study:
    with quiet_optuna():
        sampler = optuna.samplers.RandomSampler(seed=1)
        return optuna.create_study(storage=storage, study_name="walk", sampler=sampler)


def add_trial(study, value: float) -> None:
    trial = study.ask(SPACE)
    trial.set_user_attr("stderr", value)
    study.tell(trial, value)


def test_what_is_sent_is_on_disk_and_on_the_scheduler(storage, client, path):
    study = begin(storage)
    add_trial(study, 3.0)
    assert path.stat().st_size == 0
    assert storage.send() == path.stat().st_size > 0
    bare = DaskStorage(None, name=storage.name, client=client, register=False)
    for value in (2.0, 1.0):
        add_trial(study, value)
        storage.send()
        assert bare.get_all_trials(0) == study.get_trials()
    study.ask(SPACE)
    assert storage.send() == path.stat().st_size
    assert bare.get_n_trials(0) == 4
    assert load_study(path, "walk").get_trials() == study.get_trials()


def test_a_storage_takes_up_what_is_in_the_file(client, path):
    first = open_storage(client, path)
    study = begin(first)
    for value in (2.0, 1.0):
        add_trial(study, value)
    first.send()
    trials = study.get_trials()
    close_storage(first)
    again = open_storage(client, path)
    assert again.get_all_trials(0) == trials
    study = optuna.load_study(storage=again, study_name="walk")
    add_trial(study, 0.5)
    again.send()
    assert [trial.value for trial in load_study(path, "walk").trials] == [2.0, 1.0, 0.5]
    close_storage(again)


def test_a_note_of_another_program_counts_for_the_length(storage, path):
    study = begin(storage)
    add_trial(study, 3.0)
    storage.send()
    with quiet_optuna():
        stock = JournalStorage(JournalFileBackend(str(path)))
        optuna.load_study(storage=stock, study_name="walk").set_user_attr("note", "looks good")
    add_trial(study, 2.0)
    assert storage.send() == path.stat().st_size
    assert [trial.value for trial in load_study(path, "walk").trials] == [3.0, 2.0]


def test_a_scheduler_that_has_another_file_under_the_path_is_refused(client, path, monkeypatch):
    path.write_bytes(b"")
    register = storage_module._register_journal

    async def elsewhere(dask_scheduler, path, name):
        return await register(dask_scheduler, path, name) + 7

    monkeypatch.setattr(storage_module, "_register_journal", elsewhere)
    with pytest.raises(StudyFileError, match="to a disk of its own"):
        open_storage(client, path)


def test_the_event_loop_of_the_scheduler_does_not_wait_for_the_disk(storage, client):
    begin(storage)
    client.run_on_scheduler(_spy, name=storage.name)
    storage.send()
    loop, appended = client.run_on_scheduler(_spied, name=storage.name)
    assert appended
    assert appended != loop


def _spy(dask_scheduler, name: str) -> None:
    journal = dask_scheduler.extensions["optuna"].storages[name].journal
    append = journal.append

    def spying(*args, **kwargs):
        journal.thread = threading.get_ident()
        return append(*args, **kwargs)

    journal.append = spying


def _spied(dask_scheduler, name: str) -> tuple[int, int | None]:
    journal = dask_scheduler.extensions["optuna"].storages[name].journal
    return threading.get_ident(), getattr(journal, "thread", None)

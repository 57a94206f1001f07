from __future__ import annotations

import json
import os
import pickle
import zlib
from types import SimpleNamespace

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from seedwise.study.journal import SingleWriterJournal

SPACE = {
    "x": optuna.distributions.FloatDistribution(0, 1),
    "n": optuna.distributions.IntDistribution(1, 100, log=True),
    "kind": optuna.distributions.CategoricalDistribution(["a", "b"]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


@pytest.fixture
def journal(path):
    journal = SingleWriterJournal(path)
    yield journal
    journal.close()


def create(journal: SingleWriterJournal) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(journal),
        study_name="walk",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )


def load(backend) -> optuna.Study:
    return optuna.load_study(study_name="walk", storage=JournalStorage(backend))


def add_trials(study: optuna.Study, values) -> None:
    for value in values:
        trial = study.ask(SPACE)
        trial.set_user_attr("stderr", value)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        study.tell(trial, value, state=state)


def test_stock_optuna_reads_what_is_written(journal, path):
    study = create(journal)
    add_trials(study, [3.0, None, 0.1])
    study.ask(SPACE)
    stock = load(JournalFileBackend(str(path)))
    assert stock.get_trials() == study.get_trials()
    assert [trial.state for trial in stock.trials] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    assert stock.best_value == 0.1


def test_a_journal_goes_on_where_another_ended(journal, path):
    add_trials(create(journal), [3.0, 0.1])
    journal.close()
    second = SingleWriterJournal(path)
    study = load(second)
    add_trials(study, [0.05])
    stock = load(JournalFileBackend(str(path)))
    assert [trial.value for trial in stock.trials] == [3.0, 0.1, 0.05]
    assert stock.get_trials() == study.get_trials()
    second.close()


def test_what_stock_optuna_wrote_is_read(journal, path):
    stock = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))), study_name="walk"
    )
    add_trials(stock, [3.0, 0.1])
    assert load(journal).get_trials() == stock.get_trials()


def test_it_travels_as_a_path_and_takes_up_the_work(journal, path):
    study = create(journal)
    add_trials(study, [3.0])
    again = pickle.loads(pickle.dumps(journal))
    assert again.path == path
    assert load(again).get_trials() == study.get_trials()
    again.close()


def test_each_record_is_a_line_on_disk_at_once(journal, path):
    journal.append_logs([{"op_code": 0, "a": (1, 2)}, {"op_code": 4}])
    first = b'{"op_code":0,"a":[1,2],"crc32":"%08x"}\n' % zlib.crc32(b'{"op_code":0,"a":[1,2]')
    second = b'{"op_code":4,"crc32":"%08x"}\n' % zlib.crc32(b'{"op_code":4')
    assert path.read_bytes() == first + second
    journal.append_logs([{"op_code": 1}])
    assert json.loads(path.read_bytes().splitlines()[2])["op_code"] == 1


def test_records_are_read_from_a_number_on(journal):
    records = [{"op_code": 0, "n": n} for n in range(4)]
    journal.append_logs(records[:3])
    assert list(journal.read_logs(0)) == records[:3]
    assert list(journal.read_logs(3)) == []
    journal.append_logs(records[3:])
    assert list(journal.read_logs(3)) == records[3:]
    assert list(journal.read_logs(4)) == []


@pytest.mark.parametrize("first", [0, 2, 3])
def test_records_of_a_file_are_read_from_a_number_on(journal, path, first):
    records = [{"op_code": 0, "n": n} for n in range(3)]
    journal.append_logs(records)
    again = SingleWriterJournal(path)
    assert list(again.read_logs(first)) == records[first:]
    again.close()


def test_a_record_is_read_as_a_reader_of_the_file_sees_it(journal):
    journal.append_logs([{"op_code": 0, "state": TrialState.RUNNING, "pair": (1, 2)}])
    assert list(journal.read_logs(0)) == [{"op_code": 0, "state": 0, "pair": [1, 2]}]


def test_the_file_is_synced_when_a_trial_ends_and_not_otherwise(journal, path, monkeypatch):
    sizes = []
    fsync = os.fsync

    def count(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    study = create(journal)
    trial = study.ask(SPACE)
    trial.set_user_attr("stderr", 0.5)
    trial.report(1.0, step=1)
    assert sizes == []
    study.tell(trial, 1.0)
    assert sizes == [path.stat().st_size]
    failed = study.ask(SPACE)
    assert len(sizes) == 1
    study.tell(failed, state=TrialState.FAIL)
    assert sizes[1:] == [path.stat().st_size]


def test_a_journal_that_was_never_used_can_be_closed(path):
    SingleWriterJournal(path).close()
    assert not path.exists()


def test_a_short_write_is_completed(tmp_path):
    """A raw file may take a part only."""
    journal = SingleWriterJournal(tmp_path / "j")
    journal.append_logs([])
    raw = journal._file
    journal._file = SimpleNamespace(
        write=lambda data: raw.write(data[:7]), fileno=raw.fileno, close=raw.close
    )
    record = {"op_code": 8, "text": "some words that are longer than seven letters"}
    journal.append_logs([record])
    journal.close()
    assert list(SingleWriterJournal(tmp_path / "j").read_logs(0)) == [record]

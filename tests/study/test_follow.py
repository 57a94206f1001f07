"""A study that is followed in its file, and several as one."""

from __future__ import annotations

import contextlib
import io

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from seedwise.errors import DamagedFileError
from seedwise.study.follow import FollowedStudy, followed_storage
from seedwise.study.journal import SingleWriterJournal, take_back_tells

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


class Writer:
    """Writes a study as the driver does."""

    def __init__(self, path):
        self.journal = SingleWriterJournal(path)
        self.study = optuna.create_study(
            storage=JournalStorage(self.journal),
            study_name="walk",
            sampler=optuna.samplers.RandomSampler(seed=1),
        )

    def ask(self):
        return self.study.ask(SPACE)

    def tell(self, trial, value):
        self.study._storage.set_trial_user_attr(trial._trial_id, "n_seeds", 4)
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        self.study.tell(trial, value, state=state)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


@pytest.fixture
def write():
    """Make a writer of a file; they are closed in the end."""
    with contextlib.ExitStack() as closing:

        def write(path):
            writer = Writer(path)
            closing.callback(writer.journal.close)
            return writer

        yield write


def news(followed):
    anew, trials = followed.news()
    return anew, [(trial.number, trial.value) for trial in trials]


def test_each_trial_comes_once_when_it_is_told(path, write):
    followed = FollowedStudy(path, "walk")
    assert news(followed) == (False, [])
    writer = write(path)
    first, second = writer.ask(), writer.ask()
    assert news(followed) == (True, [])  # there is a file now
    writer.tell(second, 2.0)
    assert news(followed) == (False, [(1, 2.0)])
    writer.tell(first, None)
    writer.tell(writer.ask(), 0.5)
    assert news(followed) == (False, [(0, None), (2, 0.5)])
    assert news(followed) == (False, [])


def test_a_record_that_is_half_written_comes_when_it_is_whole(path, write):
    writer = write(path)
    followed = FollowedStudy(path, "walk")
    writer.tell(writer.ask(), 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert news(followed) == (False, [])
    with path.open("ab") as file:
        file.write(whole[-5:])
    assert news(followed) == (False, [(0, 1.0)])


def test_a_file_that_was_cut_or_replaced_begins_anew(path, write):
    writer = write(path)
    writer.tell(writer.ask(), 1.0)
    end = path.stat().st_size
    writer.tell(writer.ask(), 2.0)
    followed = FollowedStudy(path, "walk")
    assert news(followed) == (False, [(0, 1.0), (1, 2.0)])
    with path.open("r+b") as file:
        file.truncate(end)
    assert news(followed) == (True, [(0, 1.0)])
    take_back_tells(path, {0})
    assert news(followed) == (True, [])


def test_damage_is_an_error(path, write):
    writer = write(path)
    followed = FollowedStudy(path, "walk")
    news(followed)
    writer.tell(writer.ask(), 1.0)
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    with pytest.raises(DamagedFileError):
        followed.news()


def test_studies_of_several_files_are_one_storage_that_grows_and_cannot_be_written(
    tmp_path, write
):
    paths = {name: tmp_path / f"{name}.journal" for name in ("anna", "ben", "cleo")}
    anna, ben = write(paths["anna"]), write(paths["ben"])
    storage = followed_storage(paths)
    for writer, value in ((anna, 3.0), (ben, 1.0), (anna, 2.0), (ben, 5.0)):
        writer.tell(writer.ask(), value)

    def values():
        studies = optuna.get_all_study_names(storage)
        loaded = [optuna.load_study(study_name=name, storage=storage) for name in studies]
        return {one.study_name: [trial.value for trial in one.trials] for one in loaded}

    assert values() == {"anna": [3.0, 2.0], "ben": [1.0, 5.0]}
    cleo = write(paths["cleo"])
    cleo.tell(cleo.ask(), 7.0)
    ben.tell(ben.ask(), 0.5)
    assert values() == {"anna": [3.0, 2.0], "ben": [1.0, 5.0, 0.5], "cleo": [7.0]}
    before = {path: path.read_bytes() for path in paths.values()}
    study = optuna.load_study(study_name="ben", storage=storage)
    assert study.best_params == ben.study.best_params
    with pytest.raises(io.UnsupportedOperation):
        optuna.delete_study(study_name="ben", storage=storage)
    with pytest.raises(io.UnsupportedOperation):
        study.ask()
    assert before == {path: path.read_bytes() for path in paths.values()}
    paths["anna"].write_bytes(b"")
    with pytest.raises(io.UnsupportedOperation, match="start anew"):
        values()

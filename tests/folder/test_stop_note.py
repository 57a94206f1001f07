"""The trial at which a study stops is noted before it is told, so that no kill loses the error."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pytest

import seedwise as sw
from seedwise.errors import (
    DamagedFileError,
    LossFailedError,
    NoCompleteTrialError,
    SeedwiseError,
    SpaceError,
)
from seedwise.folder import stop_note
from seedwise.folder.directory import RunDirectory
from seedwise.folder.stop_note import StopNote
from seedwise.study.proposer import Proposer
from tests.tables import table

BAD = 2


@sw.loss(name="falls", description="fails in its trial 2", parameter_space={"x": (-1.0, 1.0)})
def falls(params, seed, context):
    if context["trial_number"] == BAD:
        raise ValueError("it fell")
    return params["x"] + seed


@pytest.fixture
def fit(client, tmp_path):
    def fit(name, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path, "progress": False, "run_name": name}
        return sw.optimize_run(falls, n_trials=5, n_seeds=4, **fixed, **keywords)

    return fit


@pytest.fixture(params=[pytest.param("before", marks=pytest.mark.full), "after"])
def killed_at_the_tell(request):
    """Have the driver end before, or right after, the study is told of the bad trial."""
    tell = Proposer.tell

    def stop(self, outcome):
        if outcome.number == BAD and request.param == "before":
            raise KeyboardInterrupt
        told = tell(self, outcome)
        if outcome.number == BAD:
            raise KeyboardInterrupt
        return told

    @contextlib.contextmanager
    def killed():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Proposer, "tell", stop)
            yield

    return killed


def test_a_kill_at_the_tell_does_not_lose_the_error(fit, killed_at_the_tell):
    with pytest.raises(LossFailedError) as expected:
        fit("whole")
    whole = fit("whole")
    with killed_at_the_tell(), pytest.raises(KeyboardInterrupt):
        fit("cut")
    with pytest.raises(LossFailedError) as caught:
        fit("cut")
    assert (caught.value.trial, caught.value.seed, caught.value.params) == (
        expected.value.trial,
        expected.value.seed,
        expected.value.params,
    )
    assert str(caught.value) == str(expected.value).replace("whole", "cut")
    assert table(fit("cut")) == table(whole)


def test_without_the_wish_to_stop_it_goes_on(fit, killed_at_the_tell):
    with killed_at_the_tell(), pytest.raises(KeyboardInterrupt):
        fit("cut")
    result = fit("cut", fail_on_chunk_error=False)
    assert [str(trial.state) for trial in result.trials].count("FAIL") == 1


NOTED = [
    LossFailedError(
        3, 7, 5, {"x": 0.5, "kind": "a"}, "KeyError", "trace", run_dir=Path("r/a"), message="'a'"
    ),
    NoCompleteTrialError(Path("runs/a"), 3, "it broke"),
    DamagedFileError(Path("runs/a/b"), 17, "it is odd"),
    SpaceError("has no value", "x"),
]


@pytest.mark.parametrize("error", NOTED, ids=lambda error: type(error).__name__)
def test_an_error_is_noted_with_its_data_and_without_a_pickle(tmp_path, monkeypatch, error):
    directory = RunDirectory(tmp_path)
    assert stop_note.read(directory) is None
    for name in ("dumps", "loads"):
        monkeypatch.delattr(pickle, name)
    stop_note.write(directory, StopNote(4, error, seen=True))
    note = stop_note.read(directory)
    assert (note.number, type(note.error), note.seen) == (4, type(error), True)
    assert (str(note.error), vars(note.error)) == (str(error), vars(error))
    assert Path(tmp_path / "failure.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["NoSuchError", "resume_command", "LossFailedError: no"])
def test_a_note_of_an_error_that_is_unknown_has_its_text(tmp_path, kind):
    directory = RunDirectory(tmp_path)
    directory.failure.write({"trial": 3, "seen": False, "error": kind, "data": {}})
    error = stop_note.read(directory).error
    assert (type(error), str(error)) == (SeedwiseError, kind)

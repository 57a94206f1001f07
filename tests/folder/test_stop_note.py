"""The trial at which a study stops is noted before it is told, so that no kill loses the error."""

from __future__ import annotations

import base64
import contextlib
import pickle
from pathlib import Path

import pytest

import seedwise as sw
from seedwise.errors import LossFailedError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.stop_note import StopNote, read_stop_note, write_stop_note
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


@pytest.fixture(params=["before", "after"])
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


class Odd(Exception):  # noqa: N818 - one that can't be pickled
    def __reduce__(self):
        raise TypeError("not me")


def test_notes(tmp_path):
    directory = RunDirectory(tmp_path)
    assert read_stop_note(directory) is None
    write_stop_note(directory, StopNote(3, ValueError("no way")))
    note = read_stop_note(directory)
    assert (note.number, str(note.error), note.seen) == (3, "no way", False)
    assert Path(tmp_path / "failure.json").stat().st_mode & 0o777 == 0o600
    write_stop_note(directory, StopNote(4, Odd("strange"), seen=True))
    note = read_stop_note(directory)
    assert (note.number, type(note.error), str(note.error), note.seen) == (
        4,
        RuntimeError,
        "Odd: strange",
        True,
    )
    with pytest.raises(TypeError):
        pickle.dumps(Odd())


def test_a_note_whose_error_can_not_be_read_any_more_has_its_text(tmp_path):
    directory = RunDirectory(tmp_path)
    write_stop_note(directory, StopNote(3, ValueError("no way")))
    content = directory.read_failure()
    gone = base64.b64encode(b"cno_such_module\nOdd\n.").decode()
    directory.write_failure({**content, "pickled": gone})
    note = read_stop_note(directory)
    assert (type(note.error), str(note.error)) == (RuntimeError, "ValueError: no way")

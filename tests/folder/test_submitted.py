"""Which run a call takes up in a later job of a submitted script."""

from __future__ import annotations

import errno
import os

import attrs
import pytest

from seedwise.disk.files import read_lines
from seedwise.errors import OptionError, RunFileError
from seedwise.folder.find import NOTES_VARIABLE, START_VARIABLE, Call

WALK = Call("/runs", None, "walk", "gain 1", ["fit.py"])
NAMED = attrs.evolve(WALK, run_name="mine")
OTHERS = [
    attrs.evolve(WALK, run_root="/other"),
    attrs.evolve(WALK, loss_name="swim"),
    attrs.evolve(WALK, argv=["fit.py", "anna"]),
    attrs.evolve(WALK, options="gain 2"),
    NAMED,
]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv(NOTES_VARIABLE, str(tmp_path / "runs.jsonl"))
    return tmp_path / "runs.jsonl"


@pytest.fixture
def begin(notes, monkeypatch, tmp_path):
    """Make a call in a start of a job; return the run that it takes up, or the one it begins."""

    def begin(start: str, call: Call, new: str) -> str:
        monkeypatch.setenv(START_VARIABLE, start)
        run = call.run_before("run_name") or new
        call.note(tmp_path / run)
        return run

    return begin


def test_a_later_job_takes_up_the_run_of_the_same_call(begin):
    other = attrs.evolve(WALK, options="gain 2")
    assert [begin("12.0", call, new) for call, new in ((WALK, "v1"), (other, "v2"))] == [
        "v1",
        "v2",
    ]
    # It may leave out what is done.
    assert begin("13.0", other, "v3") == "v2"
    assert begin("14.0", WALK, "v3") == "v1"


def test_equal_calls_without_a_name_are_refused(begin):
    begin("12.0", WALK, "v1")
    with pytest.raises(OptionError, match="run_name=None: must be a name for each of several"):
        begin("12.0", WALK, "v2")
    assert begin("13.0", WALK, "v2") == "v1"
    begin("13.0", NAMED, "mine")
    assert begin("13.0", NAMED, "other") == "mine"


def test_a_job_that_slurm_restarts_is_a_later_one(begin):
    assert begin("12.0", WALK, "v1") == "v1"
    assert begin("12.1", WALK, "v2") == "v1"


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_call_takes_up_a_run_of_its_own(begin, other):
    begin("12.0", WALK, "v1")
    begin("12.0", other, "v2")
    assert begin("13.0", other, "v3") == "v2"
    assert begin("13.0", WALK, "v3") == "v1"


def test_the_arguments_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr("sys.argv", ["fit.py", "--fast"])
    assert Call("/runs", None, "walk", "").argv == ["fit.py", "--fast"]


def test_elsewhere_nothing_is_noted_or_known(monkeypatch, tmp_path):
    monkeypatch.delenv(NOTES_VARIABLE, raising=False)
    WALK.note(tmp_path / "v1")
    assert WALK.run_before("run_name") is None
    assert list(tmp_path.iterdir()) == []


def test_a_torn_note_costs_no_other(begin, notes):
    begin("12.0", WALK, "v1")
    with notes.open("ab") as file:
        file.write(b'{"start": "12.0", "ca')
    assert begin("13.0", WALK, "v2") == "v1"
    assert len(read_lines(notes)) == 2


def test_a_note_that_can_not_be_written_is_an_error(begin, notes, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFileError, match=r"runs\.jsonl can't be written: No space"):
        begin("12.0", WALK, "v1")

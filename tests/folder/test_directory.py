"""The run folder: its files, its formats, and what crashes and other users do to it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from seedwise.errors import NotARunError, RunFileError
from seedwise.folder.directory import BEFORE_IT_BEGINS, FORMAT_VERSION, RunDirectory, utc_now
from seedwise.folder.find import entry_directory, open_run_directory


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return open_run_directory(tmp_path / "runs", None, "walk")


def read(directory: RunDirectory, name: str):
    return json.loads((directory.path / name).read_text(encoding="utf-8"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def snapshot(path: Path) -> dict[str, bytes | None]:
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in path.rglob("*")
    }


def test_what_a_folder_has_is_made_again(directory):
    before = snapshot(directory.path)
    shutil.rmtree(directory.log_dir)
    for name in (".gitignore", "environment.json"):
        (directory.path / name).unlink()
    directory.furnish()
    assert snapshot(directory.path) == before
    directory.furnish()
    assert snapshot(directory.path) == before


def test_a_run_that_could_not_begin_is_discarded(tmp_path):
    directory = open_run_directory(tmp_path, None, "walk")
    directory.discard()
    assert list(tmp_path.iterdir()) == []


def test_other_files_stay_when_a_run_is_discarded(directory):
    for name in BEFORE_IT_BEGINS - {".gitignore", "code", "environment.json"}:
        (directory.path / name).touch()
    (directory.code / "1234").mkdir(parents=True)
    directory.meta.write({})
    directory.parts.write({"parts": 1})
    (directory.path / "thesis.tex").write_text("dear")
    directory.discard()
    assert snapshot(directory.path) == {"thesis.tex": b"dear"}


@pytest.mark.parametrize("name", ["study.journal", "trials.table", "entries"])
def test_a_run_has_results_when_something_was_asked_for(directory, name):
    directory.meta.write({})
    directory.ledger.touch()
    assert not directory.has_results
    (directory.path / name).touch()
    assert directory.has_results


def test_the_names_of_the_files(directory):
    assert directory.trial_table == directory.path / "trials.table"
    assert directory.entries == directory.path / "entries"
    assert directory.study_file == directory.path / "study.journal"
    assert directory.ledger == directory.path / "chunks.ledger"
    assert directory.lease == directory.path / "driver.lease"
    assert directory.log_dir == directory.path / "slurm"
    assert {path.parent for path in directory.checkpoints} == {directory.path}
    assert len(set(directory.checkpoints)) == 2
    assert {entry.name for entry in directory.path.iterdir()} == {
        ".gitignore",
        "environment.json",
        "slurm",
    }


def test_meta_is_written_with_the_format_version(directory):
    directory.meta.write({"n": 3, "limit": timedelta(hours=2), "root": Path("runs")})
    assert read(directory, "meta.json") == {
        "format_version": FORMAT_VERSION,
        "n": 3,
        "limit": "2:00:00",
        "root": "runs",
    }


def test_meta_is_read_as_it_was_written(directory):
    directory.meta.write({"n": 3, "names": ["ä"], "none": None})
    assert directory.read_meta() == {"n": 3, "names": ["ä"], "none": None}


@pytest.mark.parametrize("version", [1, 2, 3, FORMAT_VERSION + 1])
def test_a_run_of_another_format_is_refused(directory, version):
    meta = {"format_version": version, "loss_name": "walk"}
    (directory.path / "meta.json").write_text(json.dumps(meta))
    problem = (
        f"format {version}, and this version of seedwise reads format {FORMAT_VERSION} only: "
    )
    with pytest.raises(NotARunError, match=problem) as caught:
        directory.read_meta()
    assert caught.value.run_dir == directory.path


def test_a_run_without_meta_is_refused(directory):
    with pytest.raises(NotARunError, match=r"there is no meta\.json"):
        directory.read_meta()


@pytest.mark.parametrize("text", ['{"title": "of another program"}', "[]", '{"format_ver', ""])
def test_a_meta_that_is_not_ours_is_refused(directory, text):
    (directory.path / "meta.json").write_text(text)
    with pytest.raises(NotARunError):
        directory.read_meta()


# What is read as a program.


def test_parts_are_read_as_they_were_written(directory):
    directory.parts.write({"n": 1})
    directory.parts.write({"n": 2})
    assert directory.read_parts()["n"] == 2


def test_without_parts_there_is_no_run(directory):
    with pytest.raises(NotARunError, match=r"there is no run\.json"):
        directory.read_parts()
    directory.parts.write({"parts": 1})
    directory.discard()
    with pytest.raises(NotARunError, match="there is no walk_v0001"):
        directory.read_parts()


@pytest.mark.parametrize("name", ["run.json", "."])
@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_parts_that_others_could_have_written_are_not_read(directory, name, bits):
    directory.parts.write({"parts": 1})
    path = directory.path / name
    path.chmod(mode(path) | bits)
    with pytest.raises(NotARunError, match=f"with mode {mode(path):o}, so others") as caught:
        directory.read_parts()
    assert path.name in str(caught.value)
    path.chmod(mode(path) & ~bits)
    assert directory.read_parts()["parts"] == 1


@pytest.mark.parametrize("name", ["run.json", "."])
def test_parts_of_another_user_are_not_read(directory, name, monkeypatch):
    directory.parts.write({"parts": 1})
    path = directory.path / name
    if os.getuid() == 0:  # what root wrote is read by all: give it to another user
        os.chown(path, 4711, -1)
    else:  # all of it belongs to another user then, and the folder comes first
        path = directory.path
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    owner = path.stat().st_uid
    with pytest.raises(NotARunError, match=f"{path.name} belongs to user {owner} "):
        directory.read_parts()


def test_the_parts_of_a_user_whose_group_may_write_by_default_are_read(tmp_path):
    before = os.umask(0o002)
    try:
        directory = open_run_directory(tmp_path, None, "walk")
        directory.parts.write({"parts": 1})
    finally:
        os.umask(before)
    assert directory.read_parts()["parts"] == 1


# Files that are cut back.


@pytest.fixture
def torn(directory) -> Path:
    path = directory.ledger
    path.write_bytes(b"whole records, torn")
    return path


@pytest.mark.parametrize("fence", [False, True])
@pytest.mark.parametrize("length", [0, 5, 18])
def test_what_is_cut_off_is_kept_aside(directory, torn, length, fence):
    data = torn.read_bytes()
    directory.cut_back(torn, length, fence=fence)
    assert torn.read_bytes() == data[:length]
    (aside,) = (directory.path / "cut").iterdir()
    assert aside.name.startswith(f"chunks.ledger-from-{length}-")
    assert aside.read_bytes() == data[length:]
    assert (mode(aside.parent), mode(aside)) == (0o700, 0o600)
    assert not list(directory.path.glob(".*.new"))


def test_each_tail_is_kept(directory, torn):
    for length in (12, 9, 4, 0):
        directory.cut_back(torn, length, fence=False)
    kept = {entry.read_bytes() for entry in (directory.path / "cut").iterdir()}
    assert kept == {b"s, torn", b"ord", b"e rec", b"whol"}


@pytest.mark.parametrize("fence", [False, True])
def test_a_file_that_is_whole_is_kept_as_it_is(directory, torn, fence):
    data, number = torn.read_bytes(), torn.stat().st_ino
    for length in (len(data), len(data) + 1):
        directory.cut_back(torn, length, fence=fence)
        assert torn.read_bytes() == data
    assert not (directory.path / "cut").exists()
    assert fence or torn.stat().st_ino == number


def test_a_file_that_is_not_there_is_not_made(directory):
    directory.cut_back(directory.ledger, 0, fence=True)
    assert not directory.ledger.exists()


@pytest.mark.parametrize("fence", [False, True])
def test_behind_a_fence_a_driver_that_lost_the_run_writes_into_nothing(directory, torn, fence):
    with torn.open("ab", buffering=0) as lost:
        directory.cut_back(torn, 13, fence=fence)
        lost.write(b" too late")
    assert torn.read_bytes() == b"whole records" + (b"" if fence else b" too late")


def test_behind_a_fence_the_file_is_as_safe_as_it_was(directory, torn, monkeypatch):
    calls, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    directory.cut_back(torn, 13, fence=True)
    assert calls == ["fsync", "replace"]


def full(*args, **kwargs) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("module", "call"), [(Path, "write_bytes"), (os, "truncate"), (os, "fsync")]
)
def test_on_a_full_disk_nothing_is_cut_off_that_is_not_kept(
    directory, torn, module, call, monkeypatch
):
    data = torn.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, call, full)
        with pytest.raises(RunFileError, match="No space left on device") as caught:
            directory.cut_back(torn, 13, fence=True)
    assert caught.value.path == torn
    if call == "fsync":  # it is cut by then
        data = data[:13]
    assert torn.read_bytes() == data
    directory.cut_back(torn, 13, fence=True)
    assert torn.read_bytes() == b"whole records"


# The summary.


def test_the_summary_is_what_it_is_given(directory):
    directory.summary.write({"best_value": 1.5, "best_params": {"x": 0.1}, "n_told": 7})
    assert read(directory, "summary.json") == {
        "format_version": FORMAT_VERSION,
        "best_value": 1.5,
        "best_params": {"x": 0.1},
        "n_told": 7,
    }


def test_the_summary_says_how_many_trials_are_told(directory):
    assert directory.n_told() == 0
    directory.summary.write({"n_told": 7})
    assert directory.n_told() == 7


@pytest.mark.parametrize("content", [b"", b"{", b"{}"])
def test_a_summary_that_a_power_cut_has_torn_says_nothing(directory, content):
    (directory.path / "summary.json").write_bytes(content)
    assert directory.n_told() == 0


# The status.


def test_the_status_is_read_as_it_was_written(directory):
    assert directory.status.read() == {}
    directory.status.write({"state": "running", "done": 3, "best_value": None})
    assert directory.status.read() == {
        "format_version": FORMAT_VERSION,
        "state": "running",
        "done": 3,
        "best_value": None,
    }


@pytest.mark.parametrize("content", [b"", b"{"])
def test_a_status_that_a_power_cut_has_torn_says_nothing(directory, content):
    (directory.path / "status.json").write_bytes(content)
    assert directory.status.read() == {}


@pytest.mark.parametrize("name", ["summary", "status"])
def test_what_is_written_at_each_trial_is_not_synced(directory, name, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    getattr(directory, name).write({"n_told": 3})
    assert read(directory, f"{name}.json")["n_told"] == 3


# Why a study stopped.


def test_a_failure_is_read_as_it_was_written(directory):
    entry = entry_directory(directory, "anna")
    for one in (directory, entry):
        assert one.failure.read() == {}
        one.failure.write({"trial": 1})
        one.failure.write({"trial": 2})
        assert one.failure.read()["trial"] == 2
    assert entry_directory(directory, "ben").failure.read() == {}


# The folder of an entry.


def test_an_entry_has_its_own_results_and_all_else_of_its_run(directory):
    entry = entry_directory(directory, "anna")
    assert (entry.home, directory.home) == (directory, directory)
    assert entry.name == "anna"
    assert (entry.lease, entry.log_dir) == (directory.lease, directory.log_dir)
    own = [entry.study_file, *entry.checkpoints, entry.ledger, entry.trial_table]
    assert {path.parent for path in own} == {entry.path}
    directory.parts.write({"of": "the run"})
    assert entry.read_parts()["of"] == "the run"
    assert entry.environment.read() == directory.environment.read()
    directory.meta.write({"n": 1})
    assert not entry.has_begun
    entry.meta.write({"n": 2})
    assert (directory.read_meta(), entry.read_meta()) == ({"n": 1}, {"n": 2})


@pytest.mark.parametrize("name", [".", "entries/anna", "run.json"])
def test_parts_of_an_entry_that_others_could_have_written_are_not_read(directory, name):
    entry = entry_directory(directory, "anna")
    directory.parts.write({"parts": 1})
    path = directory.path / name
    path.chmod(0o722)
    if name == ".":
        with pytest.raises(NotARunError, match="others could have put a program into it"):
            directory.read_parts()
    else:
        with pytest.raises(NotARunError, match="others could have put a program into it"):
            entry.read_parts()


# What a driver that was killed left.


def test_what_was_written_aside_is_swept_but_for_a_lease(directory):
    for name in ("meta.json", "status.json", "study.journal", "driver.lease", "driver.lease.lock"):
        (directory.path / f".{name}.0a1b2c3d.new").touch()
    before = snapshot(directory.path)
    directory.sweep()
    swept = before.keys() - snapshot(directory.path).keys()
    assert swept == {f".{n}.0a1b2c3d.new" for n in ("meta.json", "status.json", "study.journal")}


# How files are written.


def test_a_file_is_written_aside_synced_and_renamed(directory, monkeypatch):
    directory.meta.write({"n": 1})
    seen = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        (aside,) = directory.path.glob(".meta.json.*.new")
        seen.append((read(directory, "meta.json")["n"], json.loads(aside.read_text())["n"]))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    directory.meta.write({"n": 2})
    assert seen == [(1, 2)]
    assert read(directory, "meta.json")["n"] == 2
    assert not list(directory.path.glob(".*.new"))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda directory: directory.meta.write({"n": 2}), "meta.json"),
        (lambda directory: directory.parts.write({"parts": 2}), "run.json"),
        (lambda directory: directory.furnish(), ".gitignore"),
        (lambda directory: directory.failure.write({"trial": 2}), "failure.json"),
    ],
    ids=["meta", "parts", "furniture", "failure"],
)
def test_a_write_that_breaks_off_leaves_the_old_file(directory, write, name, call, monkeypatch):
    directory.meta.write({"n": 1})
    directory.parts.write({"parts": 1})
    directory.failure.write({"trial": 1})
    before = (directory.path / name).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], full)
        with pytest.raises(RunFileError, match="No space left on device") as caught:
            write(directory)
    assert caught.value.path == directory.path / name
    assert f"seedwise resume {directory.path}" in str(caught.value)
    assert (directory.path / name).read_bytes() == before
    write(directory)
    assert not list(directory.path.glob(".*.new"))


def test_the_time_is_in_utc():
    assert utc_now().tzinfo is UTC

"""The run folder: its files, its formats, and what is done to it by a crash or by others."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from seedwise.errors import NotARunError, OptionError, RunExistsError, RunFileError
from seedwise.model.records import TrialResult, TrialState
from seedwise.run.directory import (
    FORMAT_VERSION,
    RunDirectory,
    existing_run,
    open_run_directory,
    utc_now,
)


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return open_run_directory(tmp_path / "runs", None, "walk")


def read(directory: RunDirectory, name: str):
    return json.loads((directory.path / name).read_text(encoding="utf-8"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_runs_are_numbered(tmp_path):
    names = [open_run_directory(tmp_path, None, "walk").name for _ in range(3)]
    assert names == ["walk_v0001", "walk_v0002", "walk_v0003"]


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (["walk_v0007", "walk_v0002"], "walk_v0008"),
        (["walk_v9999"], "walk_v10000"),
        (["walk_v10000", "walk_v9999"], "walk_v10001"),
        (["walk_v3", "walk_v0004_old", "walks_v0005", "old_walk_v0006"], "walk_v0001"),
    ],
)
def test_the_next_free_number_is_above_all_others(tmp_path, taken, name):
    for other in taken:
        (tmp_path / other).mkdir()
    assert open_run_directory(tmp_path, None, "walk").name == name


def test_a_file_takes_a_number_too(tmp_path):
    (tmp_path / "walk_v0001").touch()
    assert open_run_directory(tmp_path, None, "walk").name == "walk_v0002"


@pytest.mark.parametrize(
    ("loss_name", "name"),
    [
        ("a/b c", "a_b_c_v0001"),
        ("../up", ".._up_v0001"),
        ("größe$(x)\n", "gr__e__x___v0001"),
        ("a.b-c_D9", "a.b-c_D9_v0001"),
    ],
)
def test_odd_characters_of_a_loss_name_are_replaced(tmp_path, loss_name, name):
    assert open_run_directory(tmp_path, None, loss_name).path == tmp_path / name
    assert open_run_directory(tmp_path, None, loss_name).name == name[:-1] + "2"


def test_a_name_of_ones_own_is_kept(tmp_path):
    directory = open_run_directory(tmp_path, "my run, 2nd $try", "walk")
    assert directory.path == tmp_path / "my run, 2nd $try"
    assert directory.name == "my run, 2nd $try"


def snapshot(path: Path) -> dict[str, bytes | None]:
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in path.rglob("*")
    }


@pytest.mark.parametrize("name", ["data.csv", "study.journal", "slurm.txt", "src/walk.py"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, name):
    path = tmp_path / "mine"
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text("what somebody needs")
    before = snapshot(path)
    with pytest.raises(RunExistsError, match="mine exists already and holds no run") as caught:
        open_run_directory(tmp_path, "mine", "walk")
    assert caught.value.run_dir == path
    assert snapshot(path) == before


def test_a_file_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("what somebody needs")
    with pytest.raises(RunExistsError) as caught:
        open_run_directory(tmp_path, "mine", "walk")
    assert caught.value.run_dir == tmp_path / "mine"
    assert (tmp_path / "mine").read_text() == "what somebody needs"


@pytest.mark.parametrize("name", [".env", ".git/config", "slurm/job.sh"])
def test_what_is_not_ours_is_never_discarded(tmp_path, name):
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("what somebody needs")
    with contextlib.suppress(RunExistsError):
        open_run_directory(tmp_path, "mine", "walk").discard()
    assert path.exists()


def test_a_run_that_has_begun_is_found_and_nothing_of_it_changes(tmp_path):
    directory = open_run_directory(tmp_path, "mine", "walk")
    directory.write_meta({"n": 1})
    (directory.path / "data.csv").write_text("of the user's")
    before = snapshot(directory.path)
    assert open_run_directory(tmp_path, "mine", "another loss") == directory
    assert snapshot(directory.path) == before


def test_a_run_whose_driver_was_killed_before_it_began_is_begun_again(tmp_path):
    directory = open_run_directory(tmp_path, "mine", "walk")
    directory.write_parts(b"parts")
    for name in ("driver.lease", "driver.lease.lock", ".run.pickle.0a1b2c3d.new"):
        (directory.path / name).touch()
    assert not directory.has_begun
    assert open_run_directory(tmp_path, "mine", "walk") == directory


def test_a_root_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="Not a directory") as caught:
        open_run_directory(tmp_path / "file" / "runs", None, "walk")
    assert (caught.value.name, caught.value.value) == ("run_root", str(tmp_path / "file/runs"))


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


# Existing runs.


@pytest.mark.parametrize("as_type", [str, Path])
def test_an_existing_run_is_found(tmp_path, as_type, monkeypatch):
    directory = open_run_directory(tmp_path, "mine", "walk")
    directory.write_meta({})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (directory.path, "mine", "~/mine"):
        assert existing_run(as_type(path)) == directory


def test_what_is_no_run_is_refused(tmp_path):
    open_run_directory(tmp_path, "unborn", "walk")
    (tmp_path / "file").touch()
    for name, problem in (
        ("gone", "there is no such folder"),
        ("file", "there is no such folder"),
        ("unborn", "there is no meta.json, so this is no run"),
    ):
        with pytest.raises(NotARunError, match=f"{name}: {problem}") as caught:
            existing_run(tmp_path / name)
        assert caught.value.run_dir == tmp_path / name


def test_a_relative_root_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_run_directory(Path("a/b"), None, "walk").path == tmp_path / "a/b/walk_v0001"


def test_a_root_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_run_directory(Path("~/r"), "x", "walk").path == tmp_path / "r/x"


@pytest.mark.parametrize("name", [None, "mine"])
def test_the_folder_is_its_owners_only_and_no_business_of_git(tmp_path, name):
    directory = open_run_directory(tmp_path, name, "walk")
    assert mode(directory.path) == 0o700
    assert mode(directory.log_dir) == 0o700
    assert (directory.path / ".gitignore").read_text() == "*\n"


def test_the_names_of_the_files(directory):
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


def test_creators_that_race_get_folders_of_their_own(tmp_path):
    n_creators = 6
    barrier = Barrier(n_creators)

    def create(_) -> Path:
        barrier.wait()
        return open_run_directory(tmp_path, None, "walk").path

    with ThreadPoolExecutor(n_creators) as pool:
        paths = list(pool.map(create, range(n_creators)))
    assert len(set(paths)) == n_creators
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_creators_that_race_for_a_name_get_the_same_folder(tmp_path, monkeypatch):
    found, fsync = [], os.fsync

    def while_the_first_writes(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        found.append(open_run_directory(tmp_path, "mine", "walk"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", while_the_first_writes)
    found.append(open_run_directory(tmp_path, "mine", "walk"))
    assert found == [RunDirectory(tmp_path / "mine")] * 2
    assert read(found[0], "environment.json")["python"] == sys.version


def test_a_number_that_another_run_takes_in_this_moment_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "walk_v0001").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda self: iter(()))  # seen before it was made
        path = open_run_directory(tmp_path, None, "walk").path
    assert path == tmp_path / "walk_v0002"


def test_meta_is_written_with_the_format_version(directory):
    directory.write_meta({"n": 3, "limit": timedelta(hours=2), "root": Path("runs")})
    assert read(directory, "meta.json") == {
        "format_version": FORMAT_VERSION,
        "n": 3,
        "limit": "2:00:00",
        "root": "runs",
    }


def test_meta_is_read_as_it_was_written(directory):
    directory.write_meta({"n": 3, "names": ["ä"], "none": None})
    assert directory.read_meta() == {"n": 3, "names": ["ä"], "none": None}


@pytest.mark.parametrize("version", [1, FORMAT_VERSION + 1])
def test_a_run_of_another_format_is_refused(directory, version):
    meta = {"format_version": version, "loss_name": "walk"}
    (directory.path / "meta.json").write_text(json.dumps(meta))
    problem = f"format {version}, and this version of seedwise resumes format {FORMAT_VERSION} "
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
    directory.write_parts(b"one")
    directory.write_parts(b"two")
    assert directory.read_parts() == b"two"


def test_without_parts_there_is_no_run(directory):
    with pytest.raises(NotARunError, match=r"there is no run\.pickle"):
        directory.read_parts()
    directory.write_parts(b"parts")
    directory.discard()
    with pytest.raises(NotARunError, match="there is no walk_v0001"):
        directory.read_parts()


@pytest.mark.parametrize("name", ["run.pickle", "."])
@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_parts_that_others_could_have_written_are_not_read(directory, name, bits):
    directory.write_parts(b"parts")
    path = directory.path / name
    path.chmod(mode(path) | bits)
    with pytest.raises(NotARunError, match=f"with mode {mode(path):o}, so others") as caught:
        directory.read_parts()
    assert path.name in str(caught.value)
    path.chmod(mode(path) & ~bits)
    assert directory.read_parts() == b"parts"


@pytest.mark.parametrize("name", ["run.pickle", "."])
def test_parts_of_another_user_are_not_read(directory, name, monkeypatch):
    directory.write_parts(b"parts")
    path = directory.path / name
    if os.getuid() == 0:  # what root wrote is read by all: give it to somebody else
        os.chown(path, 4711, -1)
    else:  # all of it belongs to somebody else then, and the folder comes first
        path = directory.path
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    owner = path.stat().st_uid
    with pytest.raises(NotARunError, match=f"{path.name} belongs to user {owner} "):
        directory.read_parts()


def test_the_parts_of_a_user_whose_group_may_write_by_default_are_read(tmp_path):
    before = os.umask(0o002)
    try:
        directory = open_run_directory(tmp_path, None, "walk")
        directory.write_parts(b"parts")
    finally:
        os.umask(before)
    assert directory.read_parts() == b"parts"


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
    assert mode(aside.parent) == 0o700
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


def test_the_summary(directory):
    best = TrialResult(4, {"x": 0.1}, 1.5, 0.25, 10, TrialState.COMPLETE, 0.5)
    directory.write_summary(best, {TrialState.COMPLETE: 5, TrialState.FAIL: 2}, 20)
    assert read(directory, "summary.json") == {
        "format_version": FORMAT_VERSION,
        "best_value": 1.5,
        "best_params": {"x": 0.1},
        "best_stderr": 0.25,
        "best_n_seeds": 10,
        "best_trial": 4,
        "n_trials": 20,
        "n_told": 7,
        "n_failed": 2,
    }


def test_the_summary_before_there_is_a_best(directory):
    directory.write_summary(None, {}, 20)
    summary = read(directory, "summary.json")
    assert {value for key, value in summary.items() if key.startswith("best_")} == {None}
    assert (summary["n_told"], summary["n_failed"]) == (0, 0)


def test_the_summary_says_how_many_trials_are_told(directory):
    assert directory.n_told() == 0
    directory.write_summary(None, {TrialState.COMPLETE: 5, TrialState.FAIL: 2}, 20)
    assert directory.n_told() == 7


def test_a_summary_that_a_power_cut_has_emptied_says_nothing(directory):
    (directory.path / "summary.json").write_bytes(b"")
    assert directory.n_told() == 0


def test_the_summary_is_not_synced(directory, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    directory.write_summary(None, {}, 20)
    assert directory.n_told() == 0


# How files are written.


def test_a_file_is_written_aside_synced_and_renamed(directory, monkeypatch):
    directory.write_meta({"n": 1})
    seen = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        (aside,) = directory.path.glob(".meta.json.*.new")
        seen.append((read(directory, "meta.json")["n"], json.loads(aside.read_text())["n"]))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    directory.write_meta({"n": 2})
    assert seen == [(1, 2)]
    assert read(directory, "meta.json")["n"] == 2
    assert not list(directory.path.glob(".*.new"))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda directory: directory.write_meta({"n": 2}), "meta.json"),
        (lambda directory: directory.write_parts(b"other parts"), "run.pickle"),
        (lambda directory: directory.furnish(), ".gitignore"),
    ],
    ids=["meta", "parts", "furniture"],
)
def test_a_write_that_breaks_off_leaves_the_old_file(directory, write, name, call, monkeypatch):
    directory.write_meta({"n": 1})
    directory.write_parts(b"parts")
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

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from seedwise.errors import RunExistsError
from seedwise.model.records import TrialResult, TrialState
from seedwise.run.directory import (
    FORMAT_VERSION,
    RunDirectory,
    create_run_directory,
    environment,
    utc_now,
)


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return create_run_directory(tmp_path / "runs", None, "walk")


def read(directory: RunDirectory, name: str):
    return json.loads((directory.path / name).read_text(encoding="utf-8"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_runs_are_numbered(tmp_path):
    names = [create_run_directory(tmp_path, None, "walk").name for _ in range(3)]
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
    assert create_run_directory(tmp_path, None, "walk").name == name


def test_a_file_takes_a_number_too(tmp_path):
    (tmp_path / "walk_v0001").touch()
    assert create_run_directory(tmp_path, None, "walk").name == "walk_v0002"


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
    assert create_run_directory(tmp_path, None, loss_name).path == tmp_path / name
    assert create_run_directory(tmp_path, None, loss_name).name == name[:-1] + "2"


def test_a_name_of_ones_own_is_kept(tmp_path):
    directory = create_run_directory(tmp_path, "my run, 2nd $try", "walk")
    assert directory.path == tmp_path / "my run, 2nd $try"
    assert directory.name == "my run, 2nd $try"


def test_a_run_is_never_overwritten(tmp_path):
    directory = create_run_directory(tmp_path, "mine", "walk")
    before = sorted(directory.path.iterdir())
    with pytest.raises(RunExistsError, match="mine exists already, and a run is never") as caught:
        create_run_directory(tmp_path, "mine", "walk")
    assert caught.value.run_dir == directory.path
    assert sorted(directory.path.iterdir()) == before


def test_a_relative_root_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert create_run_directory(Path("a/b"), None, "walk").path == tmp_path / "a/b/walk_v0001"


def test_a_root_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert create_run_directory(Path("~/r"), "x", "walk").path == tmp_path / "r/x"


@pytest.mark.parametrize("name", [None, "mine"])
def test_the_folder_is_its_owners_only_and_no_business_of_git(tmp_path, name):
    directory = create_run_directory(tmp_path, name, "walk")
    assert mode(directory.path) == 0o700
    assert mode(directory.log_dir) == 0o700
    assert (directory.path / ".gitignore").read_text() == "*\n"


def test_the_names_of_the_files(directory):
    assert directory.study_file == directory.path / "study.journal"
    assert directory.log_dir == directory.path / "slurm"
    assert {entry.name for entry in directory.path.iterdir()} == {
        ".gitignore",
        "environment.json",
        "slurm",
    }


@pytest.mark.parametrize("name", [None, "mine"])
def test_creators_that_race_get_folders_of_their_own(tmp_path, name):
    n_creators = 6
    barrier = Barrier(n_creators)

    def create(_) -> Path | RunExistsError:
        barrier.wait()
        try:
            return create_run_directory(tmp_path, name, "walk").path
        except RunExistsError as error:
            return error

    with ThreadPoolExecutor(n_creators) as pool:
        made = list(pool.map(create, range(n_creators)))
    paths = [path for path in made if isinstance(path, Path)]
    assert len(set(paths)) == len(paths) == (n_creators if name is None else 1)
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_a_number_that_another_run_takes_in_this_moment_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "walk_v0001").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda self: iter(()))  # seen before it was made
        path = create_run_directory(tmp_path, None, "walk").path
    assert path == tmp_path / "walk_v0002"


def test_meta_is_written_with_the_format_version(directory):
    directory.write_meta({"n": 3, "limit": timedelta(hours=2), "root": Path("runs")})
    assert read(directory, "meta.json") == {
        "format_version": FORMAT_VERSION,
        "n": 3,
        "limit": "2:00:00",
        "root": "runs",
    }


def test_the_summary(directory):
    best = TrialResult(4, {"x": 0.1}, 1.5, 0.25, 10, TrialState.COMPLETE, 0.5)
    directory.write_summary(best, {TrialState.COMPLETE: 5, TrialState.FAIL: 2}, 20)
    assert read(directory, "summary.json") == {
        "format_version": 1,
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


def test_a_file_is_written_aside_synced_and_renamed(directory, monkeypatch):
    directory.write_meta({"n": 1})
    seen = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        aside = directory.path / ".meta.json.new"
        seen.append((read(directory, "meta.json")["n"], json.loads(aside.read_text())["n"]))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    directory.write_meta({"n": 2})
    assert seen == [(1, 2)]
    assert read(directory, "meta.json")["n"] == 2
    assert not list(directory.path.glob(".*.new"))


def test_a_write_that_breaks_off_leaves_the_old_file(directory, monkeypatch):
    directory.write_meta({"n": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        directory.write_meta({"n": 2})
    assert read(directory, "meta.json")["n"] == 1


def test_the_environment_is_described(directory):
    described = read(directory, "environment.json")
    assert described.pop("format_version") == FORMAT_VERSION
    assert described == environment()
    assert described["python"] == sys.version
    assert described["argv"] == sys.argv
    assert described["n_cpus"] == os.cpu_count()
    assert described["platform"] == platform.platform()
    assert set(described) >= {"executable", "host", "cpu_model", "git_commit"}
    packages = described["packages"]
    assert set(packages) >= {"seedwise", "dask", "distributed", "dask-jobqueue", "optuna", "numpy"}
    assert all(packages[name] for name in ("seedwise", "dask", "optuna", "numpy"))


def test_the_commit_of_the_folder_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "a")
        monkeypatch.setenv(f"{name}_EMAIL", "a@b")
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], check=True)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    assert environment()["git_commit"] == head


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment()["git_commit"] is None


def test_the_time_is_in_utc():
    assert utc_now().tzinfo is UTC

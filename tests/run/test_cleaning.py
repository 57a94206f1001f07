"""Cleaning up after a driver that was killed: what goes, and what stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seedwise.errors import NotARunError, RunLockedError
from seedwise.run import cleaning as module
from seedwise.run.cleaning import CleanedRun, clean
from seedwise.run.directory import RunDirectory
from seedwise.run.lease import SILENT_S, acquire_lease
from seedwise.run.opening import entry_directory

# Takes the lease, and is killed with it.
DRIVER = """
import os
import signal
import sys
from pathlib import Path
from seedwise.run.lease import acquire_lease

acquire_lease(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The runs whose jobs were to be cancelled; each had two."""
    asked: list[str] = []

    def cancel_jobs(run_id: str) -> list[str]:
        asked.append(run_id)
        return ["41", "42"]

    monkeypatch.setattr(module, "cancel_jobs", cancel_jobs)
    return asked


@pytest.fixture
def directory(tmp_path, asked) -> RunDirectory:
    directory = RunDirectory(tmp_path / "fit")
    directory.path.mkdir(mode=0o700)
    directory.write_meta({"kind": "run", "run_id": "abc"})
    directory.write_status({"state": "running"})
    directory.study_file.write_text("study")
    return directory


def killed(directory: RunDirectory) -> None:
    """Leave what a killed driver leaves."""
    done = subprocess.run([sys.executable, "-c", DRIVER, str(directory.lease)], check=False)
    assert done.returncode == -9
    directory.key_dir.mkdir(mode=0o700)
    (directory.key_dir / "key.pem").write_text("secret")
    directory.control.mkdir(mode=0o700)
    (directory.control / "ask-1.json").write_text("{}")
    (directory.path / ".status.json.0123abcd.new").write_text("{")
    entry = entry_directory(directory, "anna")
    (entry.path / ".summary.json.0123abcd.new").write_text("{")


def names(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*")}


def test_what_a_killed_driver_left_goes_and_the_results_stay(directory, asked):
    before = names(directory.path)
    killed(directory)
    assert clean(directory) == CleanedRun(
        directory.path,
        ("41", "42"),
        (
            "driver.lease",
            "keys",
            "control",
            ".status.json.0123abcd.new",
            "entries/anna/.summary.json.0123abcd.new",
        ),
    )
    assert asked == ["abc"]
    assert names(directory.path) == before | {"driver.lease.lock", "entries", "entries/anna"}


def test_there_may_be_nothing_to_clean(directory, monkeypatch):
    monkeypatch.setattr(module, "cancel_jobs", lambda run_id: [])
    before = names(directory.path)
    for _ in range(2):
        assert clean(directory) == CleanedRun(directory.path)
    assert names(directory.path) == before | {"driver.lease.lock"}


def test_a_finished_run_is_cleaned_too(directory, asked):
    directory.write_meta({"kind": "run", "run_id": "abc", "completed_at_utc": "2026-08-01"})
    killed(directory)
    assert "keys" in clean(directory).removed
    assert asked == ["abc"]


def test_an_entry_stands_for_its_run(directory):
    killed(directory)
    cleaned = clean(entry_directory(directory, "anna"))
    assert cleaned.run_dir == directory.path
    assert "driver.lease" in cleaned.removed


def test_a_run_that_a_driver_works_on_is_left_alone(directory, asked):
    with acquire_lease(directory.lease):
        directory.key_dir.mkdir()
        before = names(directory.path)
        with pytest.raises(RunLockedError) as caught:
            clean(directory)
        assert names(directory.path) == before
    assert caught.value.holder.startswith(f"process {os.getpid()} on ")
    assert asked == []


def test_a_driver_elsewhere_is_dead_only_if_it_is_silent_and_we_are_told(directory, asked):
    killed(directory)
    held = json.loads(directory.lease.read_text())
    directory.lease.write_text(json.dumps({**held, "host": "far"}))
    with pytest.raises(RunLockedError):
        clean(directory, take_over=True)
    long_ago_s = directory.lease.stat().st_mtime - 2 * SILENT_S
    os.utime(directory.lease, (long_ago_s, long_ago_s))
    with pytest.raises(RunLockedError, match="--take-over"):
        clean(directory)
    assert directory.key_dir.exists()
    assert "keys" in clean(directory, take_over=True).removed
    assert asked == ["abc"]


def test_a_folder_that_is_no_run(tmp_path, asked):
    with pytest.raises(NotARunError):
        clean(RunDirectory(tmp_path))
    assert list(tmp_path.iterdir()) == []

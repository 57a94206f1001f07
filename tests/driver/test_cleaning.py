"""Cleaning up after a driver that was killed: what goes, and what stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedwise.driver import cleaning as module
from seedwise.driver.cleaning import clean
from seedwise.errors import NotARunError, RunLockedError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import entry_directory
from seedwise.folder.lease import SILENT_S, acquire_lease
from seedwise.results.handle import CleanedRun
from seedwise.slurm.commands import CommandError
from seedwise.slurm.queue import JobBook

RUN_ID = "0123456789abcdef" * 2

# Takes the lease, and is killed with it.
DRIVER = """
import os
import signal
import sys
from pathlib import Path
from seedwise.folder.lease import acquire_lease

acquire_lease(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The runs whose jobs were to be cancelled; each had two."""
    asked: list[str] = []

    def cancel_jobs(run_id: str, *, known: list[str], name: str) -> list[str]:
        asked.append(run_id)
        return ["41", "42"]

    monkeypatch.setattr(module, "cancel_jobs", cancel_jobs)
    return asked


@pytest.fixture
def unheard(monkeypatch, asked) -> None:
    """Have Slurm not answer."""

    def cancel_jobs(run_id: str, *, known: list[str], name: str) -> list[str]:
        raise CommandError("Unable to contact slurm controller")

    monkeypatch.setattr(module, "cancel_jobs", cancel_jobs)


def note(directory: RunDirectory, *job_ids: str) -> None:
    """Note jobs, as a driver does, on a machine that has a Slurm."""
    directory.log_dir.mkdir(exist_ok=True)
    for job_id in job_ids:
        JobBook(directory.jobs_file).note(job_id)


@pytest.fixture
def directory(tmp_path, asked) -> RunDirectory:
    directory = RunDirectory(tmp_path / "fit")
    directory.path.mkdir(mode=0o700)
    directory.meta.write({"kind": "run", "run_id": RUN_ID})
    directory.status.write({"state": "running"})
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
    assert asked == [RUN_ID]
    assert names(directory.path) == before | {"driver.lease.lock", "entries", "entries/anna"}


def test_there_may_be_nothing_to_clean(directory, monkeypatch):
    monkeypatch.setattr(module, "cancel_jobs", lambda run_id, **_: [])
    before = names(directory.path)
    for _ in range(2):
        assert clean(directory) == CleanedRun(directory.path)
    assert names(directory.path) == before | {"driver.lease.lock"}


def test_a_finished_run_is_cleaned_too(directory, asked):
    directory.meta.write({"kind": "run", "run_id": RUN_ID, "completed_at_utc": "2026-08-01"})
    killed(directory)
    assert "keys" in clean(directory).removed
    assert asked == [RUN_ID]


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
    with pytest.raises(RunLockedError, match="take_over=True"):
        clean(directory)
    long_ago_s = directory.lease.stat().st_mtime - 2 * SILENT_S
    os.utime(directory.lease, (long_ago_s, long_ago_s))
    with pytest.raises(RunLockedError, match="--take-over"):
        clean(directory)
    assert directory.key_dir.exists()
    assert "keys" in clean(directory, take_over=True).removed
    assert asked == [RUN_ID]


def test_a_folder_that_is_no_run(tmp_path, asked):
    with pytest.raises(NotARunError):
        clean(RunDirectory(tmp_path))
    assert list(tmp_path.iterdir()) == []


# Jobs of which nobody knows whether they are left.


def test_a_slurm_that_does_not_answer_is_no_slurm_without_jobs(
    directory, unheard, commands_are_there
):
    killed(directory)
    note(directory, "41", "42")
    for removed in (("driver.lease", "keys"), ()):  # it can be tried again
        cleaned = clean(directory)
        assert cleaned.cancelled_jobs == ()
        assert cleaned.jobs_unknown == "Unable to contact slurm controller"
        assert cleaned.noted_jobs == ("41", "42")
        assert cleaned.removed[:2] == removed
    assert directory.read_meta()["run_id"] == RUN_ID
    assert JobBook(directory.jobs_file).ids() == ["41", "42"]


def test_jobs_that_were_noted_may_be_left_where_there_is_no_slurm_to_ask(
    directory, asked, monkeypatch
):
    note(directory, "41")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert clean(directory).jobs_unknown == "there is no squeue on this machine's PATH"
    assert asked == []


def test_a_local_run_has_no_jobs_whatever_is_the_matter_with_slurm(directory, unheard):
    directory.meta.write({"kind": "run", "run_id": RUN_ID, "mode": "distributed"})
    assert clean(directory).jobs_unknown is not None
    directory.meta.write({"kind": "run", "run_id": RUN_ID, "mode": "single"})
    assert clean(directory) == CleanedRun(directory.path)


@pytest.fixture
def commands_are_there(monkeypatch) -> None:
    monkeypatch.setattr(module.shutil, "which", "/usr/bin/{}".format)


def test_jobs_are_known_by_their_ids_too(directory, monkeypatch, commands_are_there):
    asked = []
    monkeypatch.setattr(
        module, "cancel_jobs", lambda run_id, **more: asked.append(more) or more["known"]
    )
    note(directory, "41", "42")
    meta = {"kind": "run", "run_id": RUN_ID, "run_name": "my fit"}  # renamed since
    directory.meta.write(meta)
    assert clean(directory).cancelled_jobs == ("41", "42")
    assert asked == [{"known": ["41", "42"], "name": "my_fit"}]


# Folders that are not what they seem.


@pytest.mark.parametrize("run_id", ["(null)", "", "abc", RUN_ID.upper(), f"{RUN_ID}\n", None, 7])
def test_what_is_no_id_cancels_nothing(directory, asked, run_id):
    directory.meta.write({"kind": "run", "run_id": run_id})
    killed(directory)
    before = names(directory.path)
    with pytest.raises(NotARunError, match="32 hexadecimal digits"):
        clean(directory)
    assert names(directory.path) == before
    assert asked == []


def test_a_folder_that_others_can_write_to_is_refused(directory, asked):
    directory.path.chmod(0o777)
    with pytest.raises(NotARunError, match="others could have put a program into it"):
        clean(directory)
    assert asked == []


@pytest.mark.parametrize("name", ["entries", "entries/anna", "control"])
def test_links_are_not_followed(directory, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "anna").mkdir(parents=True)
    for folder in (elsewhere, elsewhere / "anna"):
        (folder / ".notes.0123abcd.new").write_text("what somebody needs")
    before = names(elsewhere)
    (directory.path / name).parent.mkdir(exist_ok=True)
    (directory.path / name).symlink_to(elsewhere)
    assert clean(directory).removed == ()
    assert names(elsewhere) == before


def test_the_jobs_of_a_copy_are_those_of_the_run_that_was_copied(directory, asked, tmp_path):
    meta = {"kind": "run", "run_id": RUN_ID, "run_dir": str(directory.path)}
    directory.meta.write(meta)
    killed(directory)
    copy = RunDirectory(tmp_path / "backup")
    shutil.copytree(directory.path, copy.path)
    cleaned = clean(copy)
    assert (cleaned.copy_of, cleaned.cancelled_jobs, asked) == (directory.path, (), [])
    assert "keys" in cleaned.removed
    assert directory.key_dir.exists()

    link = RunDirectory(tmp_path / "link")  # the same folder, by another name
    link.path.symlink_to(directory.path)
    assert clean(link).cancelled_jobs == ("41", "42")
    directory.meta.write({**meta, "run_id": "f" * 32})  # begun anew since
    assert clean(copy).cancelled_jobs == ("41", "42")
    shutil.rmtree(directory.path)  # what was the copy is the run
    assert clean(copy).cancelled_jobs == ("41", "42")

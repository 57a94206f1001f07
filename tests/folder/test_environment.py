"""What is recorded of software and machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

from seedwise.folder.directory import FORMAT_VERSION, environment
from seedwise.folder.find import entry_directory, open_run_directory


def test_the_environment_is_described(tmp_path):
    directory = open_run_directory(tmp_path, None, "walk")
    described = json.loads((directory.path / "environment.json").read_text())
    assert directory.environment.read() == described
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


def test_that_of_an_entry_is_that_of_its_run(tmp_path):
    directory = open_run_directory(tmp_path, None, "walk")
    entry = entry_directory(directory, "anna")
    assert not (entry.path / "environment.json").exists()
    assert entry.environment.read() == directory.environment.read()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine")
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

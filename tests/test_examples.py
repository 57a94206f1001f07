"""Every example runs, as its own docstring says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *args, cwd, **env):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )


def test_all_examples_are_tested():
    tested = {"quickstart.py", "slurm_login_node.py", "same_code_in_ci.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_quickstart(tmp_path):
    out = run("quickstart.py", cwd=tmp_path).stdout
    assert "best parameters: {'learning_rate': " in out
    assert f"run folder:      {tmp_path / 'runs/bandit_v0001'}" in out


def test_same_code_in_ci(tmp_path):
    out = run("same_code_in_ci.py", cwd=tmp_path, CI="true").stdout
    assert out.startswith("12 trials, the same bits twice: {'learning_rate': ")


@pytest.mark.slurm
def test_slurm_login_node(tmp_path, slurm):
    args = ("--jobs", "2", "--trials", "3", "--seeds", "200", "--interface", "lo")
    done = run("slurm_login_node.py", *args, "--partition", "main", cwd=tmp_path)
    assert "best parameters: {'learning_rate': " in done.stdout
    assert "seedwise: on 2 Slurm jobs" in done.stderr

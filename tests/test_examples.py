"""Every example runs, as its own docstring says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *args, cwd, check=True, **env):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=check,
    )


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def test_all_examples_are_tested():
    tests = [name for name in globals() if name.startswith("test_")]
    untested = [
        path.stem
        for path in EXAMPLES.glob("*.py")
        if not any(name.startswith(f"test_{path.stem}") for name in tests)
    ]
    assert untested == []


def test_quickstart(tmp_path):
    out = run("quickstart.py", cwd=tmp_path).stdout
    assert "best parameters: {'learning_rate': " in out
    assert f"run folder:      {tmp_path / 'runs/bandit_v0001'}" in out


def test_same_code_in_ci(tmp_path):
    out = run("same_code_in_ci.py", cwd=tmp_path, CI="true").stdout
    assert out.startswith("12 trials, the same bits twice: {'learning_rate': ")


@pytest.mark.full
def test_participants(tmp_path):
    out = run("participants.py", cwd=tmp_path).stdout
    rows = [numbers(line) for line in re.findall(r"^\w+(?: +\d\.\d\d){4}$", out, re.MULTILINE)]
    fits = np.array(rows)
    assert fits.shape == (6, 4)
    off = np.abs(fits[:, 1::2] / fits[:, ::2] - 1)
    assert off.max() < 0.5
    assert off.mean() < 0.2
    assert "360 of 360 trials done, 0 failed\n" in out
    assert "best_stderr" in out  # the table of pandas
    entries = tmp_path / "runs/decisions_entries_v0001/entries"
    assert len(list(entries.iterdir())) == 6


def test_grid(tmp_path):
    done = run("grid.py", "--run-name", "grid", cwd=tmp_path)
    cells = [numbers(line)[1::2] for line in done.stdout.splitlines() if line.count("±") == 5]
    assert np.shape(cells) == (5, 5)
    best = re.search(r"trial (\d+) at .*: (\d+\.\d+) ±", done.stdout)
    assert float(best[2]) == np.min(cells) == np.ravel(cells)[int(best[1])]
    assert 1 < done.stdout.count("*") - 1 < 12  # some are as good as the best, and most are not
    assert re.search(r"/25\] trial \d+ .*  best so far  ", done.stderr)

    once_more = run("grid.py", "--run-name", "grid", cwd=tmp_path)
    assert once_more.stdout == done.stdout
    assert "workers" not in once_more.stderr

    again = run("grid.py", "--run-name", "grid", "--again", "7", "12", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "resumed after 23 trials" in again.stderr


@pytest.mark.full
@pytest.mark.parametrize(("n_rigs", "n_trials"), [(60, 16), (300, 30)])
def test_mujoco_monte_carlo(tmp_path, n_rigs, n_trials):
    numbers_given = ("--rigs", str(n_rigs), "--trials", str(n_trials))
    out = run("mujoco_monte_carlo.py", *numbers_given, cwd=tmp_path).stdout
    nominal, tuned = map(float, re.findall(r"^\w+ gains: (\d+\.\d+)", out, re.MULTILINE))
    gain, stderr = numbers(out[out.index("better than nominal by") :])
    assert tuned < nominal / 2
    assert gain > 5 * stderr > 0
    fell = [numbers(line)[0] for line in out.splitlines() if line.startswith("  fell")]
    assert 0 < fell[0] < 0.3
    assert fell[1] <= 0.01
    pruned = re.search(rf"best of {n_trials} trials, (\d+) of them pruned", out)
    assert 0 < int(pruned[1]) < n_trials / 2

    names = [Path(line).name for line in re.findall(r"^  (/.*)$", out, re.MULTILINE)]
    assert names == [f"seed_{seed:03}.{kind}" for seed in range(3) for kind in ("csv", "xml")]
    folder = tmp_path / "runs/cartpole_sweep_v0001/trials/trial_000"
    assert sorted(path.name for path in folder.iterdir()) == names
    assert np.loadtxt(folder / names[0], delimiter=",").shape[1] == 4


def test_mujoco_monte_carlo_says_what_to_install(tmp_path):
    (tmp_path / "mujoco.py").write_text("raise ImportError\n")
    done = run("mujoco_monte_carlo.py", cwd=tmp_path, check=False, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "pip install 'seedwise[mujoco]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slurm
def test_slurm_login_node(tmp_path, slurm):
    args = ("--jobs", "2", "--trials", "3", "--seeds", "200", "--interface", "lo")
    done = run("slurm_login_node.py", *args, "--partition", "main", cwd=tmp_path)
    assert "best parameters: {'learning_rate': " in done.stdout
    assert "seedwise: on 2 Slurm jobs" in done.stderr

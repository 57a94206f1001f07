"""The code of a run: what it takes of memory, and later versions of it and of Python."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedwise.folder.directory import RunDirectory
from seedwise.study.proposer import read_trials
from tests.testbed.daemons import HANGS_S

_COMMAND = Path(sys.executable).parent / "seedwise"
_ROOT = Path(__file__).parents[1]

SCRIPT = """
import random
import seedwise as sw

SCALE = 1.0


def scaled(x):
    return x * SCALE


@sw.loss(name="walk", description="a walk", parameter_space={"x": (0.0, 1.0)})
def walk(params, seed):
    return scaled(params["x"]) + random.Random(seed).random()


def by_value():
    scale = 2.0
    named = sw.loss(name="walk", description="a walk", parameter_space={"x": (0.0, 1.0)})
    return named(lambda params, seed: scale * params["x"] + random.Random(seed).random())


if __name__ == "__main__":
    import sys
    loss = by_value() if "by_value" in sys.argv else walk
    sw.optimize_run(loss, n_trials=3, n_seeds=4, workers=1, run_name="a", progress=False)
"""


def run(folder, *arguments, python=sys.executable, **environment):
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )


def begun(folder, *arguments):
    """Carry out the script's run; return its folder."""
    (folder / "fit.py").write_text(SCRIPT)
    done = run(folder, "fit.py", *arguments)
    assert done.returncode == 0, done.stderr
    return folder / "runs/a"


def values(run_dir):
    directory = RunDirectory(run_dir)
    return [
        (trial.params, trial.value)
        for trial in read_trials(directory.study_file, directory.read_meta()["study_name"])
    ]


@pytest.mark.full
def test_a_script_that_was_edited_goes_on_if_what_the_loss_reaches_is_the_same(tmp_path):
    run_dir = begun(tmp_path)
    (version,) = (path.name for path in (run_dir / "code").iterdir())
    same = SCRIPT.replace("def scaled", "# a comment\ndef scaled").replace("trials=3", "trials=4")
    (tmp_path / "fit.py").write_text(same)
    done = run(tmp_path, "fit.py")
    assert done.returncode == 0, done.stderr
    assert len(values(run_dir)) == 4
    assert [path.name for path in (run_dir / "code").iterdir()] != [version]

    (tmp_path / "fit.py").write_text(same.replace("x * SCALE", "2 * x * SCALE"))
    done = run(tmp_path, "fit.py")
    assert done.returncode != 0
    assert "fit.py: scaled\n" in done.stderr
    assert "    -    return x * SCALE\n    +    return 2 * x * SCALE\n" in done.stderr

    again = ("resume", run_dir, "--code", "fit.py", "--n-trials", 5)
    done = run(tmp_path, *again, python=_COMMAND)
    assert "begun with other options or code" in done.stderr
    before = values(run_dir)
    done = run(tmp_path, *again, "--accept-changes", python=_COMMAND)
    assert done.returncode == 0, done.stderr
    after = values(run_dir)
    assert after[:4] == before
    ((params, value),) = after[4:]
    noise = math.fsum(random.Random(seed).random() for seed in range(4)) / 4
    assert value == pytest.approx(2 * params["x"] + noise)
    # The script has the code by which the run was resumed last.
    (tmp_path / "fit.py").write_text((tmp_path / "fit.py").read_text().replace("=4", "=6", 1))
    done = run(tmp_path, "fit.py")
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_a_loss_that_goes_by_value_is_refused_by_another_version_of_python(tmp_path):
    run_dir = begun(tmp_path, "by_value")
    parts = json.loads((run_dir / "run.json").read_text())
    assert parts["shipment"]["python"] == list(sys.version_info[:2])
    parts["shipment"]["python"] = [3, 9]
    (run_dir / "run.json").write_text(json.dumps(parts))
    done = run(tmp_path, "replay", run_dir, "--trial", "0", python=_COMMAND)
    ours = ".".join(map(str, sys.version_info[:2]))
    assert f"was sent by value by Python 3.9, and Python {ours} on " in done.stderr
    done = run(tmp_path, "resume", run_dir, "--n-trials", "4", python=_COMMAND)
    assert "was sent by value by Python 3.9" in done.stderr


def another_python():
    """Return another interpreter that may have seedwise; None if there is none here."""
    ours = sys.version_info[:2]
    for minor in {13, 12, 14} - {ours[1]}:
        found = shutil.which(f"python3.{minor}")
        here = [] if found is None else [found]
        here += sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for python in here:
            if run(Path.cwd(), "-c", "", python=python).returncode == 0:
                return python
    return None


@pytest.mark.full
def test_another_version_of_python_replays_and_resumes_a_run(tmp_path):
    python = another_python()
    if python is None:
        pytest.skip("there is no other version of Python on this machine")
    run_dir = begun(tmp_path)
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    (undisturbed / "fit.py").write_text(SCRIPT.replace("trials=3", "trials=6"))
    assert run(undisturbed, "fit.py").returncode == 0
    assert run(tmp_path, "-m", "venv", "theirs", python=python).returncode == 0
    theirs = tmp_path / "theirs/bin"
    installed = run(tmp_path, "-m", "pip", "install", "--quiet", _ROOT, python=theirs / "python")
    assert installed.returncode == 0, installed.stderr
    done = run(tmp_path, "replay", run_dir, "--trial", 2, python=theirs / "seedwise")
    losses = [float(line.partition(": ")[2]) for line in done.stdout.splitlines()[1:]]
    assert sum(losses) / 4 == pytest.approx(values(run_dir)[2][1], rel=1e-15)
    done = run(tmp_path, "resume", run_dir, "--n-trials", 6, python=theirs / "seedwise")
    assert done.returncode == 0, done.stderr
    assert values(run_dir) == values(undisturbed / "runs/a")


BIG = """
import resource, sys
import numpy as np
import seedwise as sw

SIZE = 300_000_000 // 8
DATA = np.arange(SIZE, dtype=float) if "module" in sys.argv else None


@sw.loss(name="big", description="b", parameter_space={"x": (0.0, 1.0)})
def big(params, seed):
    return float(DATA[seed]) + params["x"]


def captured():
    data = np.arange(SIZE, dtype=float)

    @sw.loss(name="big", description="b", parameter_space={"x": (0.0, 1.0)})
    def big(params, seed):
        return float(data[seed]) + params["x"]

    return big


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    loss = big if "module" in sys.argv else captured()
    before_mb = peak_mb()
    sw.optimize_run(loss, n_trials=1, n_seeds=4, workers=1, run_name="a", progress=False)
    print(before_mb, peak_mb())
"""


@pytest.mark.full
@pytest.mark.parametrize(("how", "most_more_mb"), [("module", 200), ("captured", 700)])
def test_large_data_is_not_copied_again_and_again(tmp_path, how, most_more_mb):
    (tmp_path / "big.py").write_text(BIG)
    done = run(tmp_path, "-W", "ignore", "big.py", how)
    assert done.returncode == 0, done.stderr
    before_mb, peak_mb = map(float, done.stdout.split())
    assert before_mb > 300  # the data are there
    assert peak_mb - before_mb < most_more_mb
    code = tmp_path / "runs/a/code"
    size = sum(path.stat().st_size for path in code.rglob("*") if path.is_file())
    assert (size > 300_000_000) == (how == "captured")
    assert size < 310_000_000

"""Checking a run before its first job: here, on real Slurm, and of what fails."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from dask.system import CPU_COUNT

import seedwise as sw
from seedwise.api import script as api_script
from seedwise.api.check import _defaults, _n_workers
from seedwise.cli import main
from seedwise.driver.parts import make_parts
from seedwise.model.options.study import RunOptions
from seedwise.usercode.find import load_loss
from tests.losses import bowl, bowls
from tests.testbed.daemons import HANGS_S

COMMAND = Path(sys.executable).parent / "seedwise"
SCRIPT = """
import os
import sys
import time
import seedwise as sw
from helper import noise

print("imported with", sys.argv[1:])
time.sleep(0.05)


@sw.loss(name="the walk", description="w", parameter_space={"x": (-1.0, 1.0)}, seed_start=7)
def walk(params, seed, context):
    with open(os.path.join(context["trial_dir"], f"{seed}.txt"), "w") as file:
        file.write("here")
    return params["x"] + noise(seed)


@sw.loss(name="unstable", description="u", parameter_space={"x": (-1.0, 1.0)})
def unstable(params, seed):
    return noise(seed) / 0


@sw.loss(name="deadly", description="d", parameter_space={"x": (-1.0, 1.0)})
def deadly(params, seed):
    os.kill(os.getpid(), 9)


@sw.loss(name="needy", description="n", parameter_space={"x": (-1.0, 1.0)})
def needy(params, seed):
    import not_on_the_node
    return 0.0


if __name__ == "__main__":
    sw.optimize_run(walk)
"""
HELPER = """
def noise(seed):
    return float(seed)
"""


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a script and a module beside it; nothing is to be left in it."""
    path = tmp_path / "my project"
    path.mkdir()
    (path / "fit.py").write_text(SCRIPT)
    (path / "helper.py").write_text(HELPER)
    yield path
    left = {one.name for one in path.iterdir()} - {"__pycache__"}
    assert left == {"fit.py", "helper.py"}


@pytest.fixture
def site(slurm, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


def check(folder, *arguments, cwd=None):
    return subprocess.run(
        [COMMAND, "check", *map(str, arguments)],
        cwd=cwd or folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS_S,
    )


@pytest.fixture
def at_client(client):
    """Flags that make the command use workers that are there already."""
    return "--cluster", client.scheduler.address


# Here.


def test_a_script_from_another_folder(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = check(
        *(folder, folder / "fit.py:walk", "--n-trials", 20, "--n-seeds", 400, "--chunk-size", 20),
        *("--workers", 3, "--max-concurrent-trials", 2, "--race", "off"),
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loss 'the walk' gave ")
    assert "for seed 7\n" in done.stdout
    for words in (
        "trials            20, 2 at once",
        "seeds of a trial  400, in 20 chunks of 20",
        "chunks in flight  40",
        "workers           3",
        "seeds at once     3",
        f"versions        python {sys.version.split()[0]}, numpy ",
    ):
        assert words in done.stdout
    assert "job" not in done.stdout
    assert "imported with []" in done.stderr
    assert "seedwise: checking one seed, on 1 worker on this machine" in done.stderr
    assert "check-" not in done.stdout + done.stderr
    assert not list(elsewhere.iterdir())


def test_for_other_programs(folder, at_client):
    done = check(
        folder, "fit.py:walk", "--json", "--seeds", "9,3", "--no-progress", "--use-processes",
        *at_client,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["loss_name"], found["seed"], found["n_seeds"]) == ("the walk", 9, 2)
    assert found["value"] == found["params"]["x"] + 9.0
    assert (found["chunks_are_measured"], found["job_id"], found["job_script"]) == (
        True,
        None,
        None,
    )
    assert found["versions"]["seedwise"] == sw.__version__
    assert found["defaults"] == {
        "n_trials": 10,
        "max_concurrent_trials": 1,
        "worker_parallelism": 1,
    }
    assert 0 < found["seed_s"] <= found["first_s"]
    assert found["first_s"] >= 0.05  # it is loaded, and the seed is compared as well
    assert "checking" not in done.stderr


def test_the_first_point_and_the_trial_zero(client, tmp_path):
    options = {"cluster": client, "run_root": tmp_path / "runs" / "deep", "progress": False}
    found = sw.check_run(
        bowl,
        trial_zero={"x": 0.25, "n": 3},
        overrides={"kind": "plain"},
        seeds=iter([4]),
        **options,
    )
    assert (found.params["x"], found.params["n"], found.params["kind"]) == (0.25, 3, "plain")
    assert (found.seed, found.value) == (4, bowl(found.params, 4))
    assert not list(tmp_path.iterdir())


def test_it_leaves_others_runs_alone(client, tmp_path):
    keywords = {"n_seeds": 4, "cluster": client, "run_root": tmp_path, "progress": False}
    run = sw.optimize_run(bowl, n_trials=2, run_name="mine", **keywords)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = sw.check_run(
        bowls, n_trials=5, run_name="mine", timeout=0.001, prune_failed_trials=True,
        num_chunks=2, **keywords,
    )  # fmt: skip
    assert (found.n_trials, found.n_chunks, found.vectorized) == (5, 2, True)
    assert found.params == run.trials[0].params  # the sampler's first
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_without_a_self_check_the_driver_does_not_evaluate_the_seed(client, tmp_path, monkeypatch):
    monkeypatch.setattr("seedwise.driver.carry_out.ForkedWitness", None)
    log = tmp_path / "log"

    @sw.loss(name="logged", description="l", parameter_space={"x": (-1.0, 1.0)})
    def logged(params, seed):
        with log.open("a") as file:
            file.write("called\n")
        return params["x"]

    options = {"cluster": client, "run_root": tmp_path / "runs", "progress": False}
    sw.check_run(logged, self_check=False, **options)
    assert log.read_text().count("called") == 2


def test_a_cluster_that_is_passed(client, tmp_path):
    found = sw.check_run(bowl, cluster=client, run_root=tmp_path, progress=False)
    assert (found.place, found.workers, found.run_s) == ("passed", None, None)
    assert found.versions["seedwise"] == sw.__version__


def test_a_loss_that_raises(folder, at_client):
    done = check(folder, "fit.py:unstable", *at_client)
    assert (done.returncode, done.stdout) == (1, "")
    error = done.stderr.partition("Error: ")[2]
    assert error.startswith("loss 'unstable' failed on seed 0, with params {'x': ")
    assert "in unstable\n    return noise(seed) / 0\n" in error
    assert "ZeroDivisionError: float division by zero" in error
    assert "call the loss with these params and this seed" in error
    for words in ("replay", "resume", "check-", "fail_on_chunk_error"):
        assert words not in done.stderr


@pytest.mark.parametrize("loss", ["unstable", "deadly"])
def test_the_error_has_its_data(folder, loss, client, monkeypatch):
    where = {"cluster": client} if loss == "unstable" else {"workers": 1}
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    definition = load_loss(f"fit.py:{loss}")
    with pytest.raises(sw.CheckFailedError) as caught:
        sw.check_run(definition, **where, seeds=[5, 6], progress=False)
    error = caught.value
    assert (error.loss_name, error.seed, list(error.params)) == (loss, 5, ["x"])
    assert error.exception_type == {"unstable": "ZeroDivisionError"}.get(loss, "ProcessDied")
    assert error.traceback in str(error) + "\n"


def test_what_fails_before_anything_starts(tmp_path):
    with pytest.raises(sw.NotALossError):
        sw.check_run(len)
    with pytest.raises(sw.UnknownOptionError, match="did you mean 'n_trials'"):
        sw.check_run(bowl, n_trails=3)
    with pytest.raises(sw.OptionError, match="trial_zero"):
        sw.check_run(bowl, trial_zero={"x": 9.0}, run_root=tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_a_signal_leaves_nothing(folder):
    (folder / "fit.py").write_text(
        SCRIPT.replace("return 0.0", "").replace("import not_on_the_node", "time.sleep(60)")
    )
    command = [COMMAND, "check", "fit.py:needy", "--workers", "1"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as driver:
        while "checking one seed" not in driver.stderr.readline():
            pass
        driver.send_signal(signal.SIGTERM)
        text = driver.stderr.read()
    assert driver.returncode == 128 + signal.SIGTERM, text
    assert text.endswith("the check was stopped by SIGTERM; nothing is left of it\n")
    assert "resume" not in text


def test_a_stop_says_nothing_of_going_on(client, tmp_path):
    released = tmp_path / "released"

    @sw.loss(name="stopping", description="s", parameter_space={"x": (0.0, 1.0)})
    def stopping(params, seed):
        if not released.exists():  # a worker may evaluate it once more later
            os.kill(driver, signal.SIGINT)
        while not released.exists():
            time.sleep(0.01)
        return 0.0

    driver = os.getpid()
    with pytest.raises(sw.RunStopped) as caught:
        sw.check_run(stopping, cluster=client, run_root=tmp_path / "runs", progress=False)
    assert str(caught.value) == "the check was stopped by SIGINT; nothing is left of it"
    assert (caught.value.code, caught.value.signal) == (130, signal.SIGINT)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert not list(tmp_path.iterdir())
    released.touch()


# The number of workers is as the run will have it.


def test_bounds_of_workers_and_local_workers():
    def n_workers(**given):
        options = RunOptions.from_keywords({"n_seeds": 40, "chunk_size": 10, **given})
        return _n_workers(make_parts(bowl, options), options)

    assert n_workers(cluster="slurm", workers=(1, 9)) == 8  # four trials, each of 16 seeds
    assert n_workers(cluster="slurm", workers=(1, 9), n_trials=2) == 4
    n_workers = functools.partial(n_workers, race=False)

    assert n_workers(cluster="slurm", workers=(2, 9)) == 4
    assert n_workers(cluster="slurm", workers=(6, 9)) == 6
    assert n_workers(cluster="slurm", workers=(1, 3)) == 3
    assert n_workers(cluster="slurm", workers=(6, 9), array_parallelism_limit=5) == 5
    assert n_workers(cluster="local") == min(4, CPU_COUNT)
    assert n_workers(cluster="local", worker_parallelism=CPU_COUNT) == 1


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, "n_trials n_seeds max_concurrent_trials workers worker_parallelism"),
        (
            {"num_chunks": 4, "seeds": range(40), "max_concurrent_trials": 2, "workers": 1},
            "n_trials worker_parallelism",
        ),
        (
            {"n_trials": 3, "n_seeds": 40, "chunk_size": 9, "worker_parallelism": 2},
            "max_concurrent_trials workers",
        ),
    ],
)
def test_defaults_of_the_plan_are_what_was_not_given(options, names):
    parts = make_parts(bowl, RunOptions(n_seeds=40, chunk_size=10))
    defaults = _defaults(RunOptions.from_keywords(options), parts, 4)
    assert " ".join(defaults) == names
    values = {
        "n_trials": 10,
        "n_seeds": 40,
        "max_concurrent_trials": 4,
        "workers": 4,
        "worker_parallelism": 1,
    }
    assert defaults == {name: values[name] for name in names.split()}


# The command.


def test_the_flags_reach_the_api(monkeypatch):
    given = {}

    def check_run(loss, **keywords):
        given.update(keywords, loss=loss)
        raise sw.SeedwiseError("enough")

    monkeypatch.setattr(api_script, "load_loss", lambda text: f"<{text}>")
    monkeypatch.setattr(sw, "check_run", check_run)
    words = ["fit.py:walk", "--cluster", "slurm", "--workers", "4:9", "--partition", "cpu"]
    words += ["--prologue", "module load python", "--prologue", "source venv/bin/activate"]
    words += ["--run-root", "scratch", "--python", "apptainer exec 'my image.sif' python"]
    shown = CliRunner().invoke(main, ["check", *words])
    assert (shown.exit_code, shown.output) == (1, "Error: enough\n")
    lines = ["module load python", "source venv/bin/activate"]
    python = ["apptainer", "exec", "my image.sif", "python"]
    slurm = sw.SlurmOptions(partition="cpu", prologue=lines, python=python)
    assert given == {
        "loss": "<fit.py:walk>",
        "cluster": "slurm",
        "workers": (4, 9),
        "run_root": "scratch",
        "slurm": slurm,
    }
    shown = CliRunner().invoke(main, ["check", "fit.py", "--partition", ""])
    assert shown.exit_code == 1
    assert "Error: partition=''" in shown.output
    text = CliRunner().invoke(main, ["check", "--help"]).output
    for flag in ("--account", "--interface", "--n-trials", "--trial-zero", "--slurm-qos"):
        assert flag in text
    for flag in ("--take-over", "--run-name", "--accept-changes", "--retry-failed"):
        assert flag not in text


def test_the_command_without_such_a_loss(folder):
    done = check(folder, "fit.py")
    assert done.returncode == 1
    assert "Error: fit.py: its losses are walk, unstable, deadly, needy. Say which" in done.stderr


# On real Slurm.

SLURM = ("--cluster", "slurm")


@pytest.mark.slurm
def test_on_slurm(site, folder):
    done = check(
        *(folder, "fit.py:walk", *SLURM, "--n-trials", 9, "--n-seeds", 400, "--chunk-size", 20),
        *("--workers", 3, "--cpus-per-task", 2, "--worker-time-limit", "01:00:00"),
        *("--race", "off"),
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "jobs              3 of 2 CPUs",
        "job script\n  #!/usr/bin/env bash\n",
        "#SBATCH -J check-",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH -t 0-01:00:00",
        "core hours ",
        "waited for it ",
        "\nadvice\n",
        " is short compared with the way to a worker and back: leave chunk_size out, and ",
    ):
        assert words in done.stdout
    assert "checking one seed, on 1 Slurm job" in done.stderr
    assert "BEGIN CERTIFICATE" not in done.stdout


@pytest.mark.slurm
@pytest.mark.full
def test_a_module_that_is_not_on_the_node(site, folder):
    done = check(folder, "fit.py:needy", *SLURM)
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'not_on_the_node'" in done.stderr
    assert "must be able to import what the loss imports" in done.stderr
    assert "check-" not in done.stderr


@pytest.mark.slurm
@pytest.mark.full
def test_a_python_that_fails_on_the_node(site, folder, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'no module named distributed here' >&2\nexit 1\n")
    python.chmod(0o755)
    done = check(folder, "fit.py:walk", *SLURM, "--python", python)
    assert done.returncode == 1
    last = (
        r"the last line of \d+\.err is 'no module named distributed here'\.\nCheck that the nodes"
    )
    assert re.search(last, done.stderr)
    assert "check-" not in done.stderr


@pytest.mark.slurm
def test_what_slurm_would_refuse(site, folder):
    done = check(folder, "fit.py:walk", *SLURM, "--worker-time-limit", "900:00:00")
    assert done.returncode == 1
    *_, where, reason = done.stderr.splitlines()
    assert "worker_time_limit: 37 d 12 h asked for, but partition main allows" in reason
    path = Path(where.removeprefix("The job script is ").partition(";")[0])
    assert "#SBATCH -t 37-12:00:00\n" in path.read_text()
    path.unlink()
    path.parent.rmdir()

"""The command: what it passes on, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main
from seedwise.driver.parts import read_saved
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import acquire_lease
from tests.losses import bowl

COMMAND = Path(sys.executable).parent / "seedwise"

BEGAN = "2026-08-01T10:00:00+00:00"

#: A script whose loss lives in a module beside it, and fails at some params.
SCRIPT = """
import seedwise as sw
from unstable import simulate


@sw.loss(name="walk", description="w", parameter_space={"x": (-1.0, 1.0)})
def walk(params, seed):
    return simulate(params["x"], seed)


if __name__ == "__main__":
    plan = {"n_seeds": 40, "chunk_size": 20, "race": False}
    sw.optimize_run(walk, n_trials=6, **plan, workers=1, run_name="fit")
"""
MODULE = """
def simulate(x, seed):
    if seed == 37 and x > 0:
        raise ValueError(f"unstable at x={x:.2f}")
    return x + seed
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that stopped at a failed trial, its error, and the trial."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "fit.py").write_text(SCRIPT)
    (folder / "unstable.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "fit.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return folder / "runs" / "fit", done.stderr


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_line_that_an_error_prints_shows_the_error_again(stopped, tmp_path):
    _, stderr = stopped
    (line,) = re.findall(r"To see it happen here: seedwise (replay .*) --pdb", stderr)
    assert line in stderr.partition("To see it")[0]  # the progress line says it, too
    done = subprocess.run(
        [COMMAND, *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ValueError: unstable at x=" in done.stderr
    assert 'unstable.py", line 4, in simulate' in done.stderr


def test_pdb_stops_where_the_loss_raised(stopped, tmp_path):
    _, stderr = stopped
    (line,) = re.findall(r"To see it happen here: seedwise (replay .* --pdb)", stderr)
    done = subprocess.run(
        [COMMAND, *line.split()],
        cwd=tmp_path,
        input="p f'here {seed}'\nup\np sorted(params)\nq\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "simulate()" in done.stdout
    assert "'here 37'" in done.stdout
    assert "['x']" in done.stdout
    assert done.returncode == 1


def test_replay_prints_params_and_losses(stopped):
    path, _ = stopped
    shown = invoke("replay", path, "--trial", 0, "--seed", 5)
    assert shown.exit_code == 0, shown.output
    x = float(re.search(r"params: \{'x': (.*)\}", shown.output)[1])
    assert shown.output.splitlines()[1:] == [f"seed 5: {x + 5!r}"]


def test_replay_without_a_seed_goes_through_all(stopped):
    path, stderr = stopped
    failed = int(re.search(r"--trial (\d+)", stderr)[1])
    shown = invoke("replay", path, "--trial", failed)
    assert shown.exit_code == 1
    assert "unstable at x=" in shown.output


def test_replay_shows_the_frames_of_the_loss_alone(stopped):
    path, stderr = stopped
    failed = int(re.search(r"--trial (\d+)", stderr)[1])
    first, file, *_ = invoke("replay", path, "--trial", failed).output.splitlines()
    assert first == "Traceback (most recent call last):"
    assert file.startswith('  File "')
    assert f'"{Path(sw.__file__).parent}/' not in file


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trial", 99], "Error: trial=99: must be a trial of the run, which has 0 to "),
        (["--trial", 0, "--seed", 40], "Error: seed=40: must be one of the run's 40 seeds, 0 to"),
    ],
)
def test_replay_of_what_is_not_there(stopped, arguments, words):
    shown = invoke("replay", stopped[0], *arguments)
    assert shown.exit_code == 1
    assert words in shown.output


def test_show_has_the_progress_the_trials_and_the_result(stopped):
    path, _ = stopped
    shown = invoke("show", path)
    assert shown.exit_code == 0, shown.output
    result = sw.open_run(path)
    progress, empty, header, *rows = shown.output.splitlines()
    assert progress == f"run, stopped: {result.n_trials} of 6 trials told"
    assert (empty, header.split()[:3]) == ("", ["number", "params_x", "value"])
    assert [row.split()[0] for row in rows[: result.n_trials]] == [
        str(trial.number) for trial in result.trials
    ]
    assert "ValueError: unstable at x=" in rows[result.n_trials - 1]
    assert rows[-1] == result.outcome


def test_show_for_other_programs(stopped):
    path, _ = stopped
    found = json.loads(invoke("show", path, "--json").output)
    result = sw.open_run(path)
    assert found["columns"]["number"] == [trial.number for trial in result.trials]
    assert (found["best"], found["outcome"]) == (None, result.outcome)


def test_export_writes_the_table(stopped, tmp_path):
    path, _ = stopped
    shown = invoke("export", path, tmp_path / "out.csv")
    n_trials = sw.open_run(path).n_trials
    wrote = f"wrote {tmp_path / 'out.csv'}: {n_trials} row{'s' * (n_trials > 1)}\n"
    assert (shown.exit_code, shown.output) == (0, wrote)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + n_trials
    (tmp_path / "a.csv").mkdir()
    for file, words in (
        (tmp_path / "out.xlsx", "must be a name that ends in .csv or .parquet"),
        (
            tmp_path / "no folder" / "out.csv",
            f"must be in a folder that exists. There is no folder {tmp_path / 'no folder'}: make",
        ),
        (tmp_path / "a.csv", "Is a directory"),
    ):
        shown = invoke("export", path, file)
        assert shown.exit_code == 1
        assert words in shown.output


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_report_writes_a_file_and_says_where(stopped, suffix):
    path, _ = stopped
    shown = invoke("report", path, "--format", suffix)
    file = Path(path) / f"report.{suffix}"
    assert (shown.exit_code, shown.output) == (0, f"{file}\n")
    assert "ValueError: unstable at x=" in file.read_text(encoding="utf-8")
    file.unlink()


def test_a_folder_that_is_no_run(tmp_path):
    for command in (
        ["report", tmp_path],
        ["show", tmp_path],
        ["export", tmp_path, tmp_path / "out.csv"],
        ["resume", tmp_path],
        ["replay", tmp_path, "--trial", 0],
        ["status", tmp_path],
    ):
        shown = invoke(*command)
        assert shown.exit_code == 1
        assert f"Error: {tmp_path}: there is no meta.json" in shown.output


def test_status_of_a_run_that_stopped(stopped):
    path, stderr = stopped
    failed = int(re.search(r"--trial (\d+)", stderr)[1])
    shown = invoke("status", path)
    assert shown.exit_code == 0, shown.output
    first, *_, last = shown.output.splitlines()
    assert first.split() == ["run", "stopped"]
    assert last == f"to resume: seedwise resume {path}"
    assert re.search(rf"^trials +{failed + 1} of 6 told, ", shown.output, re.MULTILINE)
    assert re.search(r"^  failed +1 ", shown.output, re.MULTILINE)


def test_status_for_other_programs(stopped):
    path, _ = stopped
    shown = invoke("status", path, "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.output)
    status = sw.run_status(path)
    assert found == {**attrs.asdict(status), "n_told": status.n_told}
    assert (found["kind"], found["state"], found["n_trials"]) == ("run", "stopped", 6)
    assert found["driver"] is None


def test_status_of_a_run_that_a_driver_works_on(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.meta.write(
        {"kind": "sweep", "started_at_utc": BEGAN, "resumed_at_utc": [], "options": {}}
    )
    with acquire_lease(directory.lease):
        text, found = invoke("status", tmp_path), invoke("status", tmp_path, "--json")
    assert text.output.splitlines()[0].split() == ["sweep", "running"]
    assert f"process {os.getpid()} on " in text.output
    assert "resume" not in text.output
    assert f"process {os.getpid()} on " in json.loads(found.output)["driver"]


def test_resume_goes_on_from_any_folder(stopped, tmp_path):
    path, _ = stopped
    done = subprocess.run(
        [COMMAND, "resume", path, "--no-fail-on-chunk-error", "--n-trials", "7"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "best_value: " in done.stdout
    assert "x: " in done.stdout
    assert re.search(r"resumed after \d trials", done.stderr)
    assert json.loads(invoke("status", path, "--json").output)["n_told"] == 7


def test_flags_reach_the_api_as_values(monkeypatch):
    given = {}

    def resume_run(run_dir, **keywords):
        given.update(keywords, run_dir=run_dir)
        raise sw.SeedwiseError("enough")

    monkeypatch.setattr(sw, "resume_run", resume_run)
    texts = {
        "--seeds": "3,1,2",
        "--workers": "4:100",
        "--worker-time-limit": "01:30:00",
        "--cluster": "slurm",
        "--timeout": "1.5",
        "--n-trials": "9",
    }
    flags = [word for pair in texts.items() for word in pair]
    shown = invoke("resume", "runs/a", *flags, "--accept-changes", "--no-progress")
    assert shown.output == "Error: enough\n"
    assert given == {
        "run_dir": "runs/a",
        "seeds": [3, 1, 2],
        "workers": (4, 100),
        "worker_time_limit": timedelta(minutes=90),
        "cluster": "slurm",
        "timeout": 1.5,
        "n_trials": 9,
        "accept_changes": True,
        "progress": False,
    }


def test_each_field_of_the_jobs_options_can_be_changed_when_a_run_is_resumed(client, tmp_path):
    began = {"partition": "old", "account": "lab", "prologue": ["module load python"]}
    common = {"n_seeds": 2, "cluster": client, "run_root": tmp_path, "progress": False}
    for slurm in (began, None):
        run_dir = Path(sw.optimize_run(bowl, n_trials=1, slurm=slurm, **common).run_dir)
        changed = [
            *("--partition", "new", "--interface", "ib0", "--local-directory", "/scratch"),
            *("--python", "apptainer exec 'my image.sif' python"),
            *("--extra-directives", "--gres=gpu:1", "--extra-directives", "--exclusive"),
        ]
        shown = invoke(
            *("resume", run_dir, "--cluster", client.scheduler.address, "--n-trials", 2, *changed)
        )
        assert shown.exit_code == 0, shown.output
        given = {
            "partition": "new",
            "interface": "ib0",
            "local_directory": "/scratch",
            "python": ["apptainer", "exec", "my image.sif", "python"],
            "extra_directives": ["--gres=gpu:1", "--exclusive"],
        }
        wanted = sw.SlurmOptions(**{**(slurm or {}), **given})
        assert read_saved(RunDirectory(run_dir)).keywords["slurm"] == wanted
    shown = invoke("resume", run_dir, "--partition", "")
    assert shown.exit_code == 1
    assert "Error: partition=''" in shown.output


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_has_its_exit_code(number, code, monkeypatch):
    def resume_run(run_dir, **keywords):
        raise sw.RunStopped(Path(run_dir), number)

    monkeypatch.setattr(sw, "resume_run", resume_run)
    assert invoke("resume", "runs/a").exit_code == code


# What a shell asks for, and how the command is started.

ENDED = """
import contextlib, sys
from seedwise.cli import main

with contextlib.suppress(SystemExit):
    main(sys.argv[1:], prog_name="seedwise")
print(sorted({"dask", "distributed", "numpy", "optuna"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("--version", f"seedwise, version {sw.__version__}"),
        ("resume --help", "--sampler [auto|tpe|random|"),
        ("resu<TAB>", "plain,resume"),
        ("check --samp<TAB>", "plain,--sampler"),
        ("check --sampler <TAB>", "plain,nsgaii"),
        ("resume --direction ma<TAB>", "plain,maximize"),
        ("check --mode <TAB>", "plain,single"),
        ("resume --resume <TAB>", "plain,auto"),
    ],
)
def test_the_shell_is_answered_without_numpy_and_dask(line, answer):
    words = line.removesuffix("<TAB>").split(" ")
    completing = {
        "_SEEDWISE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"seedwise {line.removesuffix('<TAB>')}",
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", ENDED, *words],
        env=os.environ | (completing if line.endswith("<TAB>") else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer in done.stdout
    assert done.stderr == "[]\n"


def test_the_help_shows_the_choices_and_the_defaults_of_a_new_run():
    text = " ".join(invoke("check", "--help").output.split())
    for words in (
        "--sampler [auto|tpe|random|qmc|cmaes|gp|nsgaii]",
        "[default: auto]",
        "--direction [minimize|maximize]",
        "[default: minimize]",
        "--mode [single|distributed]",
        "[default: single]",
        "[default: 2:00:00]",
        "[default: off]",
    ):
        assert words in text
    assert "default:" not in invoke("resume", "--help").output  # those are of the run


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--sampler", "tpee", "'nsgaii'"),
        ("--direction", "up", "'maximize'"),
        ("--mode", "x", "'single'"),
    ],
)
def test_a_choice_that_there_is_not(tmp_path, flag, value, allowed):
    shown = invoke("resume", tmp_path, flag, value)
    assert shown.exit_code == 2
    assert f"Invalid value for '{flag}': '{value}'" in shown.output
    assert allowed in shown.output


def test_python_m_seedwise_is_the_command(stopped, tmp_path):
    def run(*words):
        command = [sys.executable, "-m", "seedwise", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("--version").stdout == f"seedwise, version {sw.__version__}\n"
    assert "Usage: python -m seedwise resume " in run("resume", "--help").stdout
    path = tmp_path / "fit"
    shutil.copytree(stopped[0], path)
    done = run("resume", str(path), "--no-fail-on-chunk-error", "--use-processes")
    assert done.returncode == 0, done.stderr
    assert "best_value: " in done.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("resume a --workers four", "'four' is not a number of workers; give a whole number"),
        ("resume a --workers 6:1", "in '6:1' the first bound is above the second; give a whole"),
        (
            "check a --worker-time-limit 2h",
            "'2h' is not a time as Slurm writes it, such as 02:00:",
        ),
        ("submit --walltime 2h fit.py", "'2h' is not a time as Slurm writes it, such as 02:00:00"),
        ("check a --worker-time-limit UNLIMITED", "'UNLIMITED' is longer than a job can last"),
        ("check a --seeds 1,b", "'1,b' is not a list of whole numbers, such as 3,1,2"),
        ("resume a --overrides {x", "'{x' is not JSON, such as '{\"x\": 0.3}' (Expecting"),
    ],
)
def test_a_value_that_can_not_be_read_is_said_with_one_that_can(words, problem):
    shown = invoke(*words.split())
    assert shown.exit_code == 2
    (flag,) = re.findall(r"--[a-z-]+", words)
    assert f"Error: Invalid value for '{flag}': {problem}" in shown.output

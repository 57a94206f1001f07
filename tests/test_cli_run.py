"""The commands run, sweep and demo, and status --watch, as a user starts them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import acquire_lease
from seedwise.view.result import table_json
from tests.builders import run_status
from tests.testbed.daemons import HANGS_S, poll

SEEDWISE = [sys.executable, "-m", "seedwise"]

#: A script that writes on stdout where it can.
SCRIPT = """
import random
import seedwise as sw

print("importing")


@sw.loss(
    name="walk",
    description="w",
    parameter_space={
        "x": (-1.0, 1.0),
        "n": sw.search_param(range=(1, 9), dtype="int"),
        "kind": sw.search_param(allowed=["plain", "fancy"]),
        "flip": sw.search_param(dtype="bool"),
    },
)
def walk(params, seed, context):
    print("evaluating")
    assert type(params["n"]) is int and type(params["flip"]) is bool, params
    return params["x"] * params["n"] + random.Random(seed).random() + params["flip"]


if __name__ == "__main__":
    raise SystemExit("the call of the script is not made")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a script."""
    (tmp_path / "fit.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def invoke(client, folder):
    """Invoke a command, with the work on a cluster that is there."""

    def invoke(name, *arguments):
        where = ("--cluster", client.scheduler.address, "--no-progress")
        return CliRunner().invoke(main, [name, "fit.py:walk", *where, *map(str, arguments)])

    return invoke


def test_a_run_and_the_same_resumed(folder):
    (folder / "pyproject.toml").write_text("[tool.seedwise]\nn_trials = 2\nn_seeds = 3\n")
    command = [*SEEDWISE, "run", "fit.py", "--workers", "1", "--run-name", "a"]
    command += [
        "--enqueue",
        "x=0.5,n=3,kind=fancy",
        "--enqueue",
        '{"x": -0.5, "n": 2, "kind": "plain"}',
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"best_value: \S+\nx: \S+\nn: \d\nkind: '\w+'\nflip: \w+\n2 complete\n", done.stdout
    )
    assert "importing\n" in done.stderr
    assert "evaluating\n" in done.stderr
    assert "[2/2] trial 1" in done.stderr
    result = sw.open_run("runs/a")
    assert result.trials[0].params.items() >= {"x": 0.5, "n": 3, "kind": "fancy"}.items()
    assert result.trials[1].params["x"] == -0.5
    meta = json.loads((folder / "runs" / "a" / "meta.json").read_text())
    assert meta["options"]["n_seeds"] == 3  # from the file
    command += ["--n-trials", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resumed after 2 trials" in done.stderr
    assert done.stdout == table_json(sw.open_run("runs/a")) + "\n"
    assert sw.open_run("runs/a").trials[:2] == result.trials


@pytest.mark.parametrize("how", ["flag", "file", "toml"])
def test_a_run_of_entries(invoke, folder, how):
    (folder / "ids.txt").write_text("anna\n\n ben b \n")
    (folder / "run.toml").write_text("entry_ids = ['anna', 'ben b']\nrun_name = 'other kind'\n")
    given = {"flag": ("--entries", "anna,ben b"), "file": ("--entries-file", "ids.txt")}
    given["toml"] = ("--config", "run.toml")
    shown = invoke("run", *given[how], "--n-trials", 1, "--n-seeds", 2)
    assert shown.exit_code == 0, shown.output
    assert [line for line in shown.stdout.splitlines() if not line.startswith(" ")] == [
        *("anna:", "ben b:", "2 fitted")
    ]
    assert list(sw.open_run("runs/walk_entries_v0001").best_params_by_entry) == ["anna", "ben b"]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ("--entries a --run-name x", "--run-name can't be given with --entries; use --run-name-"),
        ("--run-name-prefix x", "--run-name-prefix can't be given without --entries; use --run-"),
        ("--max-concurrent-entries 2", "--max-concurrent-entries can't be given without --entr"),
        ("--entries a --entries-file fit.py", "give one of --entries and --entries-file"),
        ("--entries-file no.txt", "Invalid value for '--entries-file': File 'no.txt' does not"),
        ("--enqueue x", "Invalid value for '--enqueue': 'x' is not a point, such as x=0.3,n=2"),
        ("--entry-ids a", "No such option: --entry-ids; use --entries."),
        ("--n-jobs 3", "No such option: --n-jobs; use --workers=40 for processes here or jobs on"),
    ],
)
def test_what_can_not_be_asked_of_a_run_is_a_usage_error(invoke, folder, flags, problem):
    shown = invoke("run", *flags.split())
    assert shown.exit_code == 2
    assert f"Error: {problem}" in shown.stderr
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (["x=0.1,y=1"], "enqueue[0]=['y']: must be names of the loss's parameters: x, n, kind"),
        (["x=0.1", "x=2"], "enqueue[1]['x']=2.0: must be within the range from -1.0 to 1.0"),
        (["x=0.1", "n=2"], "only one of case 0 and case 1 has ['n', 'x']: all"),
        (["n=1.5"], "enqueue[0]['n']=1.5: must be of type int"),
        (["flip=1"], "enqueue[0]['flip']='1': must be of type bool"),
        (["kind=other"], "enqueue[0]['kind']='other': must be one of ['plain', 'fancy']"),
    ],
)
def test_a_point_that_the_loss_does_not_have(invoke, folder, points, problem):
    shown = invoke("run", *(word for point in points for word in ("--enqueue", point)))
    assert shown.exit_code == 1
    assert problem in shown.stderr
    assert not (folder / "runs").exists()


# Sweeps.

POINTS = [
    {"x": 0.5, "n": 2, "kind": "plain", "flip": True},
    {"x": 1.0, "n": 2, "kind": "plain", "flip": True},
]
CSV = "x, n ,kind,flip\n0.5,2,plain,true\n1,2,plain,TRUE\n"


@pytest.mark.parametrize(
    ("source", "points"),
    [
        (
            [
                "--grid",
                "x=0.5,1",
                "--grid",
                "n=2",
                "--grid",
                'kind=["plain"]',
                "--grid",
                "flip=true",
            ],
            POINTS,
        ),
        (["--cases", "cases.csv"], POINTS),
        (["--cases", "cases.json"], POINTS),
        (["--cases", "manifest.json"], POINTS),
        (
            [
                *("--random", "x=uniform(-1,1)", "--random", "n=randint(1, 9)"),
                *("--random", "kind=choice(plain, fancy)", "--random", "flip=choice(true)"),
                *("--n-trials", 3),
            ],
            [
                case.params
                for case in sw.random(
                    {
                        "x": sw.uniform(-1, 1),
                        "n": sw.randint(1, 9),
                        "kind": sw.choice(["plain", "fancy"]),
                        "flip": sw.choice([True]),
                    },
                    n_trials=3,
                    seed=123,
                )
            ],
        ),
    ],
)
def test_a_sweep_over_each_kind_of_source(invoke, folder, source, points):
    (folder / "cases.csv").write_text(CSV)
    (folder / "cases.json").write_text(json.dumps(POINTS))
    (folder / "manifest.json").write_text(json.dumps(sw.manual(POINTS).to_manifest_dict()))
    shown = invoke("sweep", *source, "--n-seeds", 2, "--run-name", "a")
    assert shown.exit_code == 0, shown.output
    result = sw.open_run("runs/a")
    # As text, in which 1, 1.0 and True differ.
    assert [str(sorted(trial.params.items())) for trial in result.trials] == [
        str(sorted(point.items())) for point in points
    ]
    assert shown.stdout.splitlines()[0] == f"trials: {len(points)}"
    again = invoke("sweep", *source, "--n-seeds", 2, "--run-name", "a", "--json")
    assert again.stdout == table_json(result) + "\n"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ([], "give one of --grid, --random and --cases"),
        (["--grid", "x=1", "--cases", "fit.py"], "give one of --grid, --random and --cases"),
        (["--random", "x=uniform(0,1)"], "--random needs --n-trials, the number of points"),
        (["--grid", "x=1", "--n-trials", 3], "--n-trials and --random-seed are for --random"),
    ],
)
def test_a_sweep_has_one_source(invoke, flags, problem):
    shown = invoke("sweep", *flags)
    assert shown.exit_code == 2
    assert f"Error: {problem}" in shown.stderr


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (
            ["--grid", "x=1"],
            "source=['x']: must be names of all of the loss's parameters; missing",
        ),
        (
            ["--grid", "y=1"],
            "grid=['y']: must be names of the loss's parameters: x, n, kind, flip",
        ),
        (["--grid", "x"], "grid='x': must be a parameter and what it gets, such as x=1,2,3."),
        (["--grid", "x=1", "--grid", "x=2"], "grid='x=2': must be given once for 'x'."),
        (["--grid", "x=a"], "grid['x']='a': must be of type float, as the loss's parameter is."),
        (["--grid", "flip=1"], "grid['flip']='1': must be of type bool, as the loss's parameter"),
        (["--grid", "x=1,1"], "parameter 'x': values hold 1.0 twice"),
        (["--random", "x=normal(0,1)"], "random['x']='normal(0,1)': must be one of uniform, logu"),
        (["--random", "x=uniform(0)"], "random['x']='uniform(0)': must be one of uniform, logu"),
        (["--random", "x=uniform(a,1)"], "bound 'a': must be a finite number"),
        (["--random", "n=uniform(0,1)"], "random['n']='uniform(0,1)': must be a distribution of"),
        (["--cases", "fit.py"], "cases='fit.py': must be a name that ends in .csv or .json."),
        (["--cases", "short.csv"], "cases[1]=['1']: must be 2 values, as the file's first line"),
        (["--cases", "wrong.csv"], "cases[0]['n']='two': must be of type int, as the loss's"),
        (["--cases", "broken.json"], "cases='broken.json': must be a file that can be read."),
        (["--cases", "list.json"], "cases='list.json': must be a JSON list of objects, or a sour"),
    ],
)
def test_a_source_that_makes_no_sense(invoke, folder, flags, problem):
    (folder / "short.csv").write_text("x,n\n1,2\n1\n")
    (folder / "wrong.csv").write_text("x,n\n1,two\n")
    (folder / "broken.json").write_text("[")
    (folder / "list.json").write_text("[1]")
    numbers = ["--n-trials", 2] if "--random" in flags else []
    shown = invoke("sweep", *flags, *numbers)
    assert shown.exit_code == 1
    assert f"Error: {problem}" in shown.stderr
    assert not (folder / "runs").exists()


# The demo.


def test_the_demo(folder):
    done = subprocess.run([*SEEDWISE, "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = sw.open_run("runs/demo_v0001")
    assert result.n_trials == 40
    said = done.stdout
    found = re.search(r"on fresh seeds +(\S+) ± (\S+): ", said)
    assert found is not None
    assert found[1] == f"{result.validated_value:.2f}"
    exact = float(re.search(r"the exact mean +(\S+): ", said)[1])
    assert abs(float(found[1]) - exact) < 4 * float(found[2])
    assert f"\n  seedwise show {result.run_dir}\n" in said
    (file,) = re.findall(r"\n  (\S+demo\.py)\n", said)
    assert "@sw.loss(" in Path(file).read_text()
    assert "remark: speed was searched as a float" not in done.stderr


@pytest.mark.full
@pytest.mark.slurm
def test_the_demo_on_slurm(slurm, folder):
    command = [*SEEDWISE, "demo", "--cluster", "slurm", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sw.open_run("runs/demo_v0001").n_trials == 40
    assert "\n  on fresh seeds " in done.stdout


# A status that is watched.


@pytest.fixture
def watching(tmp_path):
    """Start ``seedwise status --watch`` of a run that this process works on, on a terminal."""
    directory = RunDirectory(tmp_path / "a run with a name that is long" / ("x" * 40))
    directory.path.mkdir(parents=True)
    began = "2026-08-01T10:00:00+00:00"
    directory.meta.write(
        {"kind": "run", "started_at_utc": began, "resumed_at_utc": [], "options": {}}
    )

    def tell(done):
        status = run_status(n_trials=9, done=done, pending=9 - done, best_value=0.5)
        directory.status.write(attrs.asdict(status))

    return directory, tell


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, *arguments):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*SEEDWISE, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            close_fds=True,
            env=os.environ | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"},
        )
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def shows(self, words):
        with contextlib.suppress(OSError):  # there is nothing new, or the command has ended
            self.text += os.read(self.ours, 100_000).decode()
        return words in self.text


def test_a_status_is_refreshed_in_place_until_the_run_ends(watching):
    directory, tell = watching
    with Terminal("status", "--watch", str(directory.path)) as terminal:
        with acquire_lease(directory.lease):
            tell(3)
            poll(lambda: terminal.shows("trials       3 of 9 told"), "a status", HANGS_S)
            tell(4)
            poll(lambda: terminal.shows("trials       4 of 9 told"), "a change", HANGS_S)
        assert terminal.process.wait(HANGS_S) == 0
        terminal.shows("")
    first, *_, last = re.split(r"\x1b\[(\d+)A\x1b\[J", terminal.text)
    _, lines, *_ = re.split(r"\x1b\[(\d+)A\x1b\[J", terminal.text)
    assert int(lines) == first.count("\n")  # it goes back to where the first one began
    assert max(map(len, terminal.text.splitlines())) < 80
    assert "\nto resume: " in last


def test_ctrl_c_ends_a_watch_and_not_the_run(watching):
    directory, _ = watching
    with acquire_lease(directory.lease), Terminal("status", "--watch", str(directory.path)) as one:
        poll(lambda: one.shows("trials"), "a status", HANGS_S)
        os.kill(one.process.pid, signal.SIGINT)
        assert one.process.wait(HANGS_S) == 130
        one.shows("")
    assert "Traceback" not in one.text
    assert "Abort" not in one.text


def test_a_watch_of_another_program_has_a_line_for_each_change(watching):
    directory, tell = watching
    command = [*SEEDWISE, "status", "--watch", str(directory.path)]
    with acquire_lease(directory.lease):
        tell(3)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with process:
            first = process.stdout.readline()
            tell(4)
            second = process.stdout.readline()
            process.send_signal(signal.SIGINT)
    assert first == "run, running: 3 of 9 trials told\n"
    assert second == "run, running: 4 of 9 trials told\n"
    assert process.returncode == 130

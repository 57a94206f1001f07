"""The commands that change a run while it runs: scale, stop and clean, with real drivers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import seedwise as sw
from seedwise.cli import main
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.folder.lease import lease_holder
from tests.faults.harness import ROOT, Driver, driver, expected_table
from tests.testbed.daemons import HANGS_S, poll

COMMAND = str(Path(sys.executable).parent / "seedwise")
RUN = {"n_trials": 28, "n_seeds": 12, "chunk_size": 4, "workers": 2}
ENTRIES = {"n_trials": 14, "n_seeds": 6, "chunk_size": 3, "workers": 2, "loss": "of_entry"}
SWEEP = {
    "n_seeds": 6,
    "chunk_size": 3,
    "workers": 2,
    "source": sw.random(
        {
            "x": sw.uniform(-2.0, 2.0),
            "rate": sw.loguniform(1e-3, 1.0),
            "n": sw.randint(1, 9),
            "kind": sw.choice(["plain", "fancy"]),
        },
        45,
        seed=1,
    ).to_manifest_dict(),
}


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in another process, as another terminal does."""
    words = [COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=HANGS_S, check=False)


def begun(run: Driver) -> Driver:
    """Start a driver, and wait until a trial is told; what is left takes half a minute."""
    run.start()
    run.wait_for(25)
    run.set_pace(0.3)
    assert run.running, run.stderr
    return run


def kinds(directory: RunDirectory) -> list[str]:
    return [one["kind"] for one in read_events(directory) if one["kind"] != "joined"]


# A real run, stopped from another process.


@pytest.mark.parametrize(
    "keywords",
    [
        pytest.param(RUN, id="run"),
        pytest.param(
            {**ENTRIES, "entry_ids": ["p1", "p3", "p4"]}, id="entries", marks=pytest.mark.full
        ),
        pytest.param(SWEEP, id="sweep", marks=pytest.mark.full),
    ],
)
def test_a_run_that_is_stopped_goes_on_to_the_table_of_an_undisturbed_one(
    client, tmp_path, keywords
):
    expected = expected_table(client, keywords)
    with driver(tmp_path, "stopped", keywords, pace_s=0.05) as run:
        begun(run)
        path = run.directory.path
        if keywords is RUN:
            run.set_pace(0.6)  # a trial takes longer than two looks at its progress
            poll(lambda: sw.run_status(path).running_seeds_done, "seeds in flight", HANGS_S)
        seen = sw.open_run(path)  # while the driver works
        assert seen.outcome
        shown = command("stop", path)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.splitlines() == [
            "asked to stop; the driver ends the run",
            f"to resume: seedwise resume {path}",
        ]
        assert run.wait() == 75, run.stderr
        assert "Traceback" not in run.stderr
        assert f"to resume: seedwise resume {path}" in run.stderr
        status = sw.run_status(path)
        assert (status.state, status.driver) == ("stopped", None)
        assert 0 < status.n_told < status.n_trials
        assert status.best_value == run.directory.summary.read().get("best_value")
        assert (status.best_value is None) == (status.kind == "entries")
        assert kinds(run.directory) == ["started", "asked", "stopped"]
        assert not run.directory.control.exists()
        if keywords is RUN:
            assert 0 < seen.n_trials <= status.n_told
            assert sw.open_run(path).trials[: seen.n_trials] == seen.trials
        assert run.finish(client) == expected
        assert kinds(run.directory)[3:] == ["resumed", "finished"]


# Carries out a run in a thread, as a notebook may do, in a process of its own.
IN_A_THREAD = """
import sys
import threading

import seedwise as sw
from distributed import LocalCluster
from tests.losses import bowl


def work(**options):
    try:
        sw.optimize_run(
            bowl, n_trials=9999, n_seeds=4, run_root=sys.argv[1], run_name="a", **options
        )
    except BaseException as error:
        print(type(error).__name__, error, flush=True)


def main():
    if sys.argv[2] == "local":
        options = {"workers": 1}
    else:  # no worker ever joins this one
        options = {"cluster": LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0")}
    thread = threading.Thread(target=work, kwargs=options)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def in_a_thread(tmp_path):
    """Start a run in a thread of another process; give its folder and the process."""
    script = tmp_path / "fit.py"
    script.write_text(IN_A_THREAD)
    with contextlib.ExitStack() as closing:

        def start(which: str) -> tuple[RunDirectory, subprocess.Popen[str]]:
            process = subprocess.Popen(
                [sys.executable, str(script), str(tmp_path), which],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
            closing.enter_context(process)
            closing.callback(process.kill)
            return RunDirectory(tmp_path / "a"), process

        yield start


def test_a_run_in_a_thread_is_stopped_by_its_handle(in_a_thread):
    directory, process = in_a_thread("local")
    poll(lambda: directory.n_told() > 3, "some trials")
    sw.connect(directory.path).stop()
    out, _ = process.communicate(timeout=HANGS_S)
    assert out.startswith("RunStopped stopped by seedwise stop; to resume: ")
    assert sw.run_status(directory.path).state == "stopped"


def test_a_run_is_stopped_before_a_worker_has_joined(in_a_thread):
    directory, process = in_a_thread("passed")
    poll(directory.control.exists, "the driver")
    run = sw.connect(directory.path)
    with pytest.raises(sw.RequestRefusedError, match="the owner of a cluster that was passed"):
        run.scale(4)
    run.stop()
    out, _ = process.communicate(timeout=HANGS_S)
    assert out.startswith("RunStopped stopped by seedwise stop; to resume: ")
    assert run.status().n_told == 0


def test_what_is_asked_of_a_killed_driver_says_so_and_is_cleaned_up(tmp_path):
    with driver(tmp_path, "killed", RUN, pace_s=0.05) as run:
        begun(run)
        path = run.directory.path
        shown = invoke("clean", path)
        assert shown.exit_code == 1
        assert f"is being worked on by process {run.process.pid} on" in shown.output
        assert run.kill()
        for arguments in (["scale", path, "1:3"], ["stop", path]):
            shown = invoke(*arguments)
            assert shown.exit_code == 1
            assert f"Error: no driver works on {path}, which is stopped" in shown.output
            assert f"seedwise resume {path}\n" in shown.output
        assert run.directory.lease.exists()
        told = sw.run_status(path).n_told
        shown = invoke("clean", path)
        assert shown.exit_code == 0, shown.output
        assert shown.output.splitlines()[-1] == f"the results stay in {path}"
        assert "driver.lease" in shown.output
        for left in (run.directory.lease, run.directory.key_dir, run.directory.control):
            assert not left.exists()
        assert lease_holder(run.directory.lease) is None
        assert sw.run_status(path).n_told == told
        assert invoke("clean", path).output.splitlines() == [
            "no jobs were left",
            "nothing was left behind to remove",
            f"the results stay in {path}",
        ]


# What the commands take, and say.


class FakeHandle:
    path = Path("runs/my fit")

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def scale(self, workers: Any) -> None:
        self.asked.append(workers)

    def stop(self) -> None:
        self.asked.append("stop")


@pytest.fixture
def handle(monkeypatch) -> FakeHandle:
    handle = FakeHandle()
    monkeypatch.setattr(sw, "connect", lambda run_dir: handle)
    return handle


@pytest.mark.parametrize(
    ("text", "workers", "words"),
    [
        ("1", 1, "1 worker"),
        ("40", 40, "40 workers"),
        ("10:200", (10, 200), "10 to 200 workers"),
    ],
)
def test_workers_are_given_as_for_a_run(handle, text, workers, words):
    shown = invoke("scale", "runs/a", text)
    assert shown.exit_code == 0, shown.output
    assert handle.asked == [workers]
    assert shown.output == f"asked for {words}; the driver takes care of it\n"


def test_the_command_that_goes_on_is_to_be_pasted(handle):
    shown = invoke("stop", "runs/a")
    assert handle.asked == ["stop"]
    assert shown.output.splitlines()[-1] == "to resume: seedwise resume 'runs/my fit'"


@pytest.mark.parametrize("text", ["four", "", "5:", "1.5", "-5", "0", "1:2:3", "-1:2", "--more"])
def test_what_is_no_number_of_workers_is_refused_with_one_that_is(handle, text):
    for arguments in (["scale", "runs/a", text], ["scale", "runs/a", "--", text]):
        shown = invoke(*arguments)
        assert shown.exit_code == 2
        words = " ".join(shown.output.split())
        assert f"Invalid value for 'WORKERS': {text!r} is not a number of workers;" in words
        assert words.endswith("such as 40, or bounds, such as 10:200")
    assert handle.asked == []


def test_bounds_in_the_wrong_order_are_said_to_be(handle):
    shown = invoke("scale", "runs/a", "6:1")
    assert shown.exit_code == 2
    said = "in '6:1' the first bound is above the second; give a whole number above 0, such as 40,"
    assert said in " ".join(shown.output.split())
    assert handle.asked == []


def test_the_flag_for_workers_says_the_same():
    shown = invoke("resume", "runs/a", "--workers", "5:")
    assert shown.exit_code == 2
    assert "such as 10:200" in " ".join(shown.output.split())


@pytest.mark.parametrize("arguments", [["scale", "4"], ["stop"], ["clean"]])
def test_a_folder_that_is_no_run(tmp_path, arguments):
    name, *rest = arguments
    shown = invoke(name, tmp_path, *rest)
    assert shown.exit_code == 1
    assert f"Error: {tmp_path}: there is no meta.json" in shown.output


def test_what_was_done_is_said(monkeypatch):
    def clean_run(run_dir: str, *, take_over: bool) -> sw.CleanedRun:
        assert (run_dir, take_over) == ("runs/a", True)
        return sw.CleanedRun(Path("runs/a"), ("41", "42"), ("keys", "control"))

    monkeypatch.setattr(sw, "clean_run", clean_run)
    assert invoke("clean", "runs/a", "--take-over").output.splitlines() == [
        "cancelled jobs: 41, 42",
        "removed: keys, control",
        "the results stay in runs/a",
    ]


def test_what_slurm_does_not_tell_is_said_and_is_no_success(monkeypatch):
    noted = tuple(map(str, range(1, 26)))
    found = sw.CleanedRun(
        Path("runs/my fit"), (), ("keys",), "slurm_load_jobs error:\n timed out", noted
    )
    monkeypatch.setattr(sw, "clean_run", lambda run_dir, *, take_over: found)
    shown = invoke("clean", "runs/my fit")
    assert shown.exit_code == 1
    assert shown.output.splitlines() == [
        (
            "Slurm does not answer (slurm_load_jobs error: timed out); whether jobs are left is "
            f"unknown (ids noted: {', '.join(noted[5:])}, and 5 before)"
        ),
        "removed: keys",
        "the results stay in runs/my fit",
        "to try again: seedwise clean 'runs/my fit'",
    ]


def test_the_jobs_of_a_copy_are_said_to_be_anothers(monkeypatch):
    found = sw.CleanedRun(Path("runs/b"), copy_of=Path("runs/a"))
    monkeypatch.setattr(sw, "clean_run", lambda run_dir, *, take_over: found)
    shown = invoke("clean", "runs/b")
    assert shown.exit_code == 0
    assert shown.output.splitlines()[0] == (
        "no job was cancelled: this is a copy of runs/a, whose jobs they are"
    )

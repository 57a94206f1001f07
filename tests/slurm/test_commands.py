"""Commands that fail, hang, or are not there."""

from __future__ import annotations

import sys

import psutil
import pytest

from seedwise.slurm.commands import CommandError, run_command
from tests.testbed.daemons import poll


@pytest.mark.parametrize(
    ("text", "unheard"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv", True),
        ("sbatch: error: Slurm controller not responding, sleeping and retrying.", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.", True),
        ("scancel: error: Slurm backup controller in standby mode", True),
        ("squeue: error: Slurm backup controller is in standby mode", True),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable\n", True),
        ("squeue: error: Zero Bytes were transmitted or received", True),
        ("sbatch: error: Batch job submission failed: Communication connection failure", True),
        ("sbatch: fatal: Could not establish a configuration source", True),
        ("slurm_load_jobs error: Transport endpoint is not connected", True),
        ("sacct: error: Problem talking to the database: Connection refused", True),
        ("sbatch: error: connect: Connection refused\nsbatch: error: and more", True),
        ("sbatch gave no answer within 8 s", True),
        ("squeue can't be run: No such file or directory", True),
        ("sbatch: error: No account given. Use -A and try again", False),
        (
            "sbatch: error: Submission is temporarily closed for maintenance, try again later",
            False,
        ),
        ("sbatch: error: The Slurm controller of this site takes jobs of groups only", False),
        ("sbatch: error: Your last 5 jobs timed out: ask for more time", False),
        ("sbatch: error: unable to connect your account with a project", False),
        ("sbatch: error: Each account needs a configuration source, see the manual", False),
        ("sbatch: error: invalid partition specified: nosuch", False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False),
        ("sbatch: error: Requested time limit is invalid", False),
    ],
)
def test_refused_or_not_heard(text, unheard):
    assert CommandError(text).unheard is unheard


def test_a_command_that_fails_says_what_it_wrote():
    with pytest.raises(CommandError, match=r"^no way$"):
        run_command(sys.executable, "-c", "import sys; sys.exit('no way')")
    with pytest.raises(CommandError, match=r"exited with 3"):
        run_command(sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(CommandError, match=r"nosuch can't be run: No such file") as caught:
        run_command("nosuch")
    assert caught.value.unheard


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {file}; wait"
    with pytest.raises(CommandError, match=r"sh gave no answer within 2 s"):
        run_command("sh", "-c", script, timeout_s=2)
    poll(lambda: not _is_running(int(file.read_text())), "its child to end")


def test_a_wrapper_that_ended_is_heard_though_a_child_holds_its_pipes(tmp_path):
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {file}; echo 123é; echo careful >&2; exit "
    assert run_command("sh", "-c", f"{script} 0", timeout_s=1) == "123é\n"
    poll(lambda: not _is_running(int(file.read_text())), "its child to end")
    with pytest.raises(CommandError, match=r"^careful$") as caught:
        run_command("sh", "-c", f"{script} 3", timeout_s=1)
    assert not caught.value.unheard
    poll(lambda: not _is_running(int(file.read_text())), "its child to end")


def test_a_wrapper_that_ended_and_said_nothing_is_not_heard(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(CommandError, match=r"gave no answer within 1 s") as caught:
        run_command("sh", "-c", f"sleep 1000 & echo $! > {file}", timeout_s=1)
    assert caught.value.unheard
    poll(lambda: not _is_running(int(file.read_text())), "its child to end")


def _is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_its_input_and_output_are_text_whatever_is_in_them():
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() + bytes([255]))"
    assert run_command(sys.executable, "-c", code, stdin="é") == "é\ufffd"


def test_what_a_user_has_set_for_commands_does_not_change_what_they_list(monkeypatch):
    names = ["SQUEUE_STATES", "SCANCEL_STATE", "SACCT_FEDERATION", "SINFO_PARTITION"]
    for name in [*names, "SLURM_TIME_FORMAT"]:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CLUSTERS", "here")
    shown = run_command("env").splitlines()
    assert not [line for line in shown if line.startswith((*names, "SLURM_TIME_FORMAT"))]
    assert "LC_ALL=C" in shown
    assert "SLURM_CLUSTERS=here" in shown


def test_an_environment_of_its_own(monkeypatch):
    monkeypatch.setenv("OTHER", "x")
    assert run_command("/usr/bin/env", env={"ONE": "1"}) == "ONE=1\n"

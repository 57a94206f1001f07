"""Commands that fail, hang, or are not there, and amounts of memory as Slurm writes them."""

from __future__ import annotations

import math
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.slurm.commands import (
    CommandError,
    memory_mb,
    memory_text,
    readable_memory,
    run_command,
)
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


WHOLE = st.integers(min_value=0, max_value=10**12)


@pytest.mark.parametrize(
    ("text", "mb"),
    [
        ("2G", 2048),
        ("2g", 2048),
        ("2GB", 2048),
        ("2GiB", 2048),
        ("2000M", 2000),
        ("2000", 2000),
        ("62.50G", 64_000),
        ("1.5T", 1.5 * 1024**2),
        ("512K", 0.5),
        ("2000Mn", 2000),
        ("4Gc", 4096),
        ("4000 M", 4000),
        ("0", 0),
        ("UNLIMITED", None),
        ("INFINITE", None),
    ],
)
def test_memory(text, mb):
    assert memory_mb(text) == mb


@pytest.mark.parametrize("text", ["", "N/A", "(null)", "-1", "2X", "G", "2 G G", "16000+"])
def test_what_is_no_memory(text):
    with pytest.raises(ValueError, match="is not an amount of memory"):
        memory_mb(text)


@given(WHOLE)
def test_memory_comes_back(mb):
    assert memory_mb(memory_text(mb)) == mb


@given(st.floats(min_value=0, max_value=1e9))
def test_no_memory_is_cut_off(mb):
    assert memory_mb(memory_text(mb)) == math.ceil(mb)


def test_memory_has_the_largest_unit_that_is_exact():
    assert [memory_text(mb) for mb in (0, 1000, 1024, 1025, 1024**2, 3 * 1024**3)] == [
        *("0M", "1000M", "1G", "1025M", "1T", "3072T")
    ]


@pytest.mark.parametrize(
    ("mb", "words"),
    [
        (0, "0 MB"),
        (1000, "1000 MB"),
        (16_384, "16 GB"),
        (16_000, "15.6 GB"),
        (1024 * 1024 - 1, "1023.9 GB"),
        (1.5 * 1024**2, "1.5 TB"),
        (9999 * 1024**2, "9999 TB"),
    ],
)
def test_readable_memory_is_never_rounded_up(mb, words):
    assert readable_memory(mb) == words

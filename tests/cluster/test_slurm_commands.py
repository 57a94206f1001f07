"""Slurm's commands: what they print, what they refuse, and when nothing is known."""

from __future__ import annotations

import sys

import psutil
import pytest

from seedwise.cluster import slurm_commands
from seedwise.cluster.slurm_commands import (
    CommandError,
    QueuedJob,
    cancel_jobs,
    list_jobs,
    run_command,
    scancel,
    submit_job,
)
from tests.slurm.daemons import poll


@pytest.fixture
def prints(monkeypatch):
    """Have the commands print what a test says, instead of running."""

    def say(text):
        monkeypatch.setattr(slurm_commands, "run_command", lambda *_, **__: text)

    return say


@pytest.mark.parametrize(
    ("out", "job_id"),
    [
        ("123\n", "123"),
        ("123;cluster\n", "123"),
        ("Submitted batch job 123\n", "123"),
        ("Welcome to node 7!\n\n123\n", "123"),
        ("7\n123\nHave 2 good days\n", "123"),
        ("Your job is on its way\n", None),
        ("", None),
    ],
)
def test_the_id_that_sbatch_prints(prints, out, job_id):
    prints(out)
    assert submit_job("#!/bin/sh") == job_id


def test_the_queue(prints):
    prints(
        "12|PENDING|ours|ReqNodeNotAvail, UnavailableNodes:n[1-4]|2026-11-21T10:00:00\n"
        "13|RUNNING|ours|None|2026-11-21T09:00:00\n"
        "14|PENDING|theirs|Priority|N/A\n"
        "15|PENDING|a comment | with bars|Priority|N/A\n"
        "16|PENDING|changed by the site|a|b|N/A\n"
        "Welcome to the cluster\n"
        "\n"
    )
    assert list_jobs("ours", ["16"]) == {
        "12": QueuedJob(
            "12", "PENDING", "ReqNodeNotAvail, UnavailableNodes:n[1-4]", "2026-11-21T10:00:00"
        ),
        "13": QueuedJob("13", "RUNNING", "None", "2026-11-21T09:00:00"),
        "16": QueuedJob("16", "PENDING", "a|b", "N/A"),
    }


@pytest.mark.parametrize(
    ("text", "unheard"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv", True),
        ("sbatch: error: Slurm controller not responding, sleeping and retrying.", True),
        ("sbatch gave no answer within 8 s", True),
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


def test_a_command_that_hangs_is_ended_with_its_children():
    script = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '1000']); "
        "print(child.pid, file=sys.stderr, flush=True); child.wait()"
    )
    before = set(psutil.pids())
    with pytest.raises(CommandError, match=r"gave no answer within 2 s"):
        run_command(sys.executable, "-c", script, timeout_s=2)

    def sleeping():
        new = [
            psutil.Process(pid) for pid in set(psutil.pids()) - before if psutil.pid_exists(pid)
        ]
        return [one for one in new if one.is_running() and _line(one) == ["sleep", "1000"]]

    poll(lambda: not sleeping(), "its child to end")


def _line(pid):
    try:
        return psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return []


def test_its_input_and_output_are_text_whatever_is_in_them():
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() + bytes([255]))"
    assert run_command(sys.executable, "-c", code, stdin="é") == "é\ufffd"


@pytest.mark.slurm
def test_the_jobs_of_a_run_are_found_and_cancelled(slurm, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "COMPLETED")  # a user's own wish
    script = "#!/bin/sh\n#SBATCH --comment={}\n#SBATCH -o /dev/null\nsleep 1000\n"
    ours = [submit_job(script.format("run-1")) for _ in range(2)]
    theirs = submit_job(script.format("run-2"))
    assert sorted(list_jobs("run-1")) == sorted(ours)
    assert sorted(cancel_jobs("run-1")) == sorted(ours)
    poll(lambda: not list_jobs("run-1"), "our jobs to end")
    assert list(list_jobs("run-2")) == [theirs]
    scancel([*ours, theirs])  # some are gone already
    poll(lambda: not list_jobs("run-2"), "all jobs to end")


@pytest.mark.slurm
def test_without_a_controller_nothing_is_known(slurm, monkeypatch, tmp_path):
    text = (slurm.folder / "slurm.conf").read_text()
    conf = tmp_path / "slurm.conf"
    lines = [line for line in text.splitlines() if not line.startswith("SlurmctldPort=")]
    conf.write_text("\n".join([*lines, "SlurmctldPort=1", ""]))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    with pytest.raises(CommandError) as caught:
        list_jobs("run")
    assert caught.value.unheard, caught.value.text

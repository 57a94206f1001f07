"""The job script of a driver: what it asks for, and what the script does when it is signalled."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from seedwise.errors import ClusterStartError, OptionError, PreflightError
from seedwise.model.options.slurm import SlurmOptions, SubmitOptions
from seedwise.slurm import driver_job as module
from seedwise.slurm.commands import CommandError
from seedwise.slurm.driver_job import DriverJob, submit_again, submit_driver
from seedwise.slurm.limits.records import PartitionLimits, SlurmLimits
from seedwise.slurm.preflight import check
from seedwise.slurm.queue import directive_words
from tests.testbed.daemons import poll

DAY = "--time=1-00:00:00"


@pytest.fixture
def job(tmp_path):
    return DriverJob(
        name="seedwise-fit-1",
        folder=tmp_path,
        working_dir=tmp_path,
        command=[sys.executable, "fit it.py", "--name", "a b"],
        exports={"SEEDWISE_TEST": '"$HOME"'},
    )


@pytest.fixture
def site(monkeypatch):
    """Give the Slurm that there is to be limits; none means that nothing is known."""

    def site(*partitions: PartitionLimits, **known) -> None:
        limits = SlurmLimits(
            user="me", partitions=partitions, enforce=("limits",), version="22.05", **known
        )
        monkeypatch.setattr(check, "slurm_limits", lambda timeout_s: limits)

    site()
    return site


def words(job, slurm=None, **options) -> list[str]:
    return directive_words(job.script(SubmitOptions(**options), slurm or SlurmOptions()))


def test_what_it_asks_for_by_default(job, site, tmp_path):
    assert words(job) == [
        "--cpus-per-task=1",
        "--mem=2G",
        DAY,
        "--job-name=seedwise-fit-1",
        f"--chdir={tmp_path}",
        f"--output={tmp_path}/driver.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
    ]


def test_what_it_is_asked_for(job, site):
    slurm = SlurmOptions(
        partition="long",
        account="proj",
        extra_directives=["--qos=slow"],
        prologue=["module load x"],
    )
    options = SubmitOptions(walltime=timedelta(hours=3), cpus=4, memory="8G")
    script = job.script(options, slurm)
    asked = directive_words(script)
    assert asked[:6] == [
        "--cpus-per-task=4",
        "--mem=8G",
        "--time=0-03:00:00",
        "--partition=long",
        "--account=proj",
        "--qos=slow",
    ]
    lines = script.splitlines()
    first = lines.index("module load x")
    assert first < lines.index(f"{sys.executable} 'fit it.py' --name 'a b' &")
    assert 'export SEEDWISE_TEST="$HOME"' in lines[:first]


def test_folders_with_characters_that_sbatch_reads(job, site, tmp_path):
    odd = tmp_path / 'a b%j"c'
    odd.mkdir()
    job = DriverJob(name="x", folder=odd, working_dir=odd, command=["true"], exports={})
    assert f"--chdir={odd}" in words(job)
    assert f"--output={str(odd).replace('%', '%%')}/driver.log" in words(job)


LIMITS = [
    PartitionLimits(name="main", is_default=True, max_time_s=4 * 3600.0),
    PartitionLimits(name="tiny", max_time_s=600.0),
    PartitionLimits(name="long", max_time_s=None),
    PartitionLimits(name="odd", max_time_s=60.0, unknown=("max_time_s",)),
]


@pytest.mark.parametrize(
    ("partition", "walltime", "signal_s"),
    [
        (None, "0-04:00:00", 120),
        ("tiny", "0-00:10:00", 120),
        ("main,tiny", "0-00:10:00", 120),
        ("long", "1-00:00:00", 120),
        ("odd", "1-00:00:00", 120),
        ("unknown", "1-00:00:00", 120),
    ],
)
def test_the_walltime_is_a_day_or_what_the_partition_allows(
    job, site, partition, walltime, signal_s
):
    site(*LIMITS)
    asked = words(job, SlurmOptions(partition=partition))
    assert f"--time={walltime}" in asked
    assert f"--signal=B:USR1@{signal_s}" in asked


def test_a_short_walltime_leaves_time_to_work(job, site):
    assert "--signal=B:USR1@15" in words(job, walltime=timedelta(minutes=1))


def test_a_walltime_with_which_it_would_wait_for_ever_is_refused(job, site):
    site(*LIMITS)
    with pytest.raises(PreflightError, match="--walltime: 5 h asked for, but partition main"):
        words(job, walltime=timedelta(hours=5))


@pytest.mark.parametrize(
    "wrong", [{"cpus": 0}, {"memory": "2 GB"}, {"walltime": timedelta(0)}], ids=str
)
def test_options_that_make_no_sense(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        SubmitOptions(**wrong)


#: What the script of the user does, what is sent to the job's script, and to all of the job's
#: processes; then the exit code, and whether there is a next job.
ENDINGS = {
    "finished": ("sys.exit(0)", [], 0, False),
    "failed": ("sys.exit(3)", [], 3, False),
    "the walltime is nearly up": ("time.sleep(60)", ["USR1"], 143, True),
    "cancelled": ("time.sleep(60)", ["TERM"], 143, False),
    "cancelled while it stops": ("stop_at(2)", ["USR1", "TERM"], 143, False),
    "finished though the walltime was nearly up": ("stop_at(1, 0)", ["USR1"], 0, False),
}

USER_SCRIPT = """
import signal, sys, time
from pathlib import Path

def stop_at(number, code=143):
    def handle(*_):
        taken.append(1)
        Path("taken").write_text(str(len(taken)))
        if len(taken) == number:
            sys.exit(code)
    taken = []
    signal.signal(signal.SIGTERM, handle)
    Path("ready").touch()
    while True:
        time.sleep(60)

if not {what!r}.startswith("stop_at"):
    Path("ready").touch()
{what}
"""


@pytest.mark.parametrize(("what", "signals", "code", "again"), ENDINGS.values(), ids=ENDINGS)
def test_how_the_job_ends(site, tmp_path, what, signals, code, again):
    (tmp_path / "fit.py").write_text(USER_SCRIPT.format(what=what))
    command = [sys.executable, "fit.py"]
    job = DriverJob(name="x", folder=tmp_path, working_dir=tmp_path, command=command, exports={})
    text = job.script(SubmitOptions(), SlurmOptions())
    text, n_calls = re.subn(r"(?m)^    .*seedwise\.slurm\.driver_job .*$", "    touch again", text)
    assert n_calls == 1
    job.script_file.write_text(text)
    with subprocess.Popen(
        ["bash", str(job.script_file)], cwd=tmp_path, start_new_session=True
    ) as process:
        poll(lambda: (tmp_path / "ready").exists() or process.poll() is not None, "the script")
        for n_sent, name in enumerate(signals):
            if n_sent:
                poll((tmp_path / "taken").exists, "the first signal to be taken")
            number = getattr(signal, f"SIG{name}")
            if name == "USR1":
                process.send_signal(number)
            else:  # as Slurm does
                os.killpg(process.pid, number)
    assert process.returncode == code
    assert (tmp_path / "again").exists() is again


def test_a_job_that_slurm_refuses(monkeypatch):
    def refuse(script: str) -> str:
        raise CommandError("sbatch: error: invalid account")

    monkeypatch.setattr(module, "submit_job", refuse)
    with pytest.raises(
        ClusterStartError, match="Slurm refuses it: sbatch: error: invalid account"
    ):
        submit_driver("")


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """Have sbatch answer in this way, once for each time; return the job script."""
    (tmp_path / "job.sh").write_text("#!/bin/bash\n")
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)

    def answers(*texts: str):
        left = iter(texts)

        def answer(script: str) -> str:
            assert script == "#!/bin/bash\n"
            text = next(left)
            if text.isdecimal():
                return text
            raise CommandError(text)

        monkeypatch.setattr(module, "submit_job", answer)
        return tmp_path / "job.sh"

    return answers


BUSY = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


def test_a_busy_slurm_is_asked_again_for_the_next_job(answers, capsys):
    submit_again(answers(BUSY, BUSY, "13"))
    assert "job 13 resumes the run" in capsys.readouterr().out


@pytest.mark.parametrize("texts", [["sbatch: error: no"], [BUSY] * 6], ids=["refused", "busy"])
def test_a_next_job_that_is_not_to_be_had_is_an_error(answers, texts):
    with pytest.raises(CommandError, match="sbatch: error"):
        submit_again(answers(*texts))


def test_what_to_do_without_a_next_job_is_said(tmp_path):
    (tmp_path / "job.sh").write_text("#!/bin/bash\n")
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no' >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    command = [sys.executable, "-m", "seedwise.slurm.driver_job", str(tmp_path / "job.sh")]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "seedwise: the next job could not be submitted: sbatch: error: no\n"
        f"to resume the run: sbatch {tmp_path}/job.sh\n"
    )

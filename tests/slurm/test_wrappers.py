"""Slurm's commands as sites have them: older ones, and scripts in front of the real ones."""

from __future__ import annotations

import os
import shutil

import pytest

from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import ask_ends
from seedwise.slurm.limits.read import slurm_limits
from seedwise.slurm.queue import cancel_jobs, list_jobs, submit_job
from seedwise.slurm.queue import test_submit as check_submit
from tests.testbed.daemons import poll

pytestmark = pytest.mark.slurm

COMMANDS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue")

# ssh hands its words to a shell on the other machine, which reads them once more.
SSH = 'sh -c "{real} $*"'
NO_SCONTROL = "exit 1"
WITHOUT_ME = (
    'case "$*" in *--me*) echo "squeue: unrecognized option \'--me\'" >&2; exit 1;; esac\n'
    'exec {real} "$@"'
)

JOB = "#!/bin/sh\n#SBATCH --comment=run-1.a -J seedwise-fit -o /dev/null -t 5\nsleep 1000\n"


@pytest.fixture
def put_before(tmp_path, monkeypatch):
    """Put commands before the real ones, which they may call as {real}."""

    def put(**bodies: str) -> None:
        for name, body in bodies.items():
            command = tmp_path / name
            command.write_text(f"#!/bin/sh\n{body.replace('{real}', shutil.which(name))}\n")
            command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


@pytest.mark.parametrize("bodies", [dict.fromkeys(COMMANDS, SSH), {"squeue": WITHOUT_ME}])
def test_a_job_from_its_check_to_its_end(slurm, put_before, bodies):
    put_before(**bodies)
    assert check_submit(JOB) is None
    job_id = submit_job(JOB)
    (job,) = list_jobs("run-1").values()
    assert (job.job_id, job.partition) == (job_id, "main")
    assert list(list_jobs("other", [job_id], name="seedwise-fit")) == [job_id]
    assert cancel_jobs("run-1") == [job_id]
    poll(lambda: not list_jobs("run-1"), "the job to be gone")
    poll(lambda: job_id in ask_ends([job_id]), "the accounting to know how it ended")
    assert ask_ends([job_id])[job_id].state == "CANCELLED"


def test_what_slurm_allows(slurm, put_before):
    known = slurm_limits()
    put_before(**dict.fromkeys(COMMANDS, SSH))
    found = slurm_limits()
    assert (found.accounts, found.qos, found.unanswered) == (known.accounts, known.qos, {})
    assert _partitions(found) == _partitions(known)
    put_before(scontrol=NO_SCONTROL)
    assert _partitions(slurm_limits()) == _partitions(known)


def _partitions(limits):
    return [(one.name, one.max_time_s, one.n_nodes, one.cpus) for one in limits.partitions]


def test_a_squeue_that_fails_otherwise_is_asked_once(slurm, put_before, tmp_path):
    asked = tmp_path / "asked"
    put_before(squeue=f"echo \"$*\" >> {asked}; echo 'squeue: error: no' >&2; exit 1")
    with pytest.raises(CommandError, match="squeue: error: no"):
        list_jobs("run-1")
    assert len(asked.read_text().splitlines()) == 1

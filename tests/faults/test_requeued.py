"""A driver in a Slurm job that Slurm requeues, on the same node or on another."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess

import psutil
import pytest

from tests.faults.harness import ROOT, RUN, Driver, expected_table
from tests.testbed.daemons import poll

pytestmark = pytest.mark.slurm


@pytest.mark.full
def test_a_driver_whose_job_is_requeued_on_another_node_resumes_its_run(slurm, tmp_path, client):
    run = Driver(tmp_path, "requeued", RUN, pace_s=0.05)
    job_id = submitted(run)
    poll(lambda: run.n_evaluations >= 30, f"evaluations: {run.stderr_file}")
    lease = run.directory.lease
    held = json.loads(lease.read_text())
    psutil.Process(held["pid"]).send_signal(signal.SIGKILL)
    poll(lambda: job_id not in slurm.jobs(), "the job to end")
    # All nodes are on this machine, so it only looks as if the driver had run on another.
    lease.write_text(json.dumps({**held, "host": "elsewhere", "machine": "elsewhere"}))
    run.set_pace(0)
    slurm.run("scontrol", "requeue", job_id)
    # Slurm itself waits for two minutes; within the second it would refuse the job's credential.
    slurm.run("scontrol", "update", f"jobid={job_id}", "starttime=now+2")
    poll(lambda: job_id not in slurm.jobs(), "the requeued job to end")
    assert run.table_file.exists(), run.stderr
    assert run.table == expected_table(client, RUN)
    assert "resumed after" in run.stderr


def submitted(run: Driver) -> str:
    """Submit the driver as a job; return the job's id."""
    log = [f"--output={run.stderr_file}", "--open-mode=append"]
    size = ["--cpus-per-task=2", "--mem=1G", "--time=10"]
    command = f"--wrap=exec {shlex.join(run.command())}"
    sbatch = ["sbatch", "--parsable", "--requeue", *log, *size, command]
    done = subprocess.run(
        sbatch, cwd=ROOT, env=run.environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()

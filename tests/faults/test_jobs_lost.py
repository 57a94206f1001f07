"""Slurm jobs that die, are cancelled or preempted while they work."""

from __future__ import annotations

import random
import signal

import psutil
import pytest

from tests.faults.harness import Driver, driver, expected_table, told_values
from tests.faults.loss import evaluations
from tests.testbed.config import CPUS_PER_NODE, NODES
from tests.testbed.daemons import poll

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]

RUN = {"n_trials": 30, "n_seeds": 24, "chunk_size": 6, "max_concurrent_trials": 4}
#: One job fills one node, so that a job of a higher QoS preempts one of ours.
ON_SLURM = {
    **RUN,
    "cluster": "slurm",
    "workers": len(NODES),
    "cpus_per_task": CPUS_PER_NODE,
    "mem_per_cpu": "200M",
    "slurm_qos": "short",
    "worker_time_limit_s": 600,
}
PACE_S = 0.05


@pytest.fixture
def expected(client):
    return expected_table(client, RUN)


@pytest.fixture
def site(slurm, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


def disturbed(tmp_path, expected, n_hits: int, disturb) -> Driver:
    """Carry out runs, disturbing them until that many jobs were hit."""
    n_done = n_runs = 0
    while n_done < n_hits:
        n_runs += 1
        assert n_runs <= n_hits + 5, "the fault does not hit"
        with driver(tmp_path, f"run{n_runs}", ON_SLURM, pace_s=PACE_S) as run:
            run.start()
            while n_done < n_hits:
                run.wait_for(2)
                if not run.running:
                    break
                n_done += disturb(run, n_hits - n_done)
            assert run.wait(600) == 0, run.stderr
            assert run.table == expected
            assert "KilledWorker" not in run.stderr
            n_lost = run.stderr.count("lost the worker")
            print(f"{run.name}: {n_done} jobs hit so far, {n_lost} chunks run again")
    return run


def running_jobs(slurm, run: Driver) -> list[str]:
    listed = slurm.run("squeue", "--noheader", f"--name={run.name}", "--states=R", "--format=%i")
    return listed.split()


@pytest.mark.full
@pytest.mark.parametrize("n_kills", [2, 20])
def test_kill_9_of_worker_and_nanny_changes_nothing(n_kills, site, tmp_path, expected):
    rng = random.Random(5)

    def disturb(run: Driver, _: int) -> int:
        pid = rng.choice(evaluations(run.evaluation_log)[-8:])[0]
        job = worker_and_nanny(pid)
        for process in job:
            process.send_signal(signal.SIGKILL)
        return bool(job)

    disturbed(tmp_path, expected, n_kills, disturb)


def worker_and_nanny(pid: int) -> list[psutil.Process]:
    """Return a job's worker and its nanny, unless they are gone or it is no worker."""
    try:
        worker = psutil.Process(pid)
        nanny = worker.parent()
        is_nanny = nanny is not None and "dask_worker" in " ".join(nanny.cmdline())
        return [nanny, worker] if is_nanny else []
    except psutil.NoSuchProcess:
        return []


@pytest.mark.full
@pytest.mark.parametrize("n_cancelled", [8])
def test_scancel_of_running_jobs_changes_nothing(n_cancelled, site, tmp_path, expected):
    def disturb(run: Driver, n_left: int) -> int:
        jobs = running_jobs(site, run)[: min(2, n_left)]
        if jobs:
            site.run("scancel", *jobs)
        return len(jobs)

    disturbed(tmp_path, expected, n_cancelled, disturb)


@pytest.mark.full
@pytest.mark.parametrize("n_preempted", [4, 30])
def test_preemption_in_a_row_changes_nothing(n_preempted, site, tmp_path, expected):
    preempted: set[str] = set()

    def disturb(run: Driver, n_left: int) -> int:
        ours = set(running_jobs(site, run))
        if not ours:
            return 0
        urgent = [
            site.run(
                "sbatch",
                "--parsable",
                "--qos=urgent",
                f"--cpus-per-task={CPUS_PER_NODE}",
                "--output=/dev/null",
                "--wrap=true",
            ).strip()
            for _ in range(min(len(ours), n_left))
        ]
        listing = ["squeue", "--noheader", f"--jobs={','.join(urgent)}", "--format=%i"]
        poll(lambda: not site.call(*listing).stdout.strip(), "the urgent jobs to be done")
        states = site.run(
            "sacct",
            "--noheader",
            "-X",
            "--parsable2",
            "--format=JobID,State",
            f"--jobs={','.join(ours)}",
        )
        hit = {line.partition("|")[0] for line in states.splitlines() if "PREEMPTED" in line}
        preempted.update(hit)
        return len(hit)

    disturbed(tmp_path, expected, n_preempted, disturb)
    assert len(preempted) >= n_preempted


@pytest.mark.full
def test_a_loss_that_ends_its_job_three_times_fails_its_trial(site, tmp_path):
    keywords = {**RUN, "loss": "treacherous", "n_trials": 5, "workers": 2}
    with driver(tmp_path, "local", keywords, trap="exit") as run:
        run.start()
        assert run.wait() == 0, run.stderr
        expected = [state for *_, state in told_values(run.directory).values()]
    assert "FAIL" in {state.name for state in expected}
    with driver(
        tmp_path, "ended", {**ON_SLURM, **keywords, "cluster": "slurm"}, trap="job"
    ) as run:
        run.start()
        assert run.wait(900) == 0, run.stderr
        found = [state for *_, state in told_values(run.directory).values()]
        assert "WorkerDied" in run.stderr
    assert found == expected
    print(run.stderr)

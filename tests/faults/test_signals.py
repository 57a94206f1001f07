"""Signals to a driver on Slurm: its exit code, its jobs, and what becomes of the run."""

from __future__ import annotations

import signal

import pytest

from tests.faults.harness import driver, expected_table, told_values
from tests.testbed.daemons import poll

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

RUN = {"n_trials": 30, "n_seeds": 24, "chunk_size": 6, "max_concurrent_trials": 2}
ON_SLURM = {
    **RUN,
    "cluster": "slurm",
    "workers": 2,
    "mem_per_cpu": "300M",
    "slurm_qos": "short",
}


@pytest.fixture(scope="module")
def expected():
    return expected_table(RUN)


@pytest.fixture
def site(slurm, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


@pytest.mark.parametrize("use_processes", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        pytest.param([signal.SIGINT], 130, id="SIGINT", marks=pytest.mark.full),
        pytest.param([signal.SIGINT, signal.SIGINT], 130, id="SIGINT twice"),
        pytest.param([signal.SIGTERM], 143, id="SIGTERM"),
        pytest.param([signal.SIGHUP], 129, id="SIGHUP", marks=pytest.mark.full),
    ],
)
def test_a_signal_ends_driver_and_jobs_and_the_run_goes_on(
    signals, code, use_processes, site, tmp_path, expected
):
    keywords = {**ON_SLURM, "use_processes": use_processes}
    with driver(tmp_path, "run", keywords, pace_s=0.01) as run:
        run.start()
        while len(told_values(run.directory)) < 4:
            run.wait_for(1)
        assert run.running
        for number in signals:
            run.process.send_signal(number)
        assert run.wait(60) == code, run.stderr
        poll(lambda: not jobs(site), "the jobs to be gone", 10)
        assert "RunStopped" not in run.stderr, run.stderr  # no traceback of it
        if len(signals) == 1:
            assert f"seedwise resume {run.directory.path}" in run.stderr
        told = told_values(run.directory)
        assert 4 <= len(told) < 30
        run.finish()
        assert run.table == expected
        final = told_values(run.directory)
        assert all(final[number] == was for number, was in told.items())


def jobs(slurm) -> str:
    return slurm.run("squeue", "--noheader", "--name=seedwise-run", "--format=%i %T").strip()


def test_the_jobs_of_a_killed_driver_are_cancelled_when_the_run_goes_on(site, tmp_path, expected):
    with driver(tmp_path, "run", ON_SLURM, pace_s=0.01) as run:
        run.start()
        while len(told_values(run.directory)) < 4:
            run.wait_for(1)
        left = [line.split()[0] for line in jobs(site).splitlines()]
        assert run.kill()
        assert left
        run.start(cluster="local")
        assert run.wait() == 0, run.stderr
        assert run.table == expected
        poll(lambda: not jobs(site), "the jobs to be gone", 10)
        states = site.run(
            "sacct", "-X", "--noheader", "--format=State", f"--jobs={','.join(left)}"
        )
        assert states.split("\n")[0].strip().startswith("CANCELLED")

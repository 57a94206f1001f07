"""Signals to a driver on Slurm: its exit code, its jobs, and what becomes of the run."""

from __future__ import annotations

import signal

import pytest

import seedwise as sw
from seedwise.view.status import status_lines
from tests.faults.harness import GONE_S, driver, expected_table, told_values
from tests.testbed.daemons import poll

FULL = pytest.mark.full
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

RUN = {"n_trials": 20, "n_seeds": 24, "chunk_size": 6, "max_concurrent_trials": 2}
#: A run whose seeds take this long is still at work when a signal comes, on any machine.
LONG_S = 0.1
ON_SLURM = {
    **RUN,
    "cluster": "slurm",
    "workers": 2,
    "mem_per_cpu": "300M",
    "slurm_qos": "short",
}


@pytest.fixture
def site(slurm, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


@pytest.mark.parametrize("use_processes", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("signals", "code", "in_order", "resumed_on_slurm"),
    [
        pytest.param([signal.SIGINT], 130, True, True, id="SIGINT", marks=FULL),
        pytest.param([signal.SIGINT] * 2, 130, False, False, id="SIGINT twice", marks=FULL),
        # As `timeout` sends it: to its child and to the group.
        pytest.param([signal.SIGTERM] * 2, 143, True, False, id="SIGTERM twice"),
        pytest.param([signal.SIGHUP], 129, True, True, id="SIGHUP", marks=FULL),
    ],
)
def test_a_signal_ends_driver_and_jobs_and_the_run_goes_on(
    signals, code, in_order, resumed_on_slurm, use_processes, site, client, tmp_path
):
    keywords = {**ON_SLURM, "use_processes": use_processes}
    with driver(tmp_path, "run", keywords, pace_s=0.01) as run:
        run.start()
        run.wait_until_told(4)
        run.set_pace(LONG_S)
        for number in signals:
            run.process.send_signal(number)
            poll(lambda: "the run stops in order" in run.stderr, "the signal to be seen")
        # The second may come when the run has stopped: then it ends the process as ever.
        assert run.wait() in (code, *(-number for number in signals[1:])), run.stderr
        poll(lambda: not jobs(site), "the jobs to be gone", GONE_S)
        if in_order:
            assert "RunStopped" not in run.stderr, run.stderr  # no traceback of it
            assert f"seedwise resume {run.directory.path}" in run.stderr
            assert not run.directory.key_dir.exists()
        told = told_values(run.directory)
        assert 4 <= len(told) < RUN["n_trials"]
        run.set_pace(0)
        table = run.call_again() if resumed_on_slurm else run.finish(client)
        assert table == expected_table(client, RUN)
        final = told_values(run.directory)
        assert all(final[number] == was for number, was in told.items())


def jobs(slurm) -> str:
    return slurm.run("squeue", "--noheader", "--name=run", "--format=%i %T").strip()


def test_the_jobs_of_a_killed_driver_are_cancelled_when_the_run_goes_on(site, client, tmp_path):
    with driver(tmp_path, "run", ON_SLURM, pace_s=0.01) as run:
        run.start()
        run.wait_until_told(4)
        run.set_pace(LONG_S)
        left = [line.split()[0] for line in jobs(site).splitlines()]
        assert run.kill()
        assert left
        path = run.directory.path
        told = status_lines(sw.run_status(path), path)[1]
        assert told.split(maxsplit=1) == [
            "driver",
            f"was killed; jobs may be left: seedwise clean {path}",
        ]
        assert run.finish(client) == expected_table(client, RUN)
        poll(lambda: not jobs(site), "the jobs to be gone", GONE_S)
        states = site.run(
            "sacct", "-X", "--noheader", "--format=State", f"--jobs={','.join(left)}"
        )
        assert states.split("\n")[0].strip().startswith("CANCELLED")

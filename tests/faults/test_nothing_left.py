"""What a driver leaves: nothing at its end, and what `clean` finds after a SIGKILL."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

import seedwise as sw
from tests.faults.harness import GONE_S, RUN, driver
from tests.losses import bowl
from tests.testbed.daemons import poll

pytestmark = [pytest.mark.timeout(1800)]

CHUNK_S = 10.0


@pytest.fixture
def site(slurm, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


def jobs(slurm, name, *states):
    listed = slurm.run("squeue", "--noheader", f"--name={name}", "--format=%i %T")
    found = [line.split() for line in listed.splitlines()]
    return [job_id for job_id, state in found if not states or state in states]


@pytest.mark.slurm
@pytest.mark.full
def test_after_a_sigkill_running_jobs_end_and_clean_removes_the_rest(site, tmp_path):
    keywords = {
        **RUN,
        "chunk_size": 1,
        "cluster": "slurm",
        "workers": 6,
        "cpus_per_task": 8,
        "mem_per_cpu": "200M",
        "max_concurrent_trials": 2,
    }
    with driver(tmp_path, "killed", keywords, pace_s=CHUNK_S) as run:
        run.start()
        poll(lambda: run.n_evaluations, "a chunk to be at work")
        poll(lambda: len(jobs(site, run.name)) == 6, "four running and two waiting jobs")
        assert run.kill()
        path = run.directory.path
        assert (path / "keys").is_dir()
        waiting = jobs(site, run.name, "PENDING")
        assert waiting
        site.run("scontrol", "hold", *waiting)  # what starts later is not what is measured
        poll(lambda: not jobs(site, run.name, "RUNNING", "COMPLETING"), "running jobs to end")
        site.run("scontrol", "release", *waiting)
        cleaned = sw.clean_run(path)
        assert set(cleaned.cancelled_jobs) <= {*waiting}
        assert not (path / "keys").exists()
        poll(lambda: not jobs(site, run.name), "all jobs to be gone", GONE_S)
        assert sw.clean_run(path).cancelled_jobs == ()


@pytest.mark.parametrize(
    ("where", "n_cycles"),
    [
        pytest.param("local", 2, marks=pytest.mark.full),
        pytest.param("local", 100, marks=pytest.mark.full),
        pytest.param("slurm", 1, marks=pytest.mark.slurm),
        pytest.param("slurm", 100, marks=[pytest.mark.slurm, pytest.mark.full]),
    ],
)
def test_cycles_of_start_and_stop_leave_nothing(where, n_cycles, request, tmp_path, monkeypatch):
    slurm = request.getfixturevalue("site") if where == "slurm" else None
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "runs").mkdir()

    def cycle(number):
        result = sw.optimize_run(
            bowl,
            cluster=where,
            n_trials=1,
            n_seeds=2,
            workers=1,
            mem_per_cpu="300M",
            run_root=tmp_path / "runs",
            run_name=f"cycle-{number}",
            progress=False,
        )
        assert not (Path(result.run_dir) / "keys").exists()

    cycle("first")  # what Python and Dask keep for good is there after one
    before = _there()
    for number in range(n_cycles):
        cycle(number)
    poll(lambda: _there() <= before, "processes and ports to be gone", GONE_S)
    if slurm is not None:
        poll(lambda: not slurm.jobs(), "all jobs to be gone", GONE_S)
    poll(lambda: not list(scratch.iterdir()), "temporary files to be gone", GONE_S)
    assert n_cycles + 1 == len(list((tmp_path / "runs").iterdir()))


def _there() -> frozenset[str]:
    """Return the processes and ports of this process and of jobs, in words that last."""
    mine = psutil.Process()
    processes = [*mine.children(recursive=True)]
    processes += [one for one in psutil.process_iter(["environ"]) if _is_of_job(one)]
    found = {f"process {one.pid}" for one in processes if "resource_tracker" not in _line(one)}
    at = [one.laddr for one in mine.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return frozenset(found | {f"port {one.port}" for one in at})


def _is_of_job(process: psutil.Process) -> bool:
    name = (process.info["environ"] or {}).get("SLURM_JOB_NAME", "")
    return name.startswith("cycle-")


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""

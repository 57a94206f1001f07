"""Jobs whose walltime ends while the run goes on: workers leave before it, and are replaced."""

from __future__ import annotations

import json

import pytest

import seedwise as sw
from tests.faults.harness import RUN, driver, expected_table
from tests.faults.loss import evaluations

pytestmark = [pytest.mark.slurm, pytest.mark.full, pytest.mark.timeout(1200)]


COMMON = {**RUN, "n_trials": 30, "chunk_size": 2, "max_concurrent_trials": 4}
ON_SLURM = {**COMMON, "cluster": "slurm", "workers": 4, "mem_per_cpu": "200M"}


# Slurm counts walltime in minutes.
@pytest.mark.parametrize(
    ("walltime_s", "pace_s"),
    [
        pytest.param(60, 0.6, id="1 minute, a run of 2"),
        pytest.param(120, 2.0, id="2 minutes, a run of 6"),
    ],
)
def test_a_run_longer_than_its_jobs(slurm, monkeypatch, tmp_path, client, walltime_s, pace_s):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    keywords = {**ON_SLURM, "worker_time_limit_s": walltime_s}
    with driver(tmp_path, "long", keywords, pace_s=pace_s) as run:
        run.start()
        assert run.wait(1000) == 0, run.stderr
        assert run.table == expected_table(client, COMMON)
        done = [(trial, seed) for _, trial, seed in evaluations(run.evaluation_log)]
        n_wasted = len(done) - len(set(done))
        events = [json.loads(line) for line in run.directory.event_log.read_text().splitlines()]
        n_left = sum(event["kind"] == "left" for event in events)
        n_lost = sum(event["kind"] == "lost" for event in events)
        print(f"{n_wasted} of {len(done)} seeds wasted; {n_left} workers left, {n_lost} were lost")
        assert n_left >= 4  # the walltime was up at least once for each
        assert n_wasted < 0.05 * len(done)


def test_a_chunk_that_no_job_lasts_for(slurm, monkeypatch, tmp_path):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    keywords = {
        **ON_SLURM,
        "workers": 1,
        "chunk_size": 12,
        "max_concurrent_trials": 1,
        "worker_time_limit_s": 60,
    }
    with driver(tmp_path, "hopeless", keywords, pace_s=10) as run:
        run.start()
        assert run.wait(300) != 0
        assert sw.ChunkTooLongError.__name__ in run.stderr
        print(run.stderr.strip().splitlines()[-1])
        assert "chunk_size" in run.stderr
    assert not slurm.jobs()

"""Local workers that are scaled while they work."""

from __future__ import annotations

import pytest

import seedwise as sw
from tests.faults.harness import RUN, driver, undisturbed
from tests.faults.loss import evaluations
from tests.slurm.daemons import poll


@pytest.fixture
def pace(tmp_path):
    file = tmp_path / "pace"
    file.write_text("0.3")
    return file


def pids(run, since):
    return {pid for pid, _, _ in evaluations(run.evaluation_log)[since:]}


def test_from_1_worker_to_3_to_1_in_a_run(tmp_path, pace):
    keywords = {**RUN, "workers": 1, "max_concurrent_trials": 4}
    with driver(tmp_path, "scaled", keywords, pace_s=pace) as run:
        run.start()
        poll(lambda: run.n_evaluations, "the first evaluation", 60)
        handle = sw.connect(run.directory.path)
        handle.scale(3)
        poll(lambda: handle.status().pool.joined == 3, "3 workers", 60)
        handle.scale(1)
        poll(lambda: handle.status().pool.joined == 1, "1 worker", 60)
        since = len(evaluations(run.evaluation_log))
        poll(lambda: len(evaluations(run.evaluation_log)) > since + 4, "more work", 60)
        assert len(pids(run, since)) == 1
        assert len(pids(run, 0)) == 3
        pace.write_text("0")
        assert run.wait(120) == 0, run.stderr
        assert "lost" not in run.stderr
        done = [(trial, seed) for _, trial, seed in evaluations(run.evaluation_log)]
        assert len(done) == len(set(done)) == RUN["n_trials"] * RUN["n_seeds"]
        assert run.table == undisturbed(tmp_path, keywords)


def test_workers_follow_the_work(tmp_path, pace):
    """One chunk in flight has no use for more than one worker; four have."""
    keywords = {**RUN, "workers": [1, 3], "chunk_size": 24, "max_concurrent_trials": 1}
    with driver(tmp_path, "narrow", keywords, pace_s=pace) as run:
        run.start()
        poll(lambda: len(evaluations(run.evaluation_log)) > 30, "two trials", 60)
        assert len(pids(run, 0)) == 1
        assert sw.run_status(run.directory.path).pool.wanted == 1
    with driver(tmp_path, "wide", {**keywords, "chunk_size": 6}, pace_s=pace) as run:
        run.start()
        poll(lambda: len(pids(run, 0)) == 3, "three workers", 60)


def test_the_number_of_threads_is_the_same_for_workers_that_come_later(tmp_path):
    def threads(params, seed):
        import os
        import time

        time.sleep(0.2)
        return float(os.environ["OPENBLAS_NUM_THREADS"])

    loss = sw.loss(name="threads", description="t", parameter_space={"x": (0, 1)})(threads)
    common = {"n_seeds": 8, "chunk_size": 1, "run_root": tmp_path, "progress": False}
    options = {"workers": (1, 2), "cpus_per_task": 3, "n_trials": 6}
    result = sw.optimize_run(loss, **common, **options)
    assert {trial.value for trial in result.trials} == {3.0}

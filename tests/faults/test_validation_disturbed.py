"""A validation that is broken off and resumed, or that loses its workers."""

from __future__ import annotations

import signal
from collections import Counter

import numpy as np
import pytest

import seedwise as sw
from seedwise.folder.ledger import ledger_end, read_trials
from seedwise.model.validation import n_evaluations
from seedwise.view.status import status_lines
from tests.faults.harness import Driver, driver, expected_table, told_values
from tests.faults.loss import evaluations
from tests.faults.test_jobs_lost import ON_SLURM, worker_and_nanny
from tests.faults.test_worker_killed import kill_busy_worker
from tests.testbed.daemons import poll

N_TRIALS, N_SEEDS, N_FRESH, N_CANDIDATES = 6, 12, 24, 4
RUN = {
    "n_trials": N_TRIALS,
    "n_seeds": N_SEEDS,
    "chunk_size": 3,
    "workers": 2,
    "race": False,
    "sampler": "tpe",
    "n_validation_seeds": N_FRESH,
    "n_validation_candidates": N_CANDIDATES,
}
PACE_S = 0.02

pytestmark = pytest.mark.timeout(1800)


def fresh(run: Driver) -> list[tuple[int, int]]:
    return [(trial, seed) for _, trial, seed in evaluations(run.evaluation_log) if seed >= N_SEEDS]


def recorded(run: Driver) -> set[tuple[int, int]]:
    """Return the fresh seeds that are on record."""
    file = run.directory.validation_ledger
    copy = run.folder / "validation-as-it-was"
    copy.write_bytes(file.read_bytes())
    copy.write_bytes(file.read_bytes()[: ledger_end(copy)])
    found = read_trials(copy, range(N_TRIALS), N_FRESH + N_FRESH // 2)
    return {
        (number, N_SEEDS + int(position))
        for number, one in found.items()
        for position in np.flatnonzero(~np.isnan(one.losses))
    }


def in_validation(run: Driver, n_more: int) -> None:
    """Wait until so many more fresh seeds were begun, and see that the driver is at work then."""
    before = len(fresh(run))
    poll(
        lambda: len(fresh(run)) >= before + n_more or not run.running,
        f"{n_more} fresh seeds: {run.stderr_file}",
        pause=0.01,
    )
    assert run.running, run.stderr
    assert len(told_values(run.directory)) == N_TRIALS


@pytest.mark.parametrize("by", ["kill", pytest.param("stop", marks=pytest.mark.full)])
def test_broken_off_and_resumed_it_is_the_same_and_nothing_is_evaluated_twice(
    by, client, tmp_path
):
    expected = expected_table(client, RUN)
    assert "ValidatedTrial" in expected
    with driver(tmp_path, "run", RUN, pace_s=PACE_S) as run:
        run.start()
        at_risk: list[set[tuple[int, int]]] = []
        for n_more in (5, 30):
            in_validation(run, n_more)
            run.set_pace(0.5)  # it waits here for the status, which is written every two seconds
            status = poll(lambda: validating(run), "the status to say that it validates")
            assert (status.state, status.done, status.running) == ("running", N_TRIALS, 0)
            assert status.validation_seeds == n_evaluations(N_CANDIDATES, N_FRESH)
            if by == "kill":
                assert run.kill()
            else:
                sw.connect(run.directory.path).stop()
                assert run.wait() == 75, run.stderr
            assert "in the validation" in run.stderr or by == "kill"
            run.set_pace(PACE_S)
            at_risk.append(set(fresh(run)) - recorded(run))
            status = sw.run_status(run.directory.path)
            assert (status.state, status.validated_value) == ("stopped", None)
            lines = status_lines(status, run.directory.path)
            assert any("validation " in line and "fresh seeds done" in line for line in lines)
            assert sw.open_run(run.directory.path).validation is None
            run.start()
        run.set_pace(0)
        assert run.wait() == 0, run.stderr
        assert run.table == expected
        pairs = fresh(run)
        assert len(set(pairs)) == n_evaluations(N_CANDIDATES, N_FRESH)
        for pair, count in Counter(pairs).items():
            assert count - 1 <= sum(pair in one for one in at_risk), f"{pair}: {count} times"
        n_kept = sum(len(set(pairs)) - len(one) for one in at_risk)
        print(f"{list(map(len, at_risk))} seeds were at risk, {len(pairs)} evaluated, {n_kept=}")
        n_search = len(evaluations(run.evaluation_log)) - len(pairs)
        assert n_search == N_TRIALS * N_SEEDS


def validating(run: Driver) -> sw.RunStatus | None:
    status = sw.run_status(run.directory.path)
    return status if status.validation_seeds_done else None


@pytest.mark.full
def test_killed_workers_change_nothing(client, tmp_path):
    expected = expected_table(client, RUN)
    with driver(tmp_path, "run", RUN, pace_s=PACE_S) as run:
        run.start()
        for n_more in (5, 20):
            in_validation(run, n_more)
            assert kill_busy_worker(run)
        run.set_pace(0)
        assert run.wait() == 0, run.stderr
        assert run.table == expected
        assert run.stderr.count("lost the worker") >= 2


@pytest.mark.full
@pytest.mark.slurm
def test_a_worker_that_is_killed_on_slurm_changes_nothing(slurm, monkeypatch, client, tmp_path):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    expected = expected_table(client, RUN)
    with driver(tmp_path, "run", {**ON_SLURM, **RUN, "max_concurrent_trials": 1}) as run:
        run.set_pace(0.05)
        run.start()
        in_validation(run, 5)
        job = worker_and_nanny(evaluations(run.evaluation_log)[-1][0])
        assert job
        for process in job:
            process.send_signal(signal.SIGKILL)
        assert run.wait(600) == 0, run.stderr
        assert run.table == expected
        assert "lost the worker" in run.stderr

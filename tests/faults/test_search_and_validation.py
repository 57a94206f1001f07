"""Searches with few seeds and their validations: disturbed in either, they come to the same."""

from __future__ import annotations

import itertools
import signal
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import seedwise as sw
from seedwise.folder.ledger import read_trials
from seedwise.model.validation import n_evaluations
from seedwise.view.status import status_lines
from tests.builders import ledger_end
from tests.faults.harness import Driver, driver, expected_table, told_values
from tests.faults.loss import evaluations
from tests.faults.test_jobs_lost import worker_and_nanny
from tests.faults.test_worker_killed import kill_busy_worker
from tests.tables import some
from tests.testbed.daemons import poll

N_TRIALS, N_SEEDS = 14, 40  # the first ten trials are random: four more see what was told
N_FRESH = {"race": 24, "parts": 40}
N_CANDIDATES = {"race": 4, "parts": 8}
FIXED = {"n_trials": N_TRIALS, "n_seeds": N_SEEDS, "chunk_size": 4, "workers": 2}
SEARCHES = {
    "race": {
        **FIXED,
        "race": True,
        "max_concurrent_trials": 2,
        "n_validation_seeds": N_FRESH["race"],
        "n_validation_candidates": N_CANDIDATES["race"],
    },
    "parts": FIXED,  # the defaults, with a validation
}
ON_SLURM = {"cluster": "slurm", "cpus_per_task": 1, "mem_per_cpu": "400M"}
PACE_S = 0.02

pytestmark = pytest.mark.timeout(1800)


def evaluated(run: Driver) -> list[tuple[int, int]]:
    return [(trial, seed) for _, trial, seed in evaluations(run.evaluation_log)]


def fresh(run: Driver) -> list[tuple[int, int]]:
    return [pair for pair in evaluated(run) if pair[1] >= N_SEEDS]


def recorded(run: Driver) -> set[tuple[int, int]]:
    """Return trial and seed of what is on record, in the search and in the validation."""
    copy = run.folder / "ledger-as-it-was"
    found = set()
    for first, file in ((0, run.directory.ledger), (N_SEEDS, run.directory.validation_ledger)):
        copy.write_bytes(file.read_bytes() if file.exists() else b"")
        copy.write_bytes(copy.read_bytes()[: ledger_end(copy)])
        for number, one in read_trials(copy, range(N_TRIALS), 200).items():
            found |= {(number, first + int(at)) for at in np.flatnonzero(~np.isnan(one.losses))}
    return found


def in_search(run: Driver) -> None:
    """Wait until some trials are told, and see that the search is at work then."""
    run.wait_until_told(len(told_values(run.directory)) + 4)
    run.wait_for(3)
    assert not fresh(run)


def in_validation(run: Driver, n_more: int = 9) -> None:
    """Wait until so many more fresh seeds were begun, and see that the driver is at work then."""
    before = len(fresh(run))
    poll(
        lambda: len(fresh(run)) >= before + n_more or not run.running,
        f"{n_more} fresh seeds: {run.stderr_file}",
        pause=0.01,
    )
    assert run.running, run.stderr
    assert len(told_values(run.directory)) == N_TRIALS


@pytest.mark.parametrize(
    ("search", "by"), some(itertools.product(SEARCHES, ["kill", "stop"]), ("parts", "kill"))
)
def test_broken_off_and_resumed_it_is_the_same_and_nothing_is_evaluated_twice(
    search, by, client, tmp_path
):
    keywords = SEARCHES[search]
    expected = expected_table(client, keywords)
    assert "ValidatedTrial" in expected
    at_risk: list[set[tuple[int, int]]] = []

    def break_off() -> None:
        if by == "kill":
            assert run.kill()
        else:
            sw.connect(run.directory.path).stop()
            assert run.wait() == 75, run.stderr
        run.set_pace(PACE_S)
        at_risk.append(set(evaluated(run)) - recorded(run))

    with driver(tmp_path, "run", keywords, pace_s=PACE_S) as run:
        run.start()
        in_search(run)
        break_off()
        assert len(told_values(run.directory)) < N_TRIALS
        run.start()
        in_validation(run)
        run.set_pace(0.5)  # it waits here for the status, which is written every two seconds
        status = poll(lambda: validating(run), "the status to say that it validates")
        assert (status.state, status.done, status.running) == ("running", N_TRIALS, 0)
        n_fresh_in_all = n_evaluations(N_CANDIDATES[search], N_FRESH[search])
        assert status.validation_seeds == n_fresh_in_all
        break_off()
        assert "in the validation" in run.stderr or by == "kill"
        status = sw.run_status(run.directory.path)
        assert (status.state, status.validated_value) == ("stopped", None)
        lines = status_lines(status, run.directory.path)
        assert any("validation " in line and "fresh seeds done" in line for line in lines)
        assert sw.open_run(run.directory.path).validation is None
        run.set_pace(0)
        assert run.finish(client) == expected
        assert len(set(fresh(run))) == n_fresh_in_all
        for pair, count in Counter(evaluated(run)).items():
            assert count - 1 <= sum(pair in one for one in at_risk), f"{pair}: {count} times"
        print(f"{list(map(len, at_risk))} seeds were at risk, {len(evaluated(run))} evaluated")


def validating(run: Driver) -> sw.RunStatus | None:
    status = sw.run_status(run.directory.path)
    return status if status.validation_seeds_done else None


@pytest.mark.full
@pytest.mark.parametrize("search", SEARCHES)
def test_killed_workers_change_nothing(search, client, tmp_path):
    keywords = SEARCHES[search]
    with driver(tmp_path, "run", keywords, pace_s=PACE_S) as run:
        run.start()
        for reached in (in_search, in_validation):
            reached(run)
            lose_a_worker(run, kill_busy_worker)
        run.set_pace(0)
        assert run.wait() == 0, run.stderr
        assert run.table == expected_table(client, keywords)


@pytest.mark.full
@pytest.mark.slurm
@pytest.mark.parametrize("search", SEARCHES)
def test_on_slurm_killed_workers_and_a_killed_driver_change_nothing(
    search, slurm, monkeypatch, client, tmp_path
):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    keywords = {**SEARCHES[search], **ON_SLURM}
    with driver(tmp_path, "run", keywords, pace_s=PACE_S) as run:
        run.start()
        for reached in (in_search, in_validation):
            reached(run)
            lose_a_worker(run, kill_worker_and_nanny)
            assert run.kill()
            run.start()
        run.set_pace(0)
        assert run.wait(600) == 0, run.stderr
        assert run.table == expected_table(client, keywords)


def lose_a_worker(run: Driver, kill: Callable[[Driver], bool]) -> None:
    """Kill the worker that began a seed last, in the middle of it."""
    n_before = run.stderr.count("lost the worker")
    run.set_pace(1)
    run.wait_for(1)
    assert kill(run)
    poll(lambda: run.stderr.count("lost the worker") > n_before, "the worker to be missed")
    run.set_pace(PACE_S)


def kill_worker_and_nanny(run: Driver) -> bool:
    job = worker_and_nanny(evaluations(run.evaluation_log)[-1][0])
    for process in job:
        process.send_signal(signal.SIGKILL)
    return bool(job)

"""Kill -9 of the driver, at random moments."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.harness import RUN, driver, expected_table, in_flight, stock_trials, told_values
from tests.faults.loss import evaluations

N_TRIALS, N_SEEDS = RUN["n_trials"], RUN["n_seeds"]
PACE_S = 0.01


@pytest.mark.full  # see test_search_and_validation.py
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("n_kills", "lag"), [(50, 1), (50, 4)])
def test_kill_9_of_the_driver_changes_nothing(lag, n_kills, client, tmp_path):
    rng = random.Random(lag)
    keywords = {**RUN, "max_concurrent_trials": lag, "progress": False}
    expected = expected_table(client, keywords)
    n_hits = n_runs = n_repeated = n_told_at_kills = 0
    while n_hits < n_kills:
        n_runs += 1
        with driver(tmp_path, f"run{n_runs}", keywords, pace_s=PACE_S) as run:
            told: dict = {}
            at_risk: list[set[tuple[int, int]]] = []
            for _ in range(min(8, n_kills - n_hits)):
                run.start()
                # A random moment, by what was done by then: machines differ in how fast they are.
                if not n_hits:
                    run.wait_for(lag * N_SEEDS + 1)  # so that a trial is told
                elif rng.random() < 0.85:  # in the middle of the work, else as it starts
                    run.wait_for(rng.randint(1, 150))
                time.sleep(rng.uniform(0, 0.1))
                if not run.kill():
                    break
                n_hits += 1
                now = told_values(run.directory)
                # Of what was told, all but what is told again from the ledger is still there.
                assert all(now.get(number, was) == was for number, was in told.items())
                told |= now
                n_told_at_kills += len(now)
                at_risk.append(in_flight(run.directory, N_SEEDS))
            finished = run.table if run.table_file.exists() else run.finish(client)
            assert finished == expected
            final = told_values(run.directory)
            assert all(final[number] == was for number, was in told.items()), "lost what was told"
            assert len(final) == len(stock_trials(run.directory)) == N_TRIALS, (
                "a trial is left RUNNING"
            )
            n_repeated += repeated_no_more_than_in_flight(run, at_risk)
    print(
        f"lag {lag}: {n_hits} kills over {n_runs} runs, {n_told_at_kills} trials told at kills, "
        f"{n_repeated} seeds evaluated again"
    )
    assert n_told_at_kills > 0


def repeated_no_more_than_in_flight(run, at_risk) -> int:
    """Check that no seed was evaluated again that was on record; return how many were."""
    times: dict[tuple[int, int], int] = {}
    for _, trial, seed in evaluations(run.evaluation_log):
        times[trial, seed] = times.get((trial, seed), 0) + 1
    assert len(times) == N_TRIALS * N_SEEDS
    for pair, count in times.items():
        assert count - 1 <= sum(pair in kill for kill in at_risk), f"{pair}: {count} times"
    return sum(times.values()) - len(times)

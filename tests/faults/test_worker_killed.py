"""Kill -9 of a worker in the middle of a chunk, while its nanny lives."""

from __future__ import annotations

import os
import random
import signal

import psutil
import pytest

from tests.faults.harness import RUN, Driver, driver, expected_table
from tests.faults.loss import evaluations
from tests.testbed.daemons import poll

PACE_S = 0.02


@pytest.mark.full  # see test_search_and_validation.py
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("n_kills", [50])
def test_kill_9_of_a_worker_changes_nothing(n_kills, client, tmp_path):
    rng = random.Random(3)
    keywords = {**RUN, "max_concurrent_trials": 4}
    expected = expected_table(client, keywords)
    n_hits = n_lost = n_runs = 0
    while n_hits < n_kills:
        n_runs += 1
        with driver(tmp_path, f"run{n_runs}", keywords, pace_s=PACE_S) as run:
            run.start()
            while n_hits < n_kills:
                run.wait_for(rng.randint(1, 4))
                if not run.running or not kill_busy_worker(run):
                    break
                n_hits += 1
            if n_hits == n_kills:
                run.set_pace(0)
            assert run.wait() == 0, run.stderr
            assert run.table == expected
            n_lost += run.stderr.count("lost the worker")
    print(f"{n_hits} workers killed over {n_runs} runs, {n_lost} chunks of theirs were run again")
    assert n_lost >= n_hits  # each was in the middle of a chunk


def kill_busy_worker(run: Driver) -> bool:
    """Kill the worker that evaluated a seed last, after it began its next one.

    A chunk that is run again is in a process of its own, below the worker: those are let alone.
    """
    workers = {child.pid for child in psutil.Process(run.process.pid).children()}

    def busy() -> int:
        last = evaluations(run.evaluation_log)[-1][0]
        return last if last in workers or not run.running else 0

    pid = poll(busy, "a worker to be at work", pause=0.002)
    # It sleeps for most of a seed's time, and a chunk has six: it is in the middle of one. What
    # it had to do may have ended in this very moment, and then nothing is lost by its death.
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return run.running

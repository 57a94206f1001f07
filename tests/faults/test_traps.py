"""Params at which the loss crashes, loops for ever, or takes all memory."""

from __future__ import annotations

import re

import pytest
from distributed import LocalCluster

from seedwise.model.trials import TrialState
from seedwise.study.proposer import read_trials
from tests.faults.harness import driver, expected_table
from tests.faults.loss import LOG_VARIABLE, TRAP_SEED, TRAP_VARIABLE, evaluations

RUN = {
    "loss": "treacherous",
    "n_trials": 12,
    "n_seeds": 12,
    "chunk_size": 4,
    "max_concurrent_trials": 3,
    "trial_retry_attempts": 0,
    "workers": 2,
}


def expected(client, n_trials):
    """Return the table where the trap is an exception: the sampler sees the same failed trials."""
    return expected_table(client, {**RUN, "n_trials": n_trials, "fail_on_chunk_error": False})


SEGFAULT = ("segfault", {}, r"killed by signal 11 \(SIGSEGV\)", 3)
EXIT = ("exit", {}, "exit code 3", 3)
LOOP = ("loop", {"chunk_timeout_seconds": 1.5}, "longer than chunk_timeout_seconds=1.5", 1)


@pytest.mark.parametrize(
    ("trap", "keywords", "cause", "n_tries", "use_processes", "n_trials"),
    [
        pytest.param(*SEGFAULT, False, 4, id="a few segfaults"),
        pytest.param(*EXIT, True, 4, id="a few exits in a process", marks=pytest.mark.full),
        *(
            pytest.param(*trap, use_processes, 12, marks=pytest.mark.full)
            for trap in (SEGFAULT, EXIT, LOOP)
            for use_processes in (False, True)
        ),
    ],
)
def test_a_trap_fails_its_trials_and_nothing_else(
    trap, keywords, cause, n_tries, use_processes, n_trials, client, tmp_path
):
    options = {**RUN, **keywords, "use_processes": use_processes, "n_trials": n_trials}
    with driver(tmp_path, trap, options, trap=trap) as run:
        run.start()
        assert run.wait() == 0, run.stderr
        check(run, expected(client, n_trials), cause, n_tries)
        # What killed a worker is known: it is the chunk, and no other's trial failed.
        assert "marked as failed" not in run.stderr
        lost = re.findall(r"lost the worker", run.stderr)
        assert bool(lost) is (not use_processes and trap != "loop")
        print(f"{trap}: {len(lost)} chunks of lost workers were run again")


@pytest.mark.full
def test_a_chunk_that_takes_all_memory_fails_its_trial_and_nothing_else(
    client, tmp_path, monkeypatch
):
    # The workers are started by us and not by the driver.
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "memory.evaluations"))
    monkeypatch.setenv(TRAP_VARIABLE, "memory")
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="700MiB",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        driver(
            tmp_path,
            "memory",
            {**RUN, "n_trials": 4, "workers": None, "cluster": cluster.scheduler_address},
            trap="memory",
        ) as run,
    ):
        cluster.adapt(minimum=2, maximum=2)  # Dask has nannies that give a worker up
        run.start()
        assert run.wait() == 0, run.stderr
        check(
            run,
            expected(client, 4),
            "of the .* that the worker may have",
            3,
            n_workers_lost=4,
        )


def check(run, expected, cause, n_tries, n_workers_lost=0) -> None:
    assert run.table == expected
    trials = read_trials(run.directory.study_file, "treacherous")
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert 2 <= len(failed) < len(trials)
    # Of failures within a second, the first is told.
    assert (
        f"replay {run.directory.path} --trial {failed[0].number} --seed {TRAP_SEED}" in run.stderr
    )
    for trial in failed:
        assert re.search(cause, trial.error), trial.error
        assert trial.error.startswith(f"seed {TRAP_SEED}: "), trial.error
        times = [t for _, t, seed in evaluations(run.evaluation_log) if seed == TRAP_SEED]
        # A failed trial takes a worker with it, and what was done there and not yet fetched.
        most = n_tries + max(n_workers_lost, len(failed))
        assert n_tries <= times.count(trial.number) <= most

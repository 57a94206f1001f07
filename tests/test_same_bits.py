"""Contract 1: the same bits on any number of workers, for any chunk size, on either cluster."""

from __future__ import annotations

import itertools

import pytest

import seedwise as sw
from tests.losses import bowl, bowls
from tests.tables import some, table

N_TRIALS = 14  # the first ten of TPE are random: four more see what was told


def run(root, loss=bowl, lag=1, **options):
    return sw.optimize_run(
        loss,
        n_trials=N_TRIALS,
        n_seeds=105,
        race=False,  # see test_race.py
        max_concurrent_trials=lag,
        run_root=root,
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Tables of lag 1 and 4, each of one local worker and one chunk."""
    root = tmp_path_factory.mktemp("reference")
    return {lag: table(run(root, lag=lag, workers=1, chunk_size=1000)) for lag in (1, 4)}


def test_the_lag_is_part_of_the_result(reference):
    """If this fails, equality below may hold for the wrong reason."""
    assert reference[1] != reference[4]


@pytest.mark.parametrize(
    ("lag", "chunk_size"), some(itertools.product([1, 4], [1, 7, 100, 1000]), (4, 1), (1, 100))
)
def test_any_chunk_size_on_two_workers(reference, tmp_path, client, lag, chunk_size):
    result = run(tmp_path, lag=lag, cluster=client, chunk_size=chunk_size)
    assert table(result) == reference[lag]


@pytest.mark.parametrize(
    ("lag", "workers"), some(itertools.product([1, 4], [1, 2, (1, 2)]), (1, 2), (4, (1, 2)))
)
def test_any_number_of_own_workers(reference, tmp_path, lag, workers):
    assert table(run(tmp_path, lag=lag, workers=workers, chunk_size=7)) == reference[lag]


@pytest.mark.parametrize(
    ("lag", "use_processes"), some(itertools.product([1, 4], [False, True]), (4, False), (1, True))
)
def test_seeds_in_threads_or_processes(reference, tmp_path, lag, use_processes):
    result = run(
        tmp_path,
        lag=lag,
        workers=1,
        worker_parallelism=3,
        use_processes=use_processes,
        chunk_size=50,
    )
    assert table(result) == reference[lag]


@pytest.mark.parametrize("parallelism", [pytest.param(1, marks=pytest.mark.full), 2])
def test_a_vectorized_loss(reference, tmp_path, parallelism):
    result = run(tmp_path, bowls, workers=1, chunk_size=10, worker_parallelism=parallelism)
    assert table(result) == reference[1]


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("lag", "in_processes"), some(itertools.product([1, 4], [False, True]), (4, True))
)
def test_slurm_gives_the_same(reference, tmp_path, slurm, lag, in_processes):
    processes = {"worker_parallelism": 2, "use_processes": True, "cpus_per_task": 2}
    result = run(
        tmp_path,
        lag=lag,
        cluster="slurm",
        workers=2,
        chunk_size=7,
        slurm=sw.SlurmOptions(interface="lo"),
        **(processes if in_processes else {}),
    )
    assert result.mode is sw.ExecutionMode.DISTRIBUTED
    assert table(result) == reference[lag]

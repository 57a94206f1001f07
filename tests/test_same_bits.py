"""Contract 1: the same bits on any number of workers, for any chunk size, on either cluster."""

from __future__ import annotations

import itertools

import pytest

import seedwise as sw
from tests.losses import bowl, bowls, lonely
from tests.tables import some, summary, table

FIXED = {
    "n_trials": 14,  # the first ten of TPE are random: four more see what was told
    "n_seeds": 105,
    "progress": False,
}
SEARCHES = {
    "lag 1": {"race": False},
    "lag 4": {"race": False, "max_concurrent_trials": 4},
    "race": {"race": True, "max_concurrent_trials": 4, "n_validation_seeds": 24},
    "parts": {},  # the defaults, with a validation
}


def run(root, search, loss=None, **options):
    loss = loss or (bowl if SEARCHES[search].get("race") is False else lonely)
    return sw.optimize_run(loss, run_root=root, **{**FIXED, **SEARCHES[search], **options})


def bits_of(result):
    return table(result), summary(result)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What each search comes to on one local worker, in one chunk."""
    root = tmp_path_factory.mktemp("reference")
    return {search: bits_of(run(root, search, workers=1, chunk_size=1000)) for search in SEARCHES}


def test_the_searches_differ(reference):
    """If this fails, equality below may hold for the wrong reason."""
    assert reference["lag 1"] != reference["lag 4"]
    raced, _ = reference["race"]
    assert len({n_seeds for *_, n_seeds, _, _ in raced[: FIXED["n_trials"]]}) > 2  # several looks
    assert all("ValidatedTrial" in reference[search][0][-1] for search in ("race", "parts"))


@pytest.mark.parametrize(
    ("search", "chunk_size"),
    some(
        itertools.product(SEARCHES, [1, 7, 100, 1000]),
        *(("lag 4", 1), ("lag 1", 100), ("race", 7), ("parts", 7)),
    ),
)
def test_any_chunk_size_on_two_workers(reference, tmp_path, client, search, chunk_size):
    result = run(tmp_path, search, cluster=client, chunk_size=chunk_size)
    assert bits_of(result) == reference[search]


@pytest.mark.parametrize(
    ("search", "workers"),
    some(itertools.product(SEARCHES, [1, 2, (1, 2)]), ("parts", 2), ("race", (1, 2))),
)
def test_any_number_of_own_workers(reference, tmp_path, search, workers):
    result = run(tmp_path, search, workers=workers, chunk_size=7)
    assert bits_of(result) == reference[search]


@pytest.mark.parametrize(
    ("search", "use_processes"),
    some(itertools.product(SEARCHES, [False, True]), ("lag 4", False), ("lag 1", True)),
)
def test_seeds_in_threads_or_processes(reference, tmp_path, search, use_processes):
    result = run(
        tmp_path,
        search,
        workers=1,
        worker_parallelism=3,
        use_processes=use_processes,
        chunk_size=50,
    )
    assert bits_of(result) == reference[search]


@pytest.mark.parametrize("parallelism", [pytest.param(1, marks=pytest.mark.full), 2])
def test_a_vectorized_loss(reference, tmp_path, parallelism):
    options = {"workers": 1, "chunk_size": 10, "worker_parallelism": parallelism}
    assert bits_of(run(tmp_path, "lag 1", bowls, **options)) == reference["lag 1"]


def test_a_loss_that_sees_the_seeds_of_its_call(tmp_path, client):
    """Chunks are cut by what seeds take, and calls are the same all the same."""

    @sw.loss(name="centred", description="d", parameter_space={"x": (0.0, 1.0)}, vectorized=True)
    def centred(params, seeds):
        return (seeds - seeds.mean()) ** 2 * params["x"] + len(seeds)

    options = {"n_seeds": 1050, "n_trials": 6}
    one = run(tmp_path / "1", "lag 1", centred, workers=1, **options)
    two = run(tmp_path / "2", "lag 1", centred, cluster=client, worker_parallelism=2, **options)
    assert bits_of(one) == bits_of(two)
    whole = run(tmp_path / "3", "lag 1", centred, cluster=client, chunk_size=1050, **options)
    assert bits_of(whole) != bits_of(one)


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("search", "in_processes"),
    some(itertools.product(SEARCHES, [False, True]), ("race", True), ("parts", False)),
)
def test_slurm_gives_the_same(reference, tmp_path, slurm, search, in_processes):
    processes = {"worker_parallelism": 2, "use_processes": True, "cpus_per_task": 2}
    result = run(
        tmp_path,
        search,
        cluster="slurm",
        workers=2,
        chunk_size=7,
        slurm=sw.SlurmOptions(interface="lo"),
        **(processes if in_processes else {}),
    )
    assert result.mode is sw.ExecutionMode.DISTRIBUTED
    assert bits_of(result) == reference[search]

"""What follows from one seed for a plan."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.model.check_report import CheckReport


def report(**fields):
    usual = {
        "loss_name": "walk",
        "place": "slurm",
        "n_trials": 20,
        "n_trials_at_once": 1,
        "n_seeds": 400,
        "chunk_size": 20,
        "workers": 10,
        "cpus_per_worker": 2,
        "walltime_s": 7200.0,
        "seed": 0,
        "value": 0.5,
        "first_s": 0.3,
        "seed_s": 0.1,
    }
    given = {**usual, **fields}
    return CheckReport(**{"n_seeds_of_trial": given["n_seeds"], **given})


@pytest.mark.parametrize(
    ("fields", "figures"),
    [
        ({}, {"n_chunks": 20, "n_chunks_in_flight": 20, "n_chunks_at_once": 10}),
        ({}, {"n_seeds_at_once": 10, "chunk_s": 2.0, "run_s": 80.0, "n_idle_workers": 0}),
        ({}, {"core_hours": 10 * 2 * 80 / 3600}),
        ({"n_seeds": 401}, {"n_chunks": 21, "run_s": 120.0}),
        ({"n_trials_at_once": 4}, {"n_chunks_in_flight": 80, "run_s": 5 * 8 * 2.0}),
        ({"n_trials_at_once": 40}, {"n_chunks_in_flight": 400}),
        ({"workers": 25}, {"n_chunks_at_once": 20, "n_idle_workers": 5, "run_s": 40.0}),
        ({"worker_parallelism": 4}, {"chunk_s": 0.5, "n_seeds_at_once": 40}),
        ({"worker_parallelism": 40}, {"chunk_s": 0.1, "n_seeds_at_once": 200}),
        ({"chunk_size": 1000}, {"n_chunks": 1, "chunk_s": 40.0, "n_idle_workers": 9}),
        ({"vectorized": True}, {"chunk_s": 2.0, "n_seeds_at_once": 200}),
        ({"vectorized": True, "worker_parallelism": 2}, {"n_chunks_at_once": 20}),
        ({"vectorized": True, "worker_parallelism": 4}, {"n_idle_workers": 5, "chunk_s": 2.0}),
        ({"workers": None}, {"n_chunks_at_once": None, "n_seeds_at_once": None, "run_s": None}),
        ({"workers": None}, {"core_hours": None, "n_idle_workers": 0, "chunk_s": 2.0}),
        ({"cpus_per_worker": None}, {"core_hours": None, "run_s": 80.0}),
        ({"n_seeds_of_trial": 50}, {"n_chunks": 3, "n_idle_workers": 7, "run_s": 40.0}),
        ({"n_seeds_of_trial": 10}, {"n_chunks": 1, "chunk_s": 1.0, "n_seeds_at_once": 1}),
        ({"max_total_seeds": 1600}, {"run_s": 4 * 4.0}),
        ({"max_total_seeds": 1601}, {"run_s": 5 * 4.0}),
        ({"max_total_seeds": 10**6}, {"run_s": 80.0}),
        ({"max_total_seeds": 1600, "n_trials_at_once": 4}, {"run_s": 2 * 8 * 2.0}),
    ],
)
def test_figures(fields, figures):
    found = report(**fields)
    assert {name: getattr(found, name) for name in figures} == pytest.approx(figures)


@pytest.mark.parametrize(
    ("fields", "short", "long"),
    [
        ({}, False, False),
        ({"seed_s": 0.004}, True, False),
        ({"seed_s": 0.004, "worker_parallelism": 4}, True, False),
        ({"seed_s": 0.001, "chunk_size": 400, "n_seeds": 40}, True, False),
        ({"seed_s": 60.0}, False, True),
        ({"seed_s": 60.0, "worker_parallelism": 2, "chunk_size": 20}, False, False),
        ({"seed_s": 900.0, "chunk_size": 1}, False, True),
        ({"seed_s": 900.0, "walltime_s": None}, False, False),
        ({"seed_s": 0.001, "walltime_s": 0.1}, True, True),
        # If they are cut by what seeds take, only a seed can be too long.
        ({"seed_s": 0.004, "chunks_are_measured": True}, False, False),
        ({"seed_s": 60.0, "chunks_are_measured": True}, False, False),
        ({"seed_s": 900.0, "chunks_are_measured": True}, False, True),
    ],
)
def test_advice(fields, short, long):
    found = report(**fields)
    assert (found.chunk_is_short, found.chunk_is_long) == (short, long)


@pytest.mark.parametrize(
    ("fields", "is_long"),
    [
        ({"trial_limit_s": 3.9}, True),  # two waves of chunks of 2 s
        ({"trial_limit_s": 4.1}, False),
        ({"trial_limit_s": 4.1, "n_trials_at_once": 2}, True),
        ({"trial_limit_s": None, "seed_s": 900.0}, False),
        ({"trial_limit_s": 1.0, "workers": None}, False),
    ],
)
def test_a_trial_may_take_longer_than_is_allowed(fields, is_long):
    assert report(**fields).trial_is_long is is_long


sizes = st.integers(1, 10_000)


@given(
    n_seeds=sizes,
    chunk_size=sizes,
    n_trials=sizes,
    n_trials_at_once=sizes,
    workers=sizes,
    worker_parallelism=st.integers(1, 64),
    seed_s=st.floats(0.0, 1e5),
    vectorized=st.booleans(),
)
def test_figures_hang_together(**fields):
    found = report(**fields)
    n_rounds = found.run_s / found.chunk_s if found.chunk_s else 0
    chunks = found.n_chunks * found.n_trials
    if n_rounds:  # no more than all chunks one after the other, and no less than is possible
        assert n_rounds >= chunks / found.n_chunks_at_once - 1e-6
    assert 1 <= found.n_chunks_at_once <= found.n_chunks_in_flight
    assert found.n_seeds_at_once >= found.n_chunks_at_once
    assert 0 <= found.n_idle_workers < found.workers
    assert math.isfinite(found.core_hours)


def test_all_of_it_is_json():
    found = report(params={"x": 0.5, "kind": "plain"}, versions={"python": "3.11.7"})
    again = json.loads(json.dumps(found.to_dict()))
    assert again["params"] == {"x": 0.5, "kind": "plain"}
    assert (again["n_chunks"], again["run_s"], again["chunk_is_short"]) == (20, 80.0, False)


@pytest.mark.parametrize(
    ("fields", "n_evaluations"),
    [
        ({}, 0),
        ({"n_validation_seeds": 0, "n_validation_candidates": 8}, 0),
        ({"n_validation_seeds": 256, "n_validation_candidates": 8}, 768),
        ({"n_validation_seeds": 256, "n_validation_candidates": 99, "n_trials": 1}, 256),
    ],
)
def test_what_the_validation_costs(fields, n_evaluations):
    found = report(**fields)
    assert found.n_validation_evaluations == n_evaluations
    assert found.to_dict()["n_validation_evaluations"] == n_evaluations

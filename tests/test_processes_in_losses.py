"""Losses that start processes, handle signals or run an event loop, in all places."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

import seedwise as sw
from seedwise.errors import LossFailedError

PLACES = [
    {},
    {"worker_parallelism": 2, "cpus_per_task": 2},
    {"use_processes": True},  # from here on in the main thread of a process
    {"chunk_timeout_seconds": 60},
]
ON_SLURM = [{"cluster": "slurm", "mem_per_cpu": "500M", **place} for place in PLACES]
REMEDY = "With use_processes=True it runs in the main thread"


@pytest.fixture
def optimize(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")

    def optimize(function, **place):
        loss = sw.loss(name="made", description="of a test", parameter_space={"x": (1.0, 1.0)})
        keywords = {"n_trials": 1, "n_seeds": 4, "chunk_size": 2, "workers": 1, "cpus_per_task": 1}
        keywords |= {"progress": False, "run_root": tmp_path, **place}
        return sw.optimize_run(loss(function), **keywords).best_value

    return optimize


def start_processes(params, seed):
    with multiprocessing.Pool(2) as pool:
        value = sum(pool.map(math.sqrt, [4.0, 9.0]))
    with ProcessPoolExecutor(2) as executor:
        return value + sum(executor.map(math.exp, [0.0, 0.0])) + seed * params["x"]


def run_a_loop(params, seed):
    return asyncio.run(asyncio.sleep(0, seed * params["x"] + 7.0))


def give_up(number, frame):
    raise TimeoutError


def handle_an_alarm(params, seed):
    before = signal.signal(signal.SIGALRM, give_up)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(600)
    except TimeoutError:
        return seed * params["x"] + 7.0
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "function", [start_processes, pytest.param(run_a_loop, marks=pytest.mark.full)]
)
@pytest.mark.parametrize("place", PLACES)
def test_a_loss_may_start_processes_and_loops(function, place, optimize):
    assert optimize(function, **place) == 8.5


@pytest.mark.slurm
@pytest.mark.parametrize(
    "place",
    [ON_SLURM[0], *(pytest.param(place, marks=pytest.mark.full) for place in ON_SLURM[1:])],
)
def test_a_loss_may_start_processes_on_slurm(place, slurm, optimize):
    assert optimize(start_processes, **place) == 8.5


@pytest.mark.parametrize("place", PLACES[2:])
def test_a_loss_may_handle_signals_in_a_process(place, optimize):
    assert optimize(handle_an_alarm, **place) == 8.5


def test_a_loss_that_needs_the_main_thread_is_told_how_to_have_it(optimize):
    with pytest.raises(LossFailedError, match=REMEDY):
        optimize(handle_an_alarm)


def test_a_loss_on_a_passed_cluster_may_start_processes_in_a_process(optimize, client):
    assert optimize(start_processes, cluster=client, workers=None, use_processes=True) == 8.5


def test_the_mean_of_a_dict_with_a_loss_in_it_is_told_to_the_driver(optimize):
    with pytest.warns(UserWarning, match="a dict with a key 'loss': its value is the mean"):
        value = optimize(lambda params, seed: {"loss": 1.0, "penalty": params["x"] + 2})
    assert value == 2.0

"""What losses start on our workers: it starts as in a script, and ends with its worker."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

from seedwise.cluster.dask_settings import WORKER_SETTINGS
from tests.testbed.daemons import poll

LONG_S = 600


@pytest.fixture(scope="module")
def cluster():
    with (
        dask.config.set(WORKER_SETTINGS),
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            preload=["seedwise.worker.own_group"],
        ) as made,
    ):
        yield made


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as made:
        yield made


def leave_an_executor(method):
    """Leave idle processes of an executor, which would wait for its next task for ever."""
    context = multiprocessing.get_context(method)
    executor = ProcessPoolExecutor(2, mp_context=context)
    list(executor.map(time.sleep, [0.0, 0.0]))
    sys.modules["left_by_a_test"] = executor  # or it would end here
    return list(executor._processes)


def leave_a_program():
    return [subprocess.Popen(["sleep", str(LONG_S)]).pid]


def leave_a_busy_pool():
    pool = multiprocessing.Pool(2)
    sys.modules["left_by_a_test"] = pool
    pool.map_async(time.sleep, [LONG_S, LONG_S])
    return [process.pid for process in pool._pool]


@pytest.mark.parametrize(
    "leave",
    [
        functools.partial(leave_an_executor, None),
        functools.partial(leave_an_executor, "forkserver"),
        leave_a_busy_pool,
        leave_a_program,
    ],
    ids=["executor", "forkserver", "pool", "program"],
)
def test_what_a_loss_started_ends_with_its_worker(leave, cluster, client):
    (nanny,) = cluster.workers.values()
    poll(lambda: client.scheduler_info()["workers"], "the worker")
    worker = nanny.pid
    left = [psutil.Process(pid) for pid in client.submit(leave, pure=False).result(timeout=60)]
    children = psutil.Process(worker).children(recursive=True)
    assert left
    assert all(process.is_running() for process in left)
    os.kill(worker, signal.SIGKILL)
    _, alive = psutil.wait_procs([*left, *children], timeout=30)
    for process in alive:
        process.kill()
    assert not alive
    poll(lambda: nanny.pid not in (None, worker), "another worker")


def test_processes_start_as_in_a_script(client):
    def start():
        return multiprocessing.get_start_method()

    assert client.submit(start).result(timeout=60) == multiprocessing.get_start_method()


def test_a_program_takes_ctrl_c_as_usual(client):
    def interrupt():
        program = subprocess.Popen(["sleep", str(LONG_S)])
        program.send_signal(signal.SIGINT)
        return program.wait(60)

    assert client.submit(interrupt).result(timeout=60) == -signal.SIGINT


def test_ctrl_c_in_a_terminal_does_not_reach_the_worker(client):
    group = client.submit(lambda: (os.getpid(), os.getpgrp())).result(timeout=60)
    assert group[0] == group[1] != os.getpgrp()

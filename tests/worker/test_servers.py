"""Workers without pages: they open the port of their connections, and no other."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import socket
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


def listening(pid):
    """Return the addresses at which a process listens."""
    found = psutil.Process(pid).net_connections("inet")
    return {f"{at.laddr.ip}:{at.laddr.port}" for at in found if at.status == psutil.CONN_LISTEN}


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_class="seedwise.worker.servers.LockedNanny",
        preload=["seedwise.worker.servers"],
    ) as made:
        yield made


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as made:
        yield made


def bare(address):
    return address.partition("://")[2]


def test_a_worker_listens_at_one_port_of_the_given_host(cluster):
    for nanny in cluster.workers.values():
        assert listening(nanny.pid) == {bare(nanny.worker_address)}
        assert nanny.worker_address.startswith("tcp://127.0.0.1:")


def test_scheduler_and_nannies_listen_at_the_given_host(cluster):
    """A nanny opens one port, a scheduler one more for its pages."""
    pages = f"127.0.0.1:{cluster.scheduler.http_server.port}"
    expected = {bare(nanny.address) for nanny in cluster.workers.values()}
    expected |= {bare(cluster.scheduler_address), pages}
    assert expected <= listening(os.getpid())
    assert all(nanny.services is None or not nanny.services for nanny in cluster.workers.values())


def test_a_worker_with_pages_listens_at_two():
    """Otherwise the tests above could not fail: it does so even without a dashboard."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as plain:
        assert len(listening(plain.workers[0].pid)) == 2


def test_whatever_asks_a_worker_about_itself(client, cluster):
    info = client.scheduler_info()["workers"]
    assert [worker["services"] for worker in info.values()] == [{}, {}]
    for state in client.run(lambda dask_worker: dask_worker._to_dict()).values():
        assert state["type"] == "LockedWorker"
    assert all(client.run(lambda dask_worker: dask_worker.identity()).values())
    assert all(client.run(lambda dask_worker: dask_worker.get_monitor_info()).values())
    assert client.run(lambda dask_worker: dask_worker._dashboard) == dict.fromkeys(info, False)
    assert set(client.get_versions()["workers"]) == set(info)
    assert len(client.get_worker_logs()) == len(client.get_worker_logs(nanny=True)) == 2
    assert len(client.profile()) > 0
    assert cluster.sync(cluster.scheduler.get_cluster_state, ())["workers"].keys() == info.keys()


def test_it_is_restarted_and_retired(client, cluster):
    assert client.submit(os.getpid).result() in {nanny.pid for nanny in cluster.workers.values()}
    client.restart()
    cluster.scale(1)
    poll(lambda: len(cluster.workers) == 1, "a worker to be retired")
    (nanny,) = cluster.workers.values()
    before = nanny.pid
    os.kill(before, signal.SIGKILL)
    poll(lambda: nanny.pid not in (None, before) and nanny.is_alive(), "another process")
    assert client.submit(sum, (1, 2)).result() == 3
    # The nanny learns of the new address after the scheduler does.
    poll(lambda: listening(nanny.pid) == {bare(nanny.worker_address)}, "one port")


@pytest.mark.parametrize("nanny", ["--nanny", "--no-nanny"])
def test_the_command_that_jobs_start(cluster, client, nanny):
    """Its defaults ask for a dashboard."""
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            cluster.scheduler_address,
            "--worker-class",
            "seedwise.worker.servers.LockedWorker",
            "--host",
            "127.0.0.1",
            "--name",
            "from-a-job",
            "--nthreads",
            "1",
            nanny,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:

        def joined():
            assert worker.poll() is None
            info = client.scheduler_info()["workers"].items()
            return [at for at, about in info if about["name"] == "from-a-job"]

        (address,) = poll(joined, "the worker to join")
        (pid,) = client.run(os.getpid, workers=[address]).values()
        assert listening(pid) == {bare(address)}
        if nanny == "--nanny":
            assert len(listening(worker.pid)) == 1
    finally:
        worker.terminate()
        _, stderr = worker.communicate(timeout=20)
    assert "Traceback" not in stderr


def test_it_needs_neither_optuna_nor_dask_jobqueue_nor_bokeh():
    code = (
        "import sys, seedwise.worker.servers\n"
        "heavy = {'optuna', 'optuna_integration', 'dask_jobqueue', 'bokeh', 'pandas', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"numpy"}


def test_no_port_is_free_by_chance():
    """`listening` sees a port that is opened, on any address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert f"127.0.0.1:{server.getsockname()[1]}" in listening(os.getpid())


# What losses start on our workers: it starts as in a script, and ends with its worker.

LONG_S = 600


@pytest.fixture(scope="module")
def lone_cluster():
    with (
        dask.config.set(WORKER_SETTINGS),
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            preload=["seedwise.worker.servers"],
        ) as made,
    ):
        yield made


@pytest.fixture
def lone_client(lone_cluster):
    with Client(lone_cluster, set_as_default=False) as made:
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
def test_what_a_loss_started_ends_with_its_worker(leave, lone_cluster, lone_client):
    (nanny,) = lone_cluster.workers.values()
    poll(lambda: lone_client.scheduler_info()["workers"], "the worker")
    worker = nanny.pid
    left = [
        psutil.Process(pid) for pid in lone_client.submit(leave, pure=False).result(timeout=60)
    ]
    children = psutil.Process(worker).children(recursive=True)
    assert left
    assert all(process.is_running() for process in left)
    os.kill(worker, signal.SIGKILL)
    _, alive = psutil.wait_procs([*left, *children], timeout=30)
    for process in alive:
        process.kill()
    assert not alive
    poll(lambda: nanny.pid not in (None, worker), "another worker")


def test_processes_start_as_in_a_script(lone_client):
    def start():
        return multiprocessing.get_start_method()

    assert lone_client.submit(start).result(timeout=60) == multiprocessing.get_start_method()


def test_a_program_takes_ctrl_c_as_usual(lone_client):
    def interrupt():
        program = subprocess.Popen(["sleep", str(LONG_S)])
        program.send_signal(signal.SIGINT)
        return program.wait(60)

    assert lone_client.submit(interrupt).result(timeout=60) == -signal.SIGINT


def test_ctrl_c_in_a_terminal_does_not_reach_the_worker(lone_client):
    group = lone_client.submit(lambda: (os.getpid(), os.getpgrp())).result(timeout=60)
    assert group[0] == group[1] != os.getpgrp()


@pytest.mark.parametrize("given", [True, False])
def test_the_folder_of_temporary_files_goes_with_the_nannys_process(given, tmp_path):
    folder = tmp_path / "scratch"
    (folder / "dask-scratch-space").mkdir(parents=True)
    (folder / "dask-scratch-space/global.lock").touch()
    environment = {**os.environ, **({"SEEDWISE_SCRATCH": str(folder)} if given else {})}
    code = (
        "from distributed import Nanny\nfrom pathlib import Path\n"
        "from seedwise.worker.servers import dask_setup\n"
        f"dask_setup(object.__new__(Nanny))\nassert Path({str(folder)!r}).exists()"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert folder.exists() is not given

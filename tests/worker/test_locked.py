"""Workers without pages: they open the port of their connections, and no other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from distributed import Client, LocalCluster

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
        worker_class="seedwise.worker.locked.LockedNanny",
        preload=["seedwise.worker.own_group"],
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
            "seedwise.worker.locked.LockedWorker",
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
        "import sys, seedwise.worker.locked\n"
        "heavy = {'optuna', 'optuna_integration', 'dask_jobqueue', 'bokeh', 'pandas', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"numpy"}


def test_no_port_is_free_by_chance():
    """`listening` sees a port that is opened, on any address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert f"127.0.0.1:{server.getsockname()[1]}" in listening(os.getpid())

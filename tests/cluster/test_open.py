"""Where a driver can't be, and clusters of the caller's, which are used as they are."""

from __future__ import annotations

import multiprocessing
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from distributed import Client, LocalCluster, secede

import seedwise as sw
from seedwise.cluster.open import check_place
from seedwise.errors import AddressError, NestedDriverError, OptionError
from seedwise.model.options.study import RunOptions
from tests.losses import bowl
from tests.tables import table

# What a task in this process is to use; neither a client nor a cluster can be sent to it.
_passed = []


def refusal(cluster, leave_thread=False):
    """Return why a run can't be begun here; "" if it can."""
    if leave_thread:
        secede()
    try:
        check_place(RunOptions.from_keywords({"cluster": cluster}))
    except NestedDriverError as error:
        return str(error)
    return ""


def refusal_of_passed():
    return refusal(_passed[0])


@pytest.fixture(scope="module")
def threads():
    """A cluster in this process."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_a_daemonic_process_can_have_no_local_workers():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        why = pool.apply_async(refusal, ("local",)).get(60)
        assert "this process is daemonic" in why
        assert "ProcessPoolExecutor" in why
        assert pool.apply_async(refusal, ("tcp://127.0.0.1:1",)).get(60) == ""
    assert refusal("local") == ""


def test_a_dask_worker_is_daemonic_unless_it_is_one_of_ours(client):
    local = RunOptions.from_keywords({"cluster": "local"})
    # Not by a function of this module, which the worker would import and keep.
    with pytest.raises(NestedDriverError, match="Dask workers"):
        client.submit(check_place, local).result(timeout=60)


@pytest.mark.parametrize("form", ["address", "client", "cluster"])
def test_a_task_does_not_wait_for_its_own_thread(form, threads):
    own = {"address": threads.scheduler.address, "client": threads, "cluster": threads.cluster}
    _passed[:] = [own[form]]
    why = threads.submit(refusal_of_passed, pure=False).result(timeout=60)
    assert "this is a task of the cluster" in why
    assert "worker_client" in why
    assert refusal(own[form]) == ""


def test_a_task_may_begin_a_run_elsewhere(threads, client):
    own, other = threads.scheduler.address, client.scheduler.address
    for args in [("local",), (other,), (own, True)]:
        assert threads.submit(refusal, *args).result(timeout=60) == ""


def run(cluster, root, **options):
    return sw.optimize_run(
        bowl, n_trials=3, n_seeds=8, cluster=cluster, run_root=root, progress=False, **options
    )


def test_client_cluster_and_address_are_left_as_they_were(client, tmp_path):
    workers = set(client.scheduler_info()["workers"])
    address = client.scheduler.address
    results = [run(place, tmp_path) for place in (client, client.cluster, address)]
    assert len({str(table(result)) for result in results}) == 1
    assert set(client.scheduler_info()["workers"]) == workers
    assert client.submit(int, 3).result() == 3
    modes = [result.mode for result in results]
    assert modes == [
        sw.ExecutionMode.SINGLE,
        sw.ExecutionMode.SINGLE,
        sw.ExecutionMode.DISTRIBUTED,
    ]
    assert not client.run_on_scheduler(
        lambda dask_scheduler: list(dask_scheduler.extensions["optuna"].storages)
    )


def test_two_runs_of_one_name_on_one_cluster(client, tmp_path):
    """Keys of their own: equal tasks of different runs are not the same task."""
    first = run(client, tmp_path / "a", run_name="run", random_seed=1)
    second = run(client, tmp_path / "b", run_name="run", random_seed=2)
    assert table(first) != table(second)


def test_nobody_at_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr("seedwise.cluster.open._CONNECT_TIMEOUT_S", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressError, match=f"cluster='{address}': no Dask scheduler answers"):
            run(address, tmp_path)


def test_processes_on_a_cluster_whose_workers_are_daemons(client, tmp_path):
    """Daemons may have no processes of multiprocessing; ours are others."""
    assert any(client.run(lambda: multiprocessing.current_process().daemon).values())
    expected = run(client, tmp_path / "threads")
    result = run(client, tmp_path / "processes", use_processes=True)
    assert result.trials[0].value.hex() == expected.trials[0].value.hex()


def test_what_contradicts_a_passed_cluster(client, tmp_path):
    with pytest.raises(OptionError, match="workers=3: must be None for a cluster that you pass"):
        run(client, tmp_path, workers=3)
    with pytest.raises(OptionError, match="mode='distributed': must be 'single' for this cluster"):
        run(client, tmp_path, mode="distributed")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_at_once_on_one_cluster(client, tmp_path):
    """The end of one takes nothing from the other."""
    with ThreadPoolExecutor(2) as pool:
        short = pool.submit(run, client, tmp_path / "short")
        long = pool.submit(run, client, tmp_path / "long", chunk_size=1)
        assert table(short.result()) == table(long.result())

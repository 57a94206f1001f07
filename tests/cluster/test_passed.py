"""A cluster, client or address of the caller's: used as it is, never closed or scaled."""

from __future__ import annotations

import multiprocessing
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

import seedwise as sw
from seedwise.errors import AddressError, OptionError
from tests.losses import bowl
from tests.tables import table


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
    monkeypatch.setattr("seedwise.cluster.passed._CONNECT_TIMEOUT_S", 1)
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

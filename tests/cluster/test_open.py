"""Where a driver can't be: nothing is made before it is told."""

from __future__ import annotations

import multiprocessing

import pytest
from distributed import Client, LocalCluster, secede

from seedwise.cluster.open import check_place
from seedwise.errors import NestedDriverError
from seedwise.model.options.study import RunOptions

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
    assert "Dask workers" in client.submit(refusal, "local").result(timeout=60)


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

"""How a worker leaves: it ends what it began, gives back what waits, and its process ends well."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster, Reschedule, get_worker

from seedwise.worker.departure import Durations, depart, is_departing, job_left_s, leaves_before
from tests.testbed.daemons import poll


@pytest.fixture
def worker():
    """A worker as `depart` sees it."""
    callbacks = []
    loop = SimpleNamespace(add_callback=lambda *call: callbacks.append(call))
    return SimpleNamespace(loop=loop, callbacks=callbacks)


@pytest.fixture
def job_of_600_s(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1600")


@pytest.mark.parametrize("ends_at", [None, ""])
def test_where_no_job_ends_every_chunk_is_begun(worker, monkeypatch, ends_at):
    monkeypatch.delenv("SEEDWISE_JOB_ENDS_AT", raising=False)
    if ends_at is not None:
        monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", ends_at)
    assert job_left_s() is None
    assert not leaves_before(worker, 1e9)
    assert not is_departing(worker)


@pytest.mark.parametrize("needs_s", [None, 0.0, 566.0])
def test_what_the_job_lasts_for_is_begun(worker, job_of_600_s, needs_s):
    assert job_left_s() == 600.0
    assert not leaves_before(worker, needs_s)
    assert worker.callbacks == []


@pytest.mark.parametrize("needs_s", [567.0, 1e9])
def test_a_worker_leaves_if_its_job_does_not_last_for_a_chunk(worker, job_of_600_s, needs_s):
    assert leaves_before(worker, needs_s)
    assert leaves_before(worker, None)
    ((_, whose, reason),) = worker.callbacks
    assert (whose, reason) == (worker, "walltime")


def test_a_worker_leaves_once(worker):
    assert not is_departing(worker)
    for _ in range(3):
        depart(worker, "fewer are wanted")
    assert is_departing(worker)
    assert len(worker.callbacks) == 1


# On a cluster.


@pytest.fixture
def own_client():
    """Client of a cluster that a test may do harm to."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def work(number: int, folder: Path) -> tuple[int, str]:
    """Note the evaluation, and end when it may; a worker that leaves begins nothing."""
    worker = get_worker()
    if is_departing(worker):
        raise Reschedule
    with (folder / "begun").open("a") as file:
        file.write(f"{number}\n")
    while not (folder / "go").exists():
        time.sleep(0.01)
    return number, worker.address


def begun(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "begun").read_text().splitlines()]
    except FileNotFoundError:
        return []


def workers(client: Client) -> list[str]:
    return list(client.scheduler_info(n_workers=-1)["workers"])


def test_a_worker_ends_what_it_began_and_gives_back_what_waits(own_client, tmp_path):
    client, scheduler = own_client, own_client.cluster.scheduler
    futures = client.map(work, range(6), folder=tmp_path, pure=False)
    poll(lambda: len(begun(tmp_path)) == 2, "both workers to be at work")
    first, second = workers(client)
    for _ in range(2):
        client.run(depart, reason="fewer are wanted", workers=[first])
    # While it still evaluates, what waited on it waits elsewhere.
    poll(lambda: len(scheduler.workers[first].processing) == 1, "it to have nothing else")
    more = client.map(work, range(6, 10), folder=tmp_path, pure=False)
    (tmp_path / "go").touch()
    results = client.gather(futures + more)
    assert Counter(begun(tmp_path)) == Counter(range(10))
    assert sorted(number for number, _ in results) == list(range(10))
    assert Counter(address for _, address in results) == {first: 1, second: 9}
    # It holds the result until nobody wants it any more.
    assert first in workers(client)
    del futures, more
    poll(lambda: workers(client) == [second], "the worker to be gone")
    nannies = own_client.cluster.workers.values()
    poll(lambda: {nanny.status.name for nanny in nannies} == {"running", "closed"}, "its nanny")
    assert client.submit(int, 7).result() == 7


def test_what_a_worker_gives_back_waits_until_another_joins(own_client, tmp_path):
    """Not even one that is alone gets it again; and it counts as no failure."""
    client, cluster = own_client, own_client.cluster
    client.retire_workers(workers(client)[1:])
    poll(lambda: len(workers(client)) == 1, "one worker to be left")
    (first,) = workers(client)
    futures = client.map(work, range(3), folder=tmp_path, pure=False)
    poll(lambda: begun(tmp_path), "it to be at work")
    (one,) = begun(tmp_path)
    client.run(depart, reason="walltime", workers=[first])
    (tmp_path / "go").touch()
    assert futures[one].result() == (one, first)
    futures[one].release()
    poll(lambda: workers(client) == [], "the worker to be gone")
    rest = [future for number, future in enumerate(futures) if number != one]
    assert [future.status for future in rest] == ["pending"] * 2
    assert {cluster.scheduler.tasks[future.key].suspicious for future in rest} == {0}
    cluster.scale(3)
    assert len(client.gather(rest)) == 2
    assert Counter(begun(tmp_path)) == Counter(range(3))


def test_a_task_can_have_its_own_worker_leave(own_client):
    def leave(leaving: str) -> str:
        worker = get_worker()
        if worker.address == leaving:
            depart(worker, "walltime")
            raise Reschedule
        return worker.address

    first, second = workers(own_client)
    future = own_client.submit(leave, first, workers=[first], allow_other_workers=True)
    assert future.result() == second
    poll(lambda: workers(own_client) == [second], "the worker to be gone")


def test_results_that_nobody_fetches_go_to_other_workers(own_client, tmp_path):
    (tmp_path / "go").touch()
    first, second = workers(own_client)
    future = own_client.submit(work, 1, tmp_path, workers=[first])
    poll(future.done, "the task")
    own_client.run(_let_it_not_wait, workers=[first])
    own_client.run(depart, reason="fewer are wanted", workers=[first])
    poll(lambda: workers(own_client) == [second], "the worker to be gone")
    assert future.result() == (1, first)
    assert begun(tmp_path) == [1]


def _let_it_not_wait() -> None:
    from seedwise.worker import departure

    departure._FETCH_LIMIT_S = 0.0


def test_the_process_of_a_job_ends_with_exit_code_0(tmp_path):
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", client.scheduler.address]
        command += ["--nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]
        command += ["--local-directory", str(tmp_path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                client.wait_for_workers(1, timeout=60)
                future = client.submit(work, 1, tmp_path)
                poll(lambda: begun(tmp_path), "it to be at work")
                client.run(depart, reason="walltime")
                (tmp_path / "go").touch()
                assert future.result()[0] == 1
                future.release()
                _, log = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 0, log
        assert "Reason: walltime" in log
        assert "Restarting" not in log
        assert workers(client) == []


def test_a_worker_waits_for_no_task_that_nobody_wants(own_client, tmp_path):
    first, second = workers(own_client)
    future = own_client.submit(work, 1, tmp_path, workers=[first])
    poll(lambda: begun(tmp_path), "it to be at work")
    pid = own_client.run(os.getpid, workers=[first])[first]
    future.cancel()
    scheduler = own_client.cluster.scheduler
    poll(lambda: not scheduler.workers[first].processing, "the task to be called off")
    own_client.run(depart, reason="fewer are wanted", workers=[first])
    poll(lambda: workers(own_client) == [second], "the worker to be gone")
    poll(lambda: not Path(f"/proc/{pid}").exists(), "its process to end")


# How long chunks took: comparable ones count, and no single one of many does.


@pytest.fixture
def durations() -> Durations:
    return Durations(40)


def test_nothing_is_known_before_the_first(durations):
    assert durations.needs_s(10) is None
    assert durations.comparable(10) == []


def test_the_slowest_of_a_few_counts_and_a_fifth_more(durations):
    for duration_s in (10.0, 30.0, 20.0):
        durations.note(10, duration_s)
    assert durations.needs_s(10) == pytest.approx(36.0)
    assert durations.needs_s(5) == pytest.approx(18.0)
    assert durations.needs_s(20) == pytest.approx(72.0)


def test_the_slowest_of_many_does_not_count(durations):
    durations.note(10, 1000.0)
    for _ in range(18):
        durations.note(10, 10.0)
    assert durations.needs_s(10) == pytest.approx(1200.0)
    durations.note(10, 10.0)
    assert durations.needs_s(10) == pytest.approx(12.0)


def test_what_many_of_them_take_counts(durations):
    for number in range(40):
        durations.note(10, 50.0 if number % 10 == 0 else 10.0)
    assert durations.needs_s(10) == pytest.approx(60.0)


def test_of_much_smaller_ones_the_time_is_not_multiplied(durations):
    """Most of it may be what it took to load the loss."""
    durations.note(1, 60.0)
    assert durations.needs_s(1) == pytest.approx(72.0)
    assert durations.needs_s(2) == pytest.approx(144.0)
    assert durations.needs_s(100) == pytest.approx(72.0)
    durations.note(100, 100.0)
    assert durations.needs_s(100) == pytest.approx(120.0)
    assert durations.comparable(100) == [1.0]


def test_the_last_ones_are_remembered(durations):
    durations.note(10, 1000.0)
    for _ in range(40):
        durations.note(10, 10.0)
    assert durations.comparable(10) == [1.0] * 40

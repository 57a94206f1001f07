"""Local workers: their number, and what is left behind."""

from __future__ import annotations

import multiprocessing.spawn
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client
from distributed.core import Status

import seedwise as sw
from seedwise.cluster.local import _spawned_without_script, open_local
from seedwise.cluster.open import open_place
from seedwise.cluster.place import Demand, RunTag
from seedwise.cluster.pool.size import Backoff
from seedwise.errors import ClusterStartError
from seedwise.model.options.study import RunOptions
from tests.losses import bowl
from tests.testbed.daemons import poll


def command_line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_workers_do_not_import_the_script_and_other_processes_do(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", __file__, raising=False)
    worker = "Dask Worker process (from Nanny)"
    before = multiprocessing.spawn.get_preparation_data

    def told(name):
        data = multiprocessing.spawn.get_preparation_data(name)
        return sorted(key for key in data if key.startswith("init_main"))

    of_script = told("mine")
    assert of_script
    with _spawned_without_script():
        with _spawned_without_script():
            assert (told(worker), told("mine")) == ([], of_script)
        assert (told(worker), told("mine")) == ([], of_script)  # another run is still at work
    assert (told(worker), told("mine")) == (of_script, of_script)
    assert multiprocessing.spawn.get_preparation_data is before


def test_own_workers_are_gone_afterwards(tmp_path):
    before = set(psutil.Process().children(recursive=True))
    threads = threading.active_count()
    for use_processes in (False, True):
        sw.optimize_run(
            bowl,
            n_trials=1,
            n_seeds=4,
            workers=2,
            use_processes=use_processes,
            run_root=tmp_path,
            progress=False,
        )
    left = set(psutil.Process().children(recursive=True)) - before
    left = {child for child in left if "resource_tracker" not in command_line(child)}
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive
    assert threading.active_count() <= threads + 8  # Dask's offload and profile threads stay


@pytest.mark.parametrize(
    ("chunks", "at_once", "most", "workers"),
    [(1, 1, 8, 1), (10, 1, 8, 8), (10, 4, 8, 3), (40, 1, 2, 2)],
)
def test_demand(chunks, at_once, most, workers):
    assert Demand([chunks], at_once).workers(most) == workers


@pytest.fixture
def tag(tmp_path):
    return RunTag("a", "id", tmp_path / "slurm", tmp_path / "keys", tmp_path / "jobs.jsonl", print)


def options(**keywords):
    return RunOptions.from_keywords({"workers": 2, "cluster": "local", **keywords})


def test_a_worker_that_its_nanny_gives_up_is_replaced(tag):
    """A nanny gives up a worker that dies as it starts; here it is told to."""
    with open_local(options(), Demand([4], 1), tag) as place:
        cluster = place.client.cluster
        nanny = cluster.workers[0]
        nanny.status = Status.failed
        os.kill(nanny.pid, signal.SIGKILL)
        poll(lambda: not nanny.is_alive(), "the worker to be dead")
        for _ in range(2):
            place.check()
            poll(lambda: set(addresses(place.client)) == alive(cluster), "another worker")
            assert len(cluster.workers) == 2
            assert nanny not in cluster.workers.values()


def addresses(client):
    return client.scheduler_info()["workers"]


def alive(cluster):
    nannies = [nanny for nanny in cluster.workers.values() if nanny.is_alive()]
    return {nanny.worker_address for nanny in nannies} if len(nannies) == 2 else None


LOST_AT_ONCE = {"distributed.deploy.lost-worker-timeout": "1 ms"}


def test_a_worker_may_take_its_time_to_start_anew(tag):
    """Dask would close its nanny; here it would not even wait for a moment."""
    with (
        dask.config.set(LOST_AT_ONCE),
        open_local(options(workers=1), Demand([4], 1), tag) as place,
    ):
        cluster = place.client.cluster
        (nanny,) = cluster.workers.values()
        pid = nanny.pid
        os.kill(pid, signal.SIGKILL)
        poll(lambda: nanny.pid not in (None, pid) and addresses(place.client), "it to be back")
        assert list(cluster.workers.values()) == [nanny]


def test_a_worker_that_dask_has_forgotten_is_replaced(tag):
    with (
        open_local(options(workers=1), Demand([4], 1), tag) as place,
        dask.config.set(LOST_AT_ONCE),
    ):
        cluster = place.client.cluster
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        poll(lambda: not cluster.workers, "Dask to forget it")
        place.check()
        poll(lambda: addresses(place.client), "another worker")
        assert place.client.submit(sum, (1, 2)).result(timeout=60) == 3


def end_at_once(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'raise SystemExit(1)'\n")
    python.chmod(0o755)
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", os.fsencode(python))


def have_no_folder(tmp_path, _):
    (tmp_path / "file").touch()
    dask.config.set({"temporary-directory": str(tmp_path / "file")})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(end_at_once, "failed to start worker process"), (have_no_folder, "NotADirectoryError")],
)
def test_workers_that_do_not_start_any_more_end_the_run(tag, tmp_path, monkeypatch, spoil, why):
    with dask.config.set({}), open_local(options(workers=1), Demand([4], 1), tag) as place:
        place._failed_starts = Backoff(0.2, 60.0)  # that it waits longer: pool/test_local
        cluster = place.client.cluster
        nanny = cluster.workers[0]
        nanny.status = Status.failed
        spoil(tmp_path, monkeypatch)
        os.kill(nanny.pid, signal.SIGKILL)
        poll(lambda: not nanny.is_alive(), "the worker to be dead")
        with pytest.raises(ClusterStartError, match=why):
            poll(place.check, "the end", 60)


# It is locked; tests/faults/test_another_user.py tries to get in.


def servers(cluster):
    return [cluster.scheduler, *cluster.workers.values()]


def status_of(link):
    try:
        with urllib.request.urlopen(link, timeout=20) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Give a place that no test does harm to, with its tag."""
    folder = tmp_path_factory.mktemp("locked")
    tag = RunTag("a", "id", folder / "slurm", folder / "keys", folder / "jobs.jsonl", print)
    with open_local(options(), Demand([4], 1), tag) as place:
        yield place, tag


def test_everything_is_encrypted_and_on_this_machine_only(locked):
    place, _ = locked
    cluster = place.client.cluster
    found = [server.address for server in servers(cluster)]
    found += [*addresses(place.client), place.client.scheduler.address]
    assert len(set(found)) == 5  # scheduler, nannies, workers
    assert all(address.startswith("tls://127.0.0.1:") for address in found)
    assert place.client.submit(os.getpid).result() != os.getpid()
    # Not all children: there may be a Slurm among them.
    processes = [psutil.Process(nanny.pid) for nanny in cluster.workers.values()]
    name = "net_connections" if hasattr(psutil.Process, "net_connections") else "connections"
    listening = {
        (at.laddr.ip, at.laddr.port)
        for process in processes
        for at in getattr(process, name)("inet")  # psutil renamed it in 6.0
        if at.status == psutil.CONN_LISTEN
    }
    ours = {int(address.rpartition(":")[2]) for address in addresses(place.client)}
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert ours <= {port for _, port in listening}


def test_a_worker_is_not_lost_for_being_silent(locked):
    """A loss may hold the GIL for minutes, and a laptop may sleep."""
    place, _ = locked
    assert place.client.cluster.scheduler.worker_ttl is None


def test_the_link_has_the_token_and_a_tunnel_beside_it(locked):
    place, _ = locked
    port = place.client.cluster.scheduler.http_server.port
    link, _, token = place.dashboard.partition("?token=")
    assert link == f"http://127.0.0.1:{port}/status"
    assert len(token) == 43
    assert place.tunnel.startswith(f"ssh -N -L {port}:127.0.0.1:{port} ")
    assert status_of(link) == 403
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(place.dashboard, timeout=20) as page:
        assert (page.status, page.url) == (200, link)


def test_the_keys_are_there_while_it_is_open_and_no_secret_is_on_a_command_line(locked):
    place, tag = locked
    secrets = [place.dashboard.rpartition("=")[2]]
    for path in tag.key_dir.iterdir():
        lines = path.read_text().splitlines()
        secrets += [line for line in lines if line and not line.startswith("-----")]
    assert len(secrets) == 1 + 3 + 1  # the token, the key, and the link
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any(b"multiprocessing" in line for line in lines)
    assert not [line for line in lines for secret in secrets if secret.encode() in line]


def test_workers_that_come_later_have_the_keys_too(tag):
    with open_local(options(workers=(1, 3)), Demand([4], 1), tag) as place:
        cluster = place.client.cluster
        cluster.scale(3)
        place.client.wait_for_workers(3, timeout=60)
        assert all(address.startswith("tls://") for address in addresses(place.client))
        assert tag.key_dir.exists()
    assert not tag.key_dir.exists()


@pytest.mark.filterwarnings("default:insecure=True")
def test_insecure_is_what_was_asked_for_and_says_so(tag, recwarn):
    with open_place(options(insecure=True), Demand([4], 1), tag) as place:
        (said,) = [one for one in recwarn if str(one.message).startswith("insecure=True: ")]
        assert said.category is UserWarning
        assert "Anyone who can reach this machine" in str(said.message)
        assert not tag.key_dir.exists()
        assert all(server.address.startswith("tcp://") for server in servers(place.client.cluster))
        assert "token" not in place.dashboard
        assert status_of(place.dashboard) == 200
        with Client(place.client.scheduler.address, set_as_default=False) as anybody:
            assert anybody.submit(sum, (1, 2)).result() == 3

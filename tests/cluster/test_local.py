"""Local workers: their number, and what is left behind."""

from __future__ import annotations

import asyncio
import multiprocessing.spawn
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import attrs
import dask
import psutil
import pytest
from distributed import Client
from distributed.core import Status

import seedwise as sw
from seedwise.cluster.local import LocalPlace, _spawned_without_script, open_local
from seedwise.cluster.open import open_place
from seedwise.cluster.place import Demand, RunTag
from seedwise.cluster.pool.size import Backoff, Target
from seedwise.errors import ClusterStartError
from seedwise.model.options.study import RunOptions
from seedwise.model.options.work import ExecutionMode
from tests.faults.harness import RUN, driver, expected_table
from tests.faults.loss import evaluations
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
        place._failed_starts = Backoff(0.2, 60.0)  # that it waits longer: see below
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


PACE_S = 0.2


def pids(run, since):
    return {pid for pid, _, _ in evaluations(run.evaluation_log)[since:]}


@pytest.mark.full
@pytest.mark.parametrize("n_trials", [6, RUN["n_trials"]])
def test_from_1_worker_to_3_to_1_in_a_run(tmp_path, client, n_trials):
    keywords = {**RUN, "n_trials": n_trials, "workers": 1, "max_concurrent_trials": 4}
    with driver(tmp_path, "scaled", keywords, pace_s=PACE_S) as run:
        run.start()
        poll(lambda: run.n_evaluations, "the first evaluation", 60)
        handle = sw.connect(run.directory.path)
        handle.scale(3)
        poll(lambda: handle.status().pool.joined == 3, "3 workers", 60)
        handle.scale(1)
        poll(lambda: handle.status().pool.joined == 1, "1 worker", 60)
        since = len(evaluations(run.evaluation_log))
        poll(lambda: len(evaluations(run.evaluation_log)) > since + 4, "more work", 60)
        assert len(pids(run, since)) == 1
        assert len(pids(run, 0)) == 3
        run.set_pace(0)
        assert run.wait(120) == 0, run.stderr
        assert "lost" not in run.stderr
        done = [(trial, seed) for _, trial, seed in evaluations(run.evaluation_log)]
        assert len(done) == len(set(done)) == n_trials * RUN["n_seeds"]
        assert run.table == expected_table(client, keywords)


@pytest.mark.full
def test_workers_follow_the_work(tmp_path):
    """One chunk in flight has no use for more than one worker; four have."""
    keywords = {**RUN, "workers": [1, 3], "chunk_size": 24, "max_concurrent_trials": 1}
    with driver(tmp_path, "narrow", keywords, pace_s=PACE_S) as run:
        run.start()
        poll(lambda: len(evaluations(run.evaluation_log)) > 30, "two trials", 60)
        assert len(pids(run, 0)) == 1
        assert sw.run_status(run.directory.path).pool.wanted == 1
    with driver(tmp_path, "wide", {**keywords, "chunk_size": 6}, pace_s=PACE_S) as run:
        run.start()
        poll(lambda: len(pids(run, 0)) == 3, "three workers", 60)


@pytest.mark.full
def test_the_number_of_threads_is_the_same_for_workers_that_come_later(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)  # of a Dask cluster in this process

    def threads(params, seed):
        import os
        import time

        time.sleep(0.2)
        return float(os.environ["OPENBLAS_NUM_THREADS"])

    loss = sw.loss(name="threads", description="t", parameter_space={"x": (0, 1)})(threads)
    common = {"n_seeds": 8, "chunk_size": 1, "run_root": tmp_path, "progress": False}
    for n_threads in (3, 2):
        options = {"workers": (1, 2), "cpus_per_task": n_threads, "n_trials": 6}
        result = sw.optimize_run(loss, **common, **options)
        assert {trial.value for trial in result.trials} == {n_threads}
        assert "OPENBLAS_NUM_THREADS" not in os.environ


# The pool by itself, with a cluster that does as it is told.


@attrs.define
class Nanny:
    """A nanny, as far as the pool sees it."""

    status: Status = Status.running
    alive: bool = True
    closed: bool = False

    def is_alive(self):
        return self.alive

    async def close(self):
        self.closed = True


@attrs.define
class Member:
    """What a scheduler knows of a worker."""

    name: int
    address: str
    status: Status = Status.running
    processing: tuple = ()


class Members(dict):
    """A scheduler's workers: to go through them out of the loop is a race."""

    loop = None

    def values(self):
        assert threading.current_thread() is self.loop
        return super().values()


@attrs.define
class Cluster:
    """A local cluster, and the clock and the client, as far as the pool sees them."""

    now_s: float = 0.0
    worker_spec: dict = attrs.field(factory=dict)
    workers: dict = attrs.field(factory=dict)
    members: Members = attrs.field(factory=Members)
    is_creating: bool = False
    start_error: Exception | None = None
    n_started: int = 0
    starts: bool = True
    instantly: bool = True
    callbacks: list = attrs.field(factory=list)

    @property
    def scheduler(self):
        return attrs.make_class("Scheduler", ["workers"])(self.members)

    @property
    def loop(self):
        return self

    def add_callback(self, function):
        self.callbacks.append(function)

    def sync(self, function):
        errors, results = [], []

        def run():
            try:
                results.append(asyncio.run(function()))
            except BaseException as error:
                errors.append(error)

        self.members.loop = threading.Thread(target=run)
        self.members.loop.start()
        self.members.loop.join()
        if errors:
            raise errors[0]
        return results[0]

    def scale(self, n):
        while len(self.worker_spec) < n:
            self.worker_spec[next(i for i in range(n) if i not in self.worker_spec)] = {}
            self.n_started += 1
        self.is_creating = True
        if self.instantly:
            self.create()

    def create(self):
        self.is_creating = False
        for name in self.worker_spec.keys() - self.workers.keys():
            if self.starts:
                self.workers[name] = Nanny()
                self.join(name)
            else:
                self.workers[name] = Nanny(Status.failed, alive=False)
                self.start_error = RuntimeError("Nanny failed to start.")
                self.start_error.__cause__ = OSError("No space left on device")

    def join(self, name):
        self.members[f"tls://{name}"] = Member(name, f"tls://{name}")

    def lose(self, name):
        self.members.pop(f"tls://{name}", None)

    def kill(self, name):
        """Have a worker die that its nanny gives up."""
        self.workers[name].status, self.workers[name].alive = Status.closed, False
        self.lose(name)


@pytest.fixture
def cluster():
    return Cluster()


def make_place(cluster, least=1, most=None):
    return LocalPlace(
        client=cluster,
        mode=ExecutionMode.SINGLE,
        description="a local cluster",
        cluster=cluster,
        target=Target(least, most or least, 1),
        clock=lambda: cluster.now_s,
    )


def steps(place, cluster, seconds=1):
    for _ in range(seconds):
        cluster.now_s += 1
        place.check()


def test_a_worker_that_dask_has_forgotten_is_gone(cluster):
    """It closes a worker that is away for long, and goes on counting it."""
    place = make_place(cluster)
    steps(place, cluster, 2)
    del cluster.workers[0]
    cluster.lose(0)
    steps(place, cluster)
    assert (place.pool().joined, place.pool().lost, cluster.n_started) == (1, 1, 2)
    assert [news.text for news in place.news()] == [
        "worker 0 joined",
        "worker 0 was lost, and does not come back",
    ]


def test_a_worker_that_is_to_leave_and_that_dask_has_forgotten_has_left(cluster):
    place = make_place(cluster, 2)
    steps(place, cluster, 2)
    place.scale(1, 1)
    (leaving,) = place._leaving
    del cluster.workers[leaving]
    cluster.lose(leaving)
    steps(place, cluster)
    assert [news.kind for news in place.news()] == ["joined", "joined", "scaled", "left"]
    assert (place.pool().joined, place.pool().pending, cluster.n_started) == (1, 0, 2)


def test_workers_that_are_being_created_are_waited_for(cluster):
    cluster.instantly = False
    place = make_place(cluster, 3)
    steps(place, cluster, 100)
    assert (place.pool().pending, cluster.n_started) == (3, 3)
    cluster.create()
    steps(place, cluster)
    assert (place.pool().joined, cluster.n_started) == (3, 3)


def test_a_worker_that_starts_anew_is_waited_for_unless_it_hangs(cluster):
    place = make_place(cluster)
    steps(place, cluster)
    nanny = cluster.workers[0]
    cluster.lose(0)
    steps(place, cluster, 200)
    cluster.join(0)
    steps(place, cluster)
    cluster.lose(0)
    steps(place, cluster, 200)
    assert (cluster.n_started, nanny.closed) == (1, False)
    steps(place, cluster, 200)
    assert (cluster.n_started, nanny.closed) == (2, True)
    assert place.pool().joined == 1


def test_what_dask_forgets_meanwhile_is_no_error(cluster):
    place = make_place(cluster)
    steps(place, cluster)
    nanny = cluster.workers[0]
    cluster.kill(0)
    del cluster.worker_spec[0]
    steps(place, cluster)
    assert nanny not in cluster.workers.values()
    assert place.pool().joined == 1


def test_a_nanny_that_can_not_be_closed_is_no_error(cluster):
    class Stuck(Nanny):
        async def close(self):
            raise TimeoutError

    place = make_place(cluster)
    steps(place, cluster)
    cluster.workers[0] = Stuck(Status.closed, alive=False)
    cluster.lose(0)
    steps(place, cluster)
    assert place.pool().joined == 1


def test_workers_are_looked_at_in_the_loop_only(cluster):
    place = make_place(cluster, 3)
    steps(place, cluster)
    place.scale(1, 1)
    assert place.pool().joined == 3
    assert len(cluster.callbacks) == 1  # that has two of them leave
    assert len(place._leaving) == 2


def test_workers_that_never_start_end_the_run(cluster):
    cluster.starts = False
    place = make_place(cluster, 8)
    with pytest.raises(ClusterStartError) as caught:
        steps(place, cluster, 600)
    assert str(caught.value) == (
        "local workers did not start: 3 attempts in a row failed, the last one with "
        "OSError: No space left on device"
    )
    assert cluster.n_started == 8 + 1 + 1
    assert cluster.now_s > 2 + 4
    assert [news.text.partition(":")[0] for news in place.news()] == [
        "8 workers did not start",
        "1 worker did not start",
        "1 worker did not start",
    ]
    with pytest.raises(
        ClusterStartError
    ):  # the first one may have been told to who asked to scale
        place.check()


def test_workers_that_can_not_even_be_made_end_the_run(cluster):
    """Dask then counts them, and has no nanny of them."""
    cluster.starts, cluster.instantly = False, False
    place = make_place(cluster)

    def go_on():
        for _ in range(600):
            steps(place, cluster)
            cluster.is_creating = False

    with pytest.raises(ClusterStartError, match="no reason given"):
        go_on()
    assert cluster.n_started == 3


def test_as_many_as_start_are_enough_to_go_on_with(cluster):
    place = make_place(cluster, 2)
    steps(place, cluster)
    cluster.starts = False
    place.scale(1000, 1000)
    steps(place, cluster, 600)
    assert place.pool().joined == 2
    assert cluster.n_started < 2 + 998 + 20
    cluster.starts = True
    steps(place, cluster, 70)
    assert place.pool().joined == 1000


def test_one_that_joins_between_failures_shows_that_they_can_start(cluster):
    place = make_place(cluster)
    for _ in range(5):
        cluster.starts = False
        steps(place, cluster, 2)  # the first or the second attempt fails
        cluster.starts = True
        steps(place, cluster, 60)
        assert place.pool().joined == 1
        cluster.kill(0)


def test_workers_that_are_killed_after_they_joined_have_not_failed_to_start(cluster):
    place = make_place(cluster)
    for _ in range(5):
        steps(place, cluster, 20)
        cluster.kill(0)
    steps(place, cluster)
    assert place.pool().joined == 1
    assert [news.kind for news in place.news()] == ["joined", "lost"] * 5


def test_replacements_are_within_a_budget(cluster):
    place = make_place(cluster)
    for _ in range(50):
        steps(place, cluster)
        if 0 in cluster.workers:
            cluster.kill(0)
    assert cluster.n_started == 4  # in a minute
    steps(place, cluster, 60)
    assert place.pool().joined == 1


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [(1, 1, "1 worker"), (2, 2, "2 workers"), (1, 2, "1 to 2 workers")],
)
def test_what_was_asked_for_in_words(cluster, least, most, text):
    place = make_place(cluster)
    place.scale(least, most)
    assert place.news()[0].text == f"{text} wanted"

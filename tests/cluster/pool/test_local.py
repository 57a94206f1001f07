"""Local workers that are scaled while they work."""

from __future__ import annotations

import asyncio
import os
import threading

import attrs
import pytest
from distributed.core import Status

import seedwise as sw
from seedwise.cluster.pool.local import LocalPlace
from seedwise.cluster.pool.size import Target
from seedwise.errors import ClusterStartError
from seedwise.model.options.mode import ExecutionMode
from tests.faults.harness import RUN, driver, expected_table
from tests.faults.loss import evaluations
from tests.testbed.daemons import poll

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


def test_a_worker_that_dask_has_forgotten_is_replaced(cluster):
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

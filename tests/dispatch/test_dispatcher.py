"""The road to the workers: keys, priorities, the one journey of the loss, lost workers."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster, wait
from distributed.diagnostics.plugin import SchedulerPlugin

import seedwise as sw
from seedwise.dispatch import clock as trial_clock
from seedwise.dispatch import dispatcher as dispatch
from seedwise.dispatch.channel import Channel, Order, Traffic
from seedwise.dispatch.dispatcher import DaskDispatcher, _Sent
from seedwise.driver.workplace import bring
from seedwise.errors import ChunkTooLongError, ClusterError, NoCompleteTrialError
from seedwise.model.options.study import RunOptions
from seedwise.model.seeds import seed_plan
from seedwise.model.trials import ChunkResult, Proposal
from seedwise.usercode.pack import pack
from tests.dispatch.clusters import die, fake_cluster, hang, real_cluster
from tests.dispatch.test_clock import n_running
from tests.losses import bowl
from tests.tables import table
from tests.testbed.daemons import poll

PARAMS = {"x": 0.1, "rate": 0.2, "n": 3, "kind": "plain", "flip": True}


def losses_by_start(results) -> list[float]:
    """Return the losses of a trial's chunks in the order of their seeds."""
    losses = {result.start: result.losses.tolist() for result in results}
    assert len(losses) == len(list(results))
    return [loss for start in sorted(losses) for loss in losses[start]]


def expected(params, plan) -> list[float]:
    return [bowl(params, seed) for seed in plan.seeds.tolist()]


def still_out(dispatcher) -> set[tuple[Channel, int, int]]:
    return {
        (order.channel, order.task.trial, order.task.chunk.index)
        for sent in dispatcher._out.values()
        for order in sent.orders
    }


def waiting(dispatcher) -> list[tuple[int, int, int]]:
    tasks = [order.task for order in dispatcher._backlog]
    return sorted((task.trial, task.chunk.index, task.attempt) for task in tasks)


class SeenKeys(SchedulerPlugin):
    name = "seen-keys"

    def __init__(self):
        self.keys = {}

    def transition(self, key, start, finish, *args, **kwargs):
        if start == "released":  # others are earlier tests' that end
            self.keys.setdefault(str(key), None)


@pytest.fixture(scope="module")
def shared_client():
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def own_client(shared_client):
    """Client of a cluster whose workers a test may kill: they come back before the next one."""
    shared_client.wait_for_workers(2)
    return shared_client


@pytest.fixture
def cluster(request, monkeypatch):
    """Give a cluster of two workers that a test may do any harm to."""
    with fake_cluster(monkeypatch) if request.param == "fake" else real_cluster() as cluster:
        yield cluster


#: Most of what is done to a fake cluster is done to a real one in the full count only: a real one
#: takes a second to start.
ON_FAKE = pytest.mark.parametrize(
    "cluster", ["fake", pytest.param("dask", marks=pytest.mark.full)], indirect=True
)
#: These show each time that a real one does as the fake does.
ON_BOTH = pytest.mark.parametrize("cluster", ["fake", "dask"], indirect=True)


def own_loss(name, function) -> sw.LossDefinition:
    return sw.loss(name=name, description=name, parameter_space={"x": (0, 1)})(function)


@contextlib.contextmanager
def dispatching(
    client, loss, **traffic
) -> Iterator[tuple[DaskDispatcher, functools.partial[Channel]]]:
    """Bring a loss to the workers; yield a dispatcher and what makes its channels."""
    options = RunOptions.from_keywords({})
    traffic = Traffic(**{"tick_s": 1, **traffic})
    with (
        bring(client, pack(loss, options).shipment, options) as loss_id,
        DaskDispatcher(client, lambda: None, traffic) as dispatcher,
    ):
        names = {"loss_id": loss_id, "loss_name": loss.name, "run_name": "run"}
        yield dispatcher, functools.partial(Channel, dispatcher, **names)


def await_results(dispatcher, n: int) -> list[tuple[Channel, ChunkResult]]:
    """Wait for as many results."""
    results = []
    while len(results) < n:
        results += dispatcher.wait()
    assert len(results) == n
    return results


def test_keys_name_run_trial_and_chunk(tmp_path, client):
    seen = SeenKeys()
    client.cluster.scheduler.add_plugin(seen)
    try:
        sw.optimize_run(
            bowl, n_trials=2, n_seeds=4, chunk_size=2, cluster=client, run_root=tmp_path
        )
    finally:
        client.cluster.scheduler.remove_plugin(seen.name)
    keys = [key for key in seen.keys if key.startswith("bowl-")]
    ends = sorted(key.partition("-t")[2] for key in keys)
    assert ends == ["00000-c00000-a1", "00000-c00001-a1", "00001-c00000-a1", "00001-c00001-a1"]
    assert all(key.startswith("bowl-bowl_v0001-") for key in keys)
    # One prefix a loss: the dashboard's colour, and Dask's estimate of durations.
    assert client.cluster.scheduler.task_prefixes["bowl"].duration_average > 0


def test_the_loss_travels_once_a_worker(own_client, tmp_path):
    """The worker's plugin holds it; what travels with a chunk is small."""
    ballast = os.urandom(200_000)
    loss = sw.loss(name="heavy", description="heavy", parameter_space={"x": (0, 1)})(
        lambda params, seed: params["x"] + len(ballast)
    )
    assert len(pack(loss, RunOptions.from_keywords({})).shipment.pickled) > 200_000
    with dispatching(own_client, loss, tick_s=10) as (dispatcher, make):
        held = own_client.run(lambda dask_worker: sorted(dask_worker.plugins))
        assert all(make.keywords["loss_id"] in plugins for plugins in held.values())
        channel = make()
        chunk = next(seed_plan(n_seeds=10).chunks())
        channel.submit(Proposal(0, {"x": 0.5}), [chunk], attempt=1)
        ((order,),) = [sent.orders for sent in dispatcher._out.values()]
        assert len(pickle.dumps(order.task)) < 2000
        ((whose, result),) = dispatcher.wait()
        assert whose is channel
        assert result.losses.tolist() == [200_000.5] * 10
        # A worker that joins late has it, too.
        own_client.cluster.scale(len(held) + 1)
        own_client.wait_for_workers(len(held) + 1)
        n_before, held = len(held), own_client.run(lambda dask_worker: sorted(dask_worker.plugins))
        assert len(held) == n_before + 1
        assert all(make.keywords["loss_id"] in plugins for plugins in held.values())
    held = own_client.run(lambda dask_worker: sorted(dask_worker.plugins))
    assert not any(make.keywords["loss_id"] in plugins for plugins in held.values())


def test_a_killed_worker_changes_nothing(own_client, tmp_path):
    marker = tmp_path / "killed"

    def murderous(params, seed):
        if seed == 11 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl.function(params, seed)

    loss = sw.loss(
        name="bowl", description="kills its worker once", parameter_space=bowl.parameter_space
    )(murderous)
    options = {"n_trials": 12, "n_seeds": 20, "chunk_size": 5, "progress": False}
    hurt = sw.optimize_run(loss, cluster=own_client, run_root=tmp_path, **options)
    assert marker.exists()
    whole = sw.optimize_run(bowl, cluster=own_client, run_root=tmp_path, **options)
    assert table(hurt) == table(whole)


def test_a_chunk_that_kills_every_worker_fails_its_trial(own_client, tmp_path):
    loss = sw.loss(name="deadly", description="kills", parameter_space={"x": (0, 1)})(
        lambda params, seed: os.kill(os.getpid(), signal.SIGKILL)
    )
    with pytest.raises(NoCompleteTrialError, match="seed 0: ProcessDied: its process was killed"):
        sw.optimize_run(
            loss,
            n_trials=1,
            n_seeds=1,
            trial_retry_attempts=0,
            cluster=own_client,
            run_root=tmp_path,
            progress=False,
        )


@ON_BOTH
def test_a_trial_that_runs_for_too_long_fails_and_frees_its_worker(cluster):
    """Its running time is bounded; the worker that it held works again."""
    loss = own_loss("stuck", lambda params, seed: hang() if params["x"] == 0.5 else float(seed))
    cluster.retire(*cluster.workers[1:])
    options = {"tick_s": 0.1, "running_limit_s": 0.3}
    with dispatching(cluster.client, loss, **options) as (dispatcher, make):
        channel, chunks = make(), list(seed_plan(n_seeds=1).chunks())
        channel.submit(Proposal(0, {"x": 0.5}), chunks, 1)
        ((whose, result),) = await_results(dispatcher, 1)
        dispatcher._clock.limit_s = 1e6  # a busy machine may take long
        channel.submit(Proposal(1, {"x": 0.25}), chunks, 1)
        ((_, next_result),) = await_results(dispatcher, 1)
    assert whose is channel
    assert result.failure.exception_type == "TrialTimeout"
    assert "slurm_timeout_minutes=0.005" in result.failure.message
    assert next_result.losses.tolist() == [0.0]


@ON_FAKE
def test_a_trial_that_runs_for_too_long_may_go_on(cluster, tmp_path):
    loss, late = waiting_loss(tmp_path), []

    def on_late(trial):
        late.append(trial)
        (tmp_path / "go").touch()

    options = {"tick_s": 0.05, "running_limit_s": 0.1, "ends_late_trials": False}
    with dispatching(cluster.client, loss, **options, on_late=on_late) as (dispatcher, make):
        channel = make()
        channel.submit(Proposal(7, {"x": 0.5}), list(seed_plan(n_seeds=1).chunks()), 1)
        ((_, result),) = await_results(dispatcher, 1)
    assert result.failure is None
    assert late
    assert set(late) == {(None, 7, "")}


@ON_FAKE
@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_only_the_trial_that_runs_for_too_long_fails_of_those_in_a_pack(cluster, numbers):
    """Nor does any chunk of another get lost: those in packs, alone, or not sent yet."""
    quick, slow = numbers
    loss = own_loss("some", lambda params, seed: hang() if params["x"] == slow else float(seed))
    cluster.retire(*cluster.workers[1:])
    options = {"tick_s": 0.1, "running_limit_s": 0.3, "packs": True}
    with dispatching(cluster.client, loss, **options) as (dispatcher, make):
        dispatcher.pack.size = 2
        channel = make()
        chunks = list(seed_plan(n_seeds=2, chunk_size=1).chunks())
        channel.submit(Proposal(quick, {"x": float(quick)}), chunks[:1], 1)
        channel.submit(Proposal(slow, {"x": float(slow)}), chunks, 1)
        dispatcher._send_backlog()  # a pack of two trials, and one of a chunk
        results = [result for _, result in await_results(dispatcher, 3)]
    failed = {(r.trial, r.chunk): r.failure and r.failure.exception_type for r in results}
    assert failed == {(quick, 0): None, (slow, 0): "TrialTimeout", (slow, 1): "TrialTimeout"}


@ON_FAKE
def test_what_waits_for_a_worker_between_two_chunks_costs_a_trial_nothing(cluster, monkeypatch):
    now = SimpleNamespace(s=1000.0, monotonic=lambda: now.s)
    monkeypatch.setattr(trial_clock, "time", now)
    loss = own_loss("fine", lambda params, seed: float(seed))
    chunks = list(seed_plan(n_seeds=2, chunk_size=1).chunks())
    options = {"tick_s": 0.05, "running_limit_s": 10.0}
    with dispatching(cluster.client, loss, **options) as (dispatcher, make):
        channel = make()
        channel.submit(Proposal(0, {"x": 0.5}), chunks[:1], 1)
        await_results(dispatcher, 1)
        cluster.retire(*cluster.workers)
        channel.submit(Proposal(0, {"x": 0.5}), chunks[1:], 1)
        for _ in range(3):
            now.s += 7200.0
            assert dispatcher.wait() == []
        cluster.add_worker()
        ((_, result),) = await_results(dispatcher, 1)
    assert result.failure is None


def test_what_is_called_off_does_not_keep_the_clock_of_its_trial_going(client, tmp_path):
    with dispatching(client, waiting_loss(tmp_path), running_limit_s=1e6) as (dispatcher, make):
        channel = make()
        chunks = list(seed_plan(n_seeds=2, chunk_size=1).chunks())
        channel.submit(Proposal(0, {"x": 0.5}), chunks, 1)
        poll(lambda: n_running(dispatcher._clock) == 2, "the workers to say so")
        channel.cancel(0, first_chunk=1)
        assert n_running(dispatcher._clock) == 1
        (tmp_path / "go").touch()
        await_results(dispatcher, 1)
        assert n_running(dispatcher._clock) == 0


@ON_BOTH
@pytest.mark.parametrize("told_before", [False, True], ids=["unseen", "seen"])
def test_a_result_whose_worker_is_lost_before_it_is_fetched_comes_all_the_same(
    cluster, told_before
):
    plan = seed_plan(n_seeds=8, chunk_size=2)
    with dispatching(cluster.client, bowl) as (dispatcher, make):
        make().submit(Proposal(0, PARAMS), list(plan.chunks()), attempt=1)
        cluster.await_all([sent.future for sent in dispatcher._out.values()])
        keys = dispatcher._done_keys() if told_before else []
        cluster.kill(*cluster.workers)
        results = [result for _, result in dispatcher._collect(keys)]
        results += [r for _, r in await_results(dispatcher, plan.n_chunks - len(results))]
    assert losses_by_start(results) == expected(PARAMS, plan)


@ON_BOTH
def test_the_chunks_of_a_lost_worker_are_told_and_run_in_a_process_of_their_own(cluster, tmp_path):
    flag, lost = tmp_path / "died", []

    def once(params, seed):
        if seed == 3 and not flag.exists():
            flag.touch()
            die()
        return float(os.getpid())

    plan = seed_plan(n_seeds=4, chunk_size=4)
    with dispatching(cluster.client, own_loss("once", once)) as (dispatcher, make):
        channel = make(on_lost=lost.append)
        channel.submit(Proposal(5, {"x": 0.5}), list(plan.chunks()), attempt=1)
        ((_, result),) = await_results(dispatcher, 1)
        workers = cluster.pids
    assert [(event.trial, event.chunk_start) for event in lost] == [(5, 0)]
    assert result.attempt == 1
    assert len(set(result.losses)) == 1
    assert result.losses[0] not in workers


# Several channels.


@pytest.mark.parametrize("packs", [False, True])
def test_each_channel_gets_its_own_results(client, packs):
    plan = seed_plan(n_seeds=6, chunk_size=2)
    with dispatching(client, bowl, packs=packs) as (dispatcher, make):
        # Of the same trial numbers and chunks: what tells them apart is the entry.
        ways = [make(run_name=f"run-{e}", entry_id=e) for e in ("a", "b")]
        channels = {way: 0.1 * i for i, way in enumerate(ways, start=1)}
        for number in range(3):
            for channel, x in channels.items():
                channel.submit(Proposal(number, {**PARAMS, "x": x}), list(plan.chunks()), 1)
        results = await_results(dispatcher, 2 * 3 * 3)
    for channel, x in channels.items():
        for number in range(3):
            own = [r for whose, r in results if whose is channel and r.trial == number]
            assert losses_by_start(own) == expected({**PARAMS, "x": x}, plan)


def test_to_cancel_a_trial_of_one_channel_leaves_those_of_others(client):
    plan = seed_plan(n_seeds=6, chunk_size=2)
    with dispatching(client, bowl) as (dispatcher, make):
        one, other = (make(run_name=name) for name in ("one", "other"))
        for channel in (one, other):
            channel.submit(Proposal(0, PARAMS), list(plan.chunks()), 1)
        one.cancel(0, first_chunk=1)
        assert still_out(dispatcher) == {(one, 0, 0), *((other, 0, c) for c in range(3))}
        results = await_results(dispatcher, 4)
    own = [result for channel, result in results if channel is other]
    assert losses_by_start(own) == expected(PARAMS, plan)


@ON_FAKE
def test_a_lost_chunk_is_told_to_the_channel_that_it_is_of(cluster, tmp_path):
    flag, lost = tmp_path / "died", {"fine": [], "once": []}

    def once(params, seed):
        if params["x"] == 1.0 and not flag.exists():
            flag.touch()
            die()
        return float(seed)

    chunks = list(seed_plan(n_seeds=2).chunks())
    with dispatching(cluster.client, own_loss("once", once)) as (dispatcher, make):
        results = []
        for name, x in (("fine", 0.0), ("once", 1.0)):
            channel = make(run_name=name, on_lost=lost[name].append)
            channel.submit(Proposal(0, {"x": x}), chunks, 1)
            results += await_results(dispatcher, 1)
    assert [result.losses.tolist() for _, result in results] == [[0.0, 1.0]] * 2
    assert [(event.trial, event.chunk_start) for event in lost["once"]] == [(0, 0)]
    assert lost["fine"] == []


# Packs.


@pytest.fixture
def sizes(monkeypatch) -> list[int]:
    """How many chunks each Dask task had that was sent."""
    sizes: list[int] = []
    send = DaskDispatcher._send

    def counted(self, packs, suffix=""):
        sizes.extend(len(pack) for pack in packs)
        send(self, packs, suffix)

    monkeypatch.setattr(DaskDispatcher, "_send", counted)
    return sizes


def test_many_small_chunks_share_tasks_and_come_back_as_if_they_did_not(client, sizes):
    plan, n_trials = seed_plan(n_seeds=6, chunk_size=2), 300
    waiting = [Proposal(number, {**PARAMS, "x": number / n_trials}) for number in range(n_trials)]
    todo, results, n_out = list(waiting), [], 0
    with dispatching(client, bowl, packs=True, slots=lambda: 2) as (dispatcher, make):
        channel = make()
        assert dispatcher.pack.chunks_wanted == 6
        while todo or n_out:
            while todo and n_out < dispatcher.pack.chunks_wanted:
                channel.submit(todo.pop(0), list(plan.chunks()), attempt=1)
                n_out += plan.n_chunks
            come = dispatcher.wait()
            n_out -= len(come)
            results += come
        assert dispatcher.pack.chunks_wanted > 6
    assert {whose for whose, _ in results} == {channel}
    # On a busy machine, what is left of a pack that took long is sent once more.
    assert sum(sizes) >= len(results) == n_trials * plan.n_chunks
    assert max(sizes) > 1
    assert len(sizes) < len(results)
    for number, params in ((proposal.number, proposal.params) for proposal in waiting):
        own = [result for _, result in results if result.trial == number]
        assert {result.attempt for result in own} == {1}
        assert losses_by_start(own) == expected(params, plan)


def test_a_pack_is_to_take_a_quarter_of_a_second_and_no_more_than_memory_likes(client):
    with dispatching(client, bowl, packs=True, slots=lambda: 4) as (dispatcher, make):
        wanted = {}
        channel = make()
        for duration_s in (10.0, 0.1, 0.0025, 0.0):
            result = ChunkResult(0, 0, 1, 0, 1, duration_s=duration_s)
            sent = _Sent([Order(channel, None)], client.scatter(result))
            before = dispatcher.pack.chunks_wanted
            assert [one.duration_s for _, one in dispatcher._fetch([sent])] == [duration_s]
            assert dispatcher.pack.chunks_wanted <= 2 * before  # the next may take longer
            for _ in range(10):
                dispatcher._fetch([sent])
            wanted[duration_s] = dispatcher.pack.chunks_wanted
    assert wanted == {10.0: 12, 0.1: 24, 0.0025: 1200, 0.0: 6000}


def test_chunks_that_take_long_have_a_task_each(client, sizes):
    with dispatching(client, bowl, packs=True) as (dispatcher, make):
        make().submit(Proposal(0, PARAMS), list(seed_plan(n_seeds=6, chunk_size=2).chunks()), 1)
        await_results(dispatcher, 3)
    assert sizes == [1, 1, 1]


def test_a_failure_in_a_pack_is_that_of_its_chunk_only(client):
    def failing(params, seed):
        if seed == 2 and params["x"] == 0.5:
            raise ValueError("no way")
        return seed

    plan = seed_plan(n_seeds=6, chunk_size=2)
    with dispatching(client, own_loss("failing", failing), packs=True) as (dispatcher, make):
        dispatcher.pack.size = 6
        channel = make()
        for number, x in enumerate((0.5, 0.25)):
            channel.submit(Proposal(number, {"x": x}), list(plan.chunks()), 1)
        results = await_results(dispatcher, 6)
    failed = {(r.trial, r.chunk): r.failure.seed for _, r in results if r.failure is not None}
    assert failed == {(0, 1): 2}


def test_an_isolated_chunk_shares_its_task_with_none(client, sizes):
    plan = seed_plan(n_seeds=6, chunk_size=2)
    with dispatching(client, bowl, packs=True) as (dispatcher, make):
        dispatcher.pack.size = 9
        channel, chunks = make(), list(plan.chunks())
        channel.submit(Proposal(0, PARAMS), chunks[:2], 1)
        channel.submit(Proposal(0, PARAMS), chunks[2:], 2, isolated=True)
        results = [result for _, result in await_results(dispatcher, 3)]
    # On a busy machine, what is left of the pack may be sent once more.
    assert sorted(sizes[:2]) == [1, 2]
    assert losses_by_start(results) == expected(PARAMS, plan)


@ON_FAKE
def test_of_a_lost_pack_each_chunk_is_run_again_by_itself(cluster, tmp_path, sizes):
    flag, lost = tmp_path / "died", []

    def once(params, seed):
        if params["x"] == 0.5 and not flag.exists():
            flag.touch()
            die()
        return seed + params["x"]

    (chunk,) = seed_plan(n_seeds=3).chunks()
    points = {number: {"x": number / 4} for number in range(5)}
    with dispatching(cluster.client, own_loss("once", once), packs=True) as (dispatcher, make):
        dispatcher.pack.size = 5
        channel = make(on_lost=lost.append)
        for number, params in points.items():
            channel.submit(Proposal(number, params), [chunk], 1)
        results = await_results(dispatcher, 5)
    assert sizes == [5, 1, 1, 1, 1, 1]
    assert sorted((event.trial, event.chunk_start) for event in lost) == [(n, 0) for n in points]
    assert {result.attempt for _, result in results} == {1}
    assert {result.trial: result.losses.tolist() for _, result in results} == {
        number: [seed + params["x"] for seed in range(3)] for number, params in points.items()
    }


@ON_FAKE
def test_a_pack_whose_worker_is_lost_before_it_is_fetched_comes_all_the_same(cluster):
    plan = seed_plan(n_seeds=8, chunk_size=2)
    with dispatching(cluster.client, bowl, packs=True) as (dispatcher, make):
        dispatcher.pack.size = 3
        make().submit(Proposal(0, PARAMS), list(plan.chunks()), attempt=1)
        dispatcher._send_backlog()
        assert len(dispatcher._out) == 2
        cluster.await_all([sent.future for sent in dispatcher._out.values()])
        cluster.kill(*cluster.workers)
        results = [result for _, result in await_results(dispatcher, plan.n_chunks)]
    assert losses_by_start(results) == expected(PARAMS, plan)


def test_to_cancel_forgets_what_waits_and_packs_that_hold_nothing_else(client):
    plan = seed_plan(n_seeds=6, chunk_size=2)
    chunks = list(plan.chunks())
    with dispatching(client, bowl, packs=True) as (dispatcher, make):
        dispatcher.pack.size = 2
        channel = make()
        for number in (0, 1):  # packs: 0.0 0.1, 0.2 1.0, 1.1 1.2
            channel.submit(Proposal(number, PARAMS), chunks, 1)
        dispatcher._send_backlog()
        for number in (0, 2):  # these wait
            channel.submit(Proposal(number, PARAMS), chunks[:2], 2)
        channel.cancel(0, first_chunk=1)
        assert still_out(dispatcher) == {(channel, n, c) for n in (0, 1) for c in range(3)}
        assert waiting(dispatcher) == [(0, 0, 2), (2, 0, 2), (2, 1, 2)]
        channel.cancel(0)
        assert still_out(dispatcher) == {(channel, 0, 2), *((channel, 1, c) for c in range(3))}
        assert waiting(dispatcher) == [(2, 0, 2), (2, 1, 2)]
        results = [result for _, result in await_results(dispatcher, 6)]
    assert sorted((r.trial, r.chunk) for r in results) == [
        (0, 2),  # it came with another
        *((1, c) for c in range(3)),
        (2, 0),
        (2, 1),
    ]
    assert losses_by_start([r for r in results if r.trial == 1]) == expected(PARAMS, plan)


def test_in_the_end_nothing_is_out_and_nothing_waits(client):
    with dispatching(client, bowl, packs=True) as (dispatcher, make):
        dispatcher.pack.size = 2
        channel, chunks = make(), list(seed_plan(n_seeds=6).chunks())
        channel.submit(Proposal(0, PARAMS), chunks, 1)
        dispatcher._send_backlog()
        futures = [sent.future for sent in dispatcher._out.values()]
        channel.submit(Proposal(1, PARAMS), chunks, 1)
    assert (still_out(dispatcher), waiting(dispatcher)) == (set(), [])
    assert {future.status for future in futures} <= {"cancelled", "finished"}


# Ticks.


def test_without_a_result_a_wait_ends_with_a_look(client):
    looks = []
    options = RunOptions.from_keywords({})
    with (
        bring(client, pack(bowl, options).shipment, options),
        DaskDispatcher(client, lambda: looks.append(1), Traffic(tick_s=0.05)) as dispatcher,
    ):
        assert dispatcher.wait() == []
        assert len(looks) == 1


def test_what_a_look_finds_ends_the_wait(client):
    def broken() -> None:
        raise ClusterError("no workers will come")

    with (
        DaskDispatcher(client, broken, Traffic(tick_s=0.05)) as dispatcher,
        pytest.raises(ClusterError, match="no workers will come"),
    ):
        dispatcher.wait()


def test_looks_at_the_cluster_are_more_frequent_than_those_at_trials(client, monkeypatch):
    looks = []
    monkeypatch.setattr(DaskDispatcher, "_overdue", lambda self: pytest.fail("not yet"))
    traffic = Traffic(tick_s=1000, running_limit_s=1000, check_s=0.05)
    with DaskDispatcher(client, lambda: looks.append(1), traffic) as dispatcher:
        for n_looks in (1, 2):
            assert dispatcher.wait() == []
            assert len(looks) == n_looks


def test_what_a_look_raises_costs_no_results(client):
    options = RunOptions.from_keywords({})
    broken = [ClusterError("it broke")]

    def look() -> None:
        if broken:
            raise broken.pop()

    plan = seed_plan(n_seeds=4, chunk_size=2)
    with (
        bring(client, pack(bowl, options).shipment, options) as loss_id,
        DaskDispatcher(client, look, Traffic(tick_s=1, check_s=0.0)) as dispatcher,
    ):
        channel = Channel(dispatcher, loss_id, bowl.name, "run")
        channel.submit(Proposal(0, PARAMS), list(plan.chunks()), 1)
        with client.as_current():
            wait([sent.future for sent in dispatcher._out.values()])
        with pytest.raises(ClusterError, match="it broke"):
            dispatcher.wait()
        results = [result for _, result in await_results(dispatcher, plan.n_chunks)]
    assert losses_by_start(results) == expected(PARAMS, plan)


def test_how_many_tasks_are_to_be_done(client):
    chunks = list(seed_plan(n_seeds=5, chunk_size=1).chunks())
    with dispatching(client, bowl, packs=True) as (dispatcher, make):
        assert dispatcher.n_outstanding == 0
        dispatcher.pack.size = 2
        make().submit(Proposal(0, PARAMS), chunks, 1)
        assert (len(dispatcher._backlog), dispatcher.n_outstanding) == (5, 3)
        dispatcher._send_backlog()
        assert (len(dispatcher._backlog), dispatcher.n_outstanding) == (0, 3)
        await_results(dispatcher, 5)
        assert dispatcher.n_outstanding == 0


def test_a_large_trial_goes_out_in_parts_of_few_tasks(client, monkeypatch):
    monkeypatch.setattr(dispatch, "_LEAST_OUT", 6)
    monkeypatch.setattr(dispatch, "_MOST_IN_MESSAGE", 4)
    sent, send = [], client.map
    monkeypatch.setattr(client, "map", lambda *given, **more: noted(send(*given, **more)))

    def noted(futures):
        sent.append((len(futures), len(dispatcher._out) + len(futures)))
        return futures

    plan = seed_plan(n_seeds=40, chunk_size=1)
    with dispatching(client, bowl) as (dispatcher, make):
        make().submit(Proposal(0, PARAMS), list(plan.chunks()), 1)
        assert (sent, dispatcher.n_outstanding) == ([(4, 4), (2, 6)], 40)
        results = [result for _, result in await_results(dispatcher, 40)]
    assert losses_by_start(results) == expected(PARAMS, plan)
    assert sum(n for n, _ in sent) == 40
    assert max(n_out for _, n_out in sent) == 6


# Workers that leave, and jobs that end.


def waiting_loss(folder) -> sw.LossDefinition:
    """Note each evaluation, and wait for leave to end."""

    def wait_for_it(params, seed):
        with (folder / "evaluations").open("a") as file:
            file.write(f"{seed} {os.getpid()}\n")
        while not (folder / "go").exists():
            time.sleep(0.01)
        return seed + params["x"]

    return own_loss("waits", wait_for_it)


def evaluations(folder) -> list[tuple[int, int]]:
    """Return the seeds that were evaluated, each with its process."""
    path = folder / "evaluations"
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


@ON_BOTH
@pytest.mark.parametrize("packs", [False, True])
def test_a_worker_that_leaves_has_nothing_evaluated_twice(cluster, tmp_path, packs):
    lost = []
    plan = seed_plan(n_seeds=12, chunk_size=1)
    with dispatching(cluster.client, waiting_loss(tmp_path), packs=packs) as (dispatcher, make):
        dispatcher.pack.size = 3
        channel = make(on_lost=lost.append)
        channel.submit(Proposal(0, {"x": 0.5}), list(plan.chunks()), 1)
        dispatcher._send_backlog()
        poll(lambda: len(evaluations(tmp_path)) == 2, "both workers to be at work")
        first, second = cluster.workers
        cluster.depart(first)
        (tmp_path / "go").touch()
        results = await_results(dispatcher, plan.n_chunks)
        poll(lambda: cluster.workers == [second], "the worker to be gone")
    seeds = plan.seeds.tolist()
    assert losses_by_start([r for _, r in results]) == [seed + 0.5 for seed in seeds]
    assert sorted(seed for seed, _ in evaluations(tmp_path)) == sorted(seeds)
    assert lost == []


@ON_FAKE
def test_a_chunk_goes_to_a_worker_whose_job_lasts_for_it(cluster):
    plan = seed_plan(n_seeds=8, chunk_size=2)
    short, long = cluster.workers
    cluster.ends_in(short, 60)
    cluster.ends_in(long, 7000)
    traffic = {"running_limit_s": 1e6, "walltime_s": 7200.0}
    with dispatching(cluster.client, bowl, **traffic) as (dispatcher, make):
        channel = make()
        dispatcher._walltime._recent.note(2, 600.0)  # earlier ones took ten minutes
        channel.submit(Proposal(0, PARAMS), list(plan.chunks()), 1)
        results = await_results(dispatcher, plan.n_chunks)
        poll(lambda: cluster.workers == [long], "the worker to leave")
    assert losses_by_start([r for _, r in results]) == expected(PARAMS, plan)
    assert {result.worker for _, result in results} == {cluster.name_of(long)}


@ON_FAKE
def test_a_chunk_waits_until_a_worker_joins_whose_job_lasts_for_it(cluster):
    plan = seed_plan(n_seeds=4, chunk_size=2)
    for worker in cluster.workers:
        cluster.ends_in(worker, 60)
    traffic = {"running_limit_s": 1e6, "walltime_s": 7200.0, "tick_s": 0.1}
    with dispatching(cluster.client, bowl, **traffic) as (dispatcher, make):
        dispatcher._walltime._recent.note(2, 600.0)
        make().submit(Proposal(0, PARAMS), list(plan.chunks()), 1)
        poll(lambda: cluster.workers == [], "the workers to leave")
        assert dispatcher.wait() == []
        assert dispatcher.n_outstanding == plan.n_chunks
        cluster.add_worker()
        results = await_results(dispatcher, plan.n_chunks)
    assert losses_by_start([r for _, r in results]) == expected(PARAMS, plan)
    assert {result.attempt for _, result in results} == {1}


@ON_BOTH
def test_a_worker_heeds_its_own_chunks_where_nothing_was_known_when_they_were_sent(cluster):
    plan = seed_plan(n_seeds=40, chunk_size=2)
    short, long = cluster.workers
    cluster.ends_in(short, 5.5)  # five seconds are left over in any case
    cluster.ends_in(long, 7000)
    loss = own_loss("slow", lambda params, seed: time.sleep(0.05) or float(seed))
    lost = []
    traffic = {"running_limit_s": 1e6, "walltime_s": 7200.0}
    with dispatching(cluster.client, loss, **traffic) as (dispatcher, make):
        channel = make(on_lost=lost.append)
        channel.submit(Proposal(0, {"x": 0.5}), list(plan.chunks()), 1)
        tasks = [sent.orders[0].task for sent in dispatcher._out.values()]
        results = await_results(dispatcher, plan.n_chunks)
        poll(lambda: cluster.workers == [long], "the worker to leave")
    assert {task.needs_s for task in tasks} == {None}
    assert losses_by_start([r for _, r in results]) == plan.seeds.tolist()
    assert lost == []


@pytest.fixture
def two_jobs(cluster, tmp_path, monkeypatch):
    """Two workers of jobs that end, one of them soon; kill that one when both are at work."""
    monkeypatch.setattr(trial_clock, "_NEAR_S", 1000.0)
    short, long = cluster.workers

    def kill() -> None:
        poll(lambda: len(evaluations(tmp_path)) == 2, "both workers to be at work")
        cluster.kill(short)

    cluster.ends_in(short, 500)
    cluster.ends_in(long, 7000)
    return kill


@ON_FAKE
def test_a_chunk_that_the_end_of_its_job_took_runs_again_as_it_was(two_jobs, cluster, tmp_path):
    lost, plan = [], seed_plan(n_seeds=2, chunk_size=1)
    traffic = {"running_limit_s": 1e6, "walltime_s": 7200.0}
    with dispatching(cluster.client, waiting_loss(tmp_path), **traffic) as (dispatcher, make):
        channel = make(on_lost=lost.append)
        channel.submit(Proposal(3, {"x": 0.5}), list(plan.chunks()), 1)
        poll(lambda: n_running(dispatcher._clock) == 2, "the workers to say so")
        two_jobs()
        while not lost:
            assert dispatcher.wait() == []
        tasks = [sent.orders[0].task for sent in dispatcher._out.values()]
        (tmp_path / "go").touch()
        results = await_results(dispatcher, 2)
        processes = cluster.pids
    assert losses_by_start([r for _, r in results]) == [0.5, 1.5]
    assert [event.trial for event in lost] == [3]
    assert [task.isolated for task in tasks] == [False, False]
    (needs_s,) = [task.needs_s for task in tasks if task.needs_s is not None]
    assert 400 < needs_s <= 501 * 1.05
    assert evaluations(tmp_path)[-1][1] in processes  # and not one of its own


@ON_FAKE
def test_a_chunk_that_took_a_whole_job_ends_the_wait(two_jobs, cluster, tmp_path):
    plan = seed_plan(n_seeds=2, chunk_size=1)
    traffic = {"running_limit_s": 1e6, "walltime_s": 600.0, "tick_s": 0.1}
    with dispatching(cluster.client, waiting_loss(tmp_path), **traffic) as (dispatcher, make):
        make().submit(Proposal(3, {"x": 0.5}), list(plan.chunks()), 1)
        poll(lambda: n_running(dispatcher._clock) == 2, "the workers to say so")
        dispatcher._clock.longest_left_s = 500.0
        two_jobs()
        with pytest.raises(ChunkTooLongError, match="a chunk of 1 seed takes more than") as caught:
            await_results(dispatcher, 2)
        (tmp_path / "go").touch()
    assert (caught.value.n_seeds, caught.value.walltime_s) == (1, 600.0)


def test_chunks_that_are_too_long_end_the_wait_after_the_results(client):
    plan = seed_plan(n_seeds=4, chunk_size=2)
    traffic = {"running_limit_s": 1e6, "walltime_s": 60.0, "check_s": 0.0}
    with dispatching(client, bowl, **traffic) as (dispatcher, make):
        make().submit(Proposal(0, PARAMS), list(plan.chunks()), 1)
        results = await_results(dispatcher, plan.n_chunks)
        for _ in range(10):
            dispatcher._walltime._recent.note(2, 40.0)
        with pytest.raises(ChunkTooLongError, match="use chunk_size <= 1, or") as caught:
            dispatcher.wait()
    assert losses_by_start([r for _, r in results]) == expected(PARAMS, plan)
    assert (caught.value.n_seeds, caught.value.needs_s) == (2, 40.0)

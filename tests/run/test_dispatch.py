"""The road to the workers: keys, priorities, the one journey of the loss, lost workers."""

from __future__ import annotations

import os
import signal

import dask
import pytest
from distributed import Client, LocalCluster, wait
from distributed.diagnostics.plugin import SchedulerPlugin

import seedwise as sw
from seedwise.cluster.place import SCHEDULER_SETTINGS
from seedwise.errors import NoCompleteTrialError
from seedwise.model.options import RunOptions
from seedwise.model.records import Proposal
from seedwise.model.seeds import seed_plan
from seedwise.run.dispatch import DaskDispatcher, Errand
from seedwise.run.shipping import bring, pack
from tests.losses import bowl
from tests.tables import table


class SeenKeys(SchedulerPlugin):
    name = "seen-keys"

    def __init__(self):
        self.keys = {}

    def transition(self, key, start, finish, *args, **kwargs):
        self.keys.setdefault(str(key), None)


@pytest.fixture
def own_client():
    """Client of a cluster that a test may do harm to."""
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


def test_keys_name_run_trial_and_chunk(tmp_path, own_client):
    seen = SeenKeys()
    own_client.cluster.scheduler.add_plugin(seen)
    sw.optimize_run(
        bowl, n_trials=2, n_seeds=4, chunk_size=2, cluster=own_client, run_root=tmp_path
    )
    keys = [key for key in seen.keys if key.startswith("bowl-")]
    ends = sorted(key.partition("-t")[2] for key in keys)
    assert ends == ["00000-c00000-a1", "00000-c00001-a1", "00001-c00000-a1", "00001-c00001-a1"]
    assert all(key.startswith("bowl-bowl_v0001-") for key in keys)
    # One prefix a loss: the dashboard's colour, and Dask's estimate of durations.
    assert own_client.cluster.scheduler.task_prefixes["bowl"].duration_average > 0


def test_the_loss_travels_once_a_worker(own_client, tmp_path):
    """The worker's plugin holds it; what travels with a chunk is small."""
    ballast = os.urandom(200_000)
    loss = sw.loss(name="heavy", description="heavy", parameter_space={"x": (0, 1)})(
        lambda params, seed: params["x"] + len(ballast)
    )
    options = RunOptions.from_keywords({})
    shipment = pack(loss, options)
    assert len(shipment.pickled) > 200_000
    with bring(own_client, shipment, options) as loss_id:
        held = own_client.run(lambda dask_worker: sorted(dask_worker.plugins))
        assert all(loss_id in plugins for plugins in held.values())
        dispatcher = DaskDispatcher(
            own_client, Errand(loss_id, "heavy", "run"), lambda: None, tick_s=10
        )
        chunk = next(seed_plan(n_seeds=10).chunks())
        dispatcher.submit(Proposal(0, {"x": 0.5}), [chunk], attempt=1)
        (task, _) = next(iter(dispatcher._out.values()))
        import pickle

        assert len(pickle.dumps(task)) < 2000
        (result,) = dispatcher.wait()
        assert result.losses.tolist() == [200_000.5] * 10
        # A worker that joins late has it, too.
        own_client.cluster.scale(3)
        own_client.wait_for_workers(3)
        held = own_client.run(lambda dask_worker: sorted(dask_worker.plugins))
        assert len(held) == 3
        assert all(loss_id in plugins for plugins in held.values())
        dispatcher.__exit__()
    held = own_client.run(lambda dask_worker: sorted(dask_worker.plugins))
    assert not any(loss_id in plugins for plugins in held.values())


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


def test_a_trial_that_runs_for_too_long_fails_and_frees_its_worker(own_client, tmp_path):
    """Its running time is bounded; the worker that it held works again."""
    import time

    stuck = sw.loss(name="stuck", description="never ends", parameter_space={"x": (0, 1)})(
        lambda params, seed: time.sleep(600) or 0.0
    )
    options = RunOptions.from_keywords({})
    own_client.retire_workers(list(own_client.scheduler_info()["workers"])[1:])
    with bring(own_client, pack(stuck, options), options) as loss_id:
        dispatcher = DaskDispatcher(
            own_client,
            Errand(loss_id, "stuck", "run"),
            lambda: None,
            tick_s=0.1,
            running_limit_s=0.3,
        )
        dispatcher.submit(Proposal(0, {"x": 0.5}), list(seed_plan(n_seeds=1).chunks()), 1)
        results = []
        while not results:
            results = dispatcher.wait()
        dispatcher.__exit__()
    assert results[0].failure.exception_type == "TrialTimeout"
    assert "slurm_timeout_minutes=0.005" in results[0].failure.message
    assert own_client.submit(int, 7).result(timeout=60) == 7


@pytest.fixture
def watchful_client():
    """Client of a cluster like our own, which tells of each chunk that a lost worker had."""
    with (
        dask.config.set(SCHEDULER_SETTINGS),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("told_before", [False, True], ids=["unseen", "seen"])
def test_a_result_whose_worker_is_lost_before_it_is_fetched_comes_all_the_same(
    watchful_client, told_before
):
    client, options, lost = watchful_client, RunOptions.from_keywords({}), []
    plan = seed_plan(n_seeds=8, chunk_size=2)
    params = {"x": 0.1, "rate": 0.2, "n": 3, "kind": "plain", "flip": True}
    with (
        bring(client, pack(bowl, options), options) as loss_id,
        DaskDispatcher(
            client,
            Errand(loss_id, "bowl", "run"),
            lambda: None,
            1,
            on_lost=lost.append,
        ) as dispatcher,
    ):
        dispatcher.submit(Proposal(0, params), list(plan.chunks()), attempt=1)
        with client.as_current():
            wait([future for _, future in dispatcher._out.values()])
        keys = dispatcher._done_keys() if told_before else []
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        results = dispatcher._collect(keys)
        while len(results) < plan.n_chunks:
            results += dispatcher.wait()
    losses = {result.start: result.losses.tolist() for result in results}
    expected = [bowl(params, seed) for seed in plan.seeds.tolist()]
    assert [loss for start in sorted(losses) for loss in losses[start]] == expected


def test_the_chunks_of_a_lost_worker_are_told_and_run_in_a_process_of_their_own(
    watchful_client, tmp_path
):
    client, lost = watchful_client, []
    flag = tmp_path / "died"

    @sw.loss(name="once", description="kills its worker once", parameter_space={"x": (0, 1)})
    def once(params, seed):
        if seed == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return float(os.getpid())

    options = RunOptions.from_keywords({})
    plan = seed_plan(n_seeds=4, chunk_size=4)
    with (
        bring(client, pack(once, options), options) as loss_id,
        DaskDispatcher(
            client, Errand(loss_id, "once", "run"), lambda: None, 1, on_lost=lost.append
        ) as dispatcher,
    ):
        dispatcher.submit(Proposal(5, {"x": 0.5}), list(plan.chunks()), attempt=1)
        results = []
        while not results:
            results += dispatcher.wait()
        workers = set(client.run(os.getpid).values())
    assert [(event.trial, event.chunk_start) for event in lost] == [(5, 0)]
    assert results[0].attempt == 1
    assert len(set(results[0].losses)) == 1
    assert results[0].losses[0] not in workers

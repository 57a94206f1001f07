"""What a trial costs, in counts: calls of the scheduler, synced files, bytes and tasks."""

from __future__ import annotations

import collections
import os

import attrs
import pytest

import seedwise as sw
from seedwise.driver.study_work import StudyWork
from tests.losses import bowl

N_TRIALS = 10
N_CHUNKS = 4


@attrs.frozen
class Costs:
    """The counts of a run."""

    calls: collections.Counter[str]
    n_synced: int
    n_counts: int
    n_tasks: int
    n_bytes: int


def costs(client, root, n_trials: int) -> Costs:
    calls: collections.Counter[str] = collections.Counter()
    synced, keys, counted = [], [], []
    comm = client.scheduler_comm
    begin = comm.byte_count
    with pytest.MonkeyPatch.context() as patch:
        run_on_scheduler, fsync, map_ = client.run_on_scheduler, os.fsync, client.map

        def counted_call(function, *args, **kwargs):
            calls[function.__name__] += 1
            return run_on_scheduler(function, *args, **kwargs)

        def counted_map(*args, **kwargs):
            keys.extend(kwargs["key"])
            return map_(*args, **kwargs)

        patch.setattr(client, "run_on_scheduler", counted_call)
        patch.setattr(client, "map", counted_map)
        count = StudyWork._count
        patch.setattr(StudyWork, "_count", lambda work: counted.append(work) or count(work))
        patch.setattr(os, "fsync", lambda handle: synced.append(handle) or fsync(handle))
        sw.optimize_run(
            bowl,
            n_trials=n_trials,
            n_seeds=40,
            num_chunks=N_CHUNKS,
            race=False,
            sampler="random",
            cluster=client,
            run_root=root,
            progress=False,
        )
    return Costs(calls, len(synced), len(counted), len(keys), comm.byte_count - begin)


@pytest.fixture(scope="module")
def short_and_long(client, tmp_path_factory):
    """What a run costs, and one of twice as many trials."""
    root = tmp_path_factory.mktemp("runs")
    return costs(client, root, N_TRIALS), costs(client, root, 2 * N_TRIALS)


def test_a_trial_costs_two_calls_of_the_scheduler_and_two_syncs(short_and_long):
    short, long = short_and_long
    assert long.calls - short.calls == {"_append": 2 * N_TRIALS}  # an ask and a tell
    # The ledger and the study, once each; the ledger also once a second.
    assert 2 * N_TRIALS <= long.n_synced - short.n_synced <= 2 * N_TRIALS + 10
    assert long.n_counts == short.n_counts > 0  # not all trials again for each
    assert short.n_tasks == N_CHUNKS * N_TRIALS
    assert long.n_tasks == N_CHUNKS * 2 * N_TRIALS


def test_what_travels_with_a_chunk_is_small(short_and_long):
    short, long = short_and_long
    n_bytes = (long.n_bytes - short.n_bytes) / (long.n_tasks - short.n_tasks)
    assert 0 < n_bytes < 1_000

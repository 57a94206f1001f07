"""The samples of a run's workers."""

from __future__ import annotations

import pytest

from seedwise.model.events import Progress, TrialFinished
from seedwise.view.page import workers as module
from seedwise.view.page.workers import Workers
from tests.builders import pool_status, run_status, trial


@pytest.fixture
def clock(monkeypatch):
    """What the time is, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    return now


def test_a_sample_with_each_progress(clock):
    workers = Workers(is_live=True)
    status = run_status(pool=pool_status(joined=3, pending=5))
    workers(Progress(status))
    one = trial(0, 1.0, n_seeds=40)
    workers(TrialFinished(one, None, one, 9))
    clock[0] += 5
    workers(Progress(status))
    assert workers.samples == [(1000.0, 3, 5), (1005.0, 3, 5)]


def test_there_are_never_too_many_samples(clock, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 10)
    workers = Workers(is_live=False)
    for _ in range(100):
        workers.take(run_status())
        clock[0] += 1
    times = [sample[0] for sample in workers.samples]
    assert len(times) <= 10
    assert times == sorted(times)
    assert (times[0], times[-1]) == (1000.0, 1099.0)

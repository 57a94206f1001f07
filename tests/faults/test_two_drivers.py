"""Two drivers on one run folder: one writer, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from seedwise.folder.lease import SILENT_S
from tests.faults.harness import RUN, driver, expected_table

KEYWORDS = {**RUN, "max_concurrent_trials": 2}


@pytest.fixture(scope="module")
def expected():
    return expected_table(KEYWORDS)


@pytest.fixture
def first(tmp_path):
    with driver(tmp_path, "run", KEYWORDS, pace_s=0.004) as first:
        first.start()
        first.wait_for(1)
        yield first


@pytest.fixture
def second(tmp_path):
    (tmp_path / "second").mkdir()
    with driver(tmp_path / "second", "run", {**KEYWORDS, "progress": False}) as second:
        (tmp_path / "second" / "runs").symlink_to(tmp_path / "runs")
        yield second


def silence(lease) -> None:
    """Let a lease look as if its holder had been silent for longer than is waited."""
    long_ago = time.time() - 2 * SILENT_S
    os.utime(lease, (long_ago, long_ago))


def test_a_second_driver_is_refused_and_told_who_works(first, second, expected):
    second.start()
    assert second.wait() == 1
    assert "RunLockedError" in second.stderr
    assert f"process {first.process.pid} on " in second.stderr
    assert first.running
    assert first.wait() == 0
    assert first.table == expected


def test_a_driver_that_was_stopped_for_longer_than_the_lease_goes_on(first, second, expected):
    first.process.send_signal(signal.SIGSTOP)
    silence(first.directory.lease)
    for take_over in (False, True):
        second.start(take_over=take_over)
        assert second.wait() == 1
        assert "RunLockedError" in second.stderr
    first.process.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert first.table == expected


def test_a_driver_that_was_taken_over_writes_nothing_any_more(first, second, expected):
    """It is stopped, and looks as if it ran on another host, where nobody can see it."""
    first.process.send_signal(signal.SIGSTOP)
    lease = first.directory.lease
    held = json.loads(lease.read_text())
    lease.write_text(json.dumps({**held, "host": "elsewhere", "machine": "elsewhere"}))
    silence(lease)
    second.start()
    assert second.wait() == 1
    assert "take_over=True" in second.stderr
    second.start(take_over=True)
    second.wait_for(1)
    first.process.send_signal(signal.SIGCONT)
    assert first.wait() == 1
    assert "LeaseLostError" in first.stderr
    assert second.running
    assert second.wait() == 0
    assert second.table == expected
    assert not first.table_file.exists()

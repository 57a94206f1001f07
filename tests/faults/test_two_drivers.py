"""Two drivers on one run folder: one writer, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest

from seedwise.errors import RunLockedError
from seedwise.folder.lease import SILENT_S
from tests.builders import ledger_end
from tests.faults.harness import RUN, carry_out_here, driver, expected_table, told_values
from tests.testbed.daemons import poll

N_TRIALS = 8
KEYWORDS = {
    **RUN,
    "n_trials": N_TRIALS,
    "max_concurrent_trials": 2,
    "n_validation_seeds": 24,
    "n_validation_candidates": 3,
}


@pytest.fixture
def expected(client):
    return expected_table(client, KEYWORDS)


@pytest.fixture
def first(expected, tmp_path):
    """A driver at work, on seeds that take so long that it is not at its end by itself."""
    with driver(tmp_path, "run", KEYWORDS, pace_s=0.1) as first:
        first.start()
        first.wait_for(1)
        yield first


@pytest.fixture
def second(client, tmp_path):
    """Have this process be a second driver of the run; give the table that it comes to."""

    def second(**keywords):
        return carry_out_here(client, tmp_path, "run", {**KEYWORDS, **keywords})

    return second


def finish(first):
    """Have the first driver finish its run; return its exit code."""
    first.set_pace(0)
    return first.wait()


def silence(lease) -> None:
    """Let a lease look as if its holder had been silent for longer than is waited."""
    long_ago = time.time() - 2 * SILENT_S
    os.utime(lease, (long_ago, long_ago))


def test_a_second_driver_is_refused_though_the_first_is_stopped(first, second, expected):
    with pytest.raises(RunLockedError, match=f"process {first.process.pid} on "):
        second()
    assert first.running
    first.process.send_signal(signal.SIGSTOP)
    silence(first.directory.lease)
    for take_over in (False, True):
        with pytest.raises(RunLockedError):
            second(take_over=take_over)
    first.process.send_signal(signal.SIGCONT)
    assert finish(first) == 0
    assert first.table == expected


@pytest.mark.full
@pytest.mark.parametrize("in_validation", [False, True])
def test_a_driver_that_was_taken_over_writes_nothing_any_more(
    in_validation, first, second, expected, tmp_path
):
    """It is stopped, and looks as if it ran on another host, where nobody can see it."""
    directory = first.directory
    if in_validation:
        first.set_pace(0.02)
        poll(directory.validation_ledger.exists, "the validation")
        first.set_pace(0.1)
        first.wait_for(9)
    first.process.send_signal(signal.SIGSTOP)
    assert ("of" in directory.validation_record.read()) == in_validation
    assert "found" not in directory.validation_record.read()
    assert (len(told_values(directory)) == N_TRIALS) == in_validation
    ledgers = [file for file in (directory.ledger, directory.validation_ledger) if file.exists()]
    lease = directory.lease
    held = json.loads(lease.read_text())
    lease.write_text(json.dumps({**held, "host": "elsewhere", "machine": "elsewhere"}))
    silence(lease)
    with pytest.raises(RunLockedError, match="take_over=True"):
        second()
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "runs").symlink_to(tmp_path / "runs")
    with (
        driver(folder, "run", {**KEYWORDS, "take_over": True}, pace_s=0.1) as taker,
        contextlib.ExitStack() as closing,
    ):
        as_first_has_them = [closing.enter_context(file.open("ab", 0)) for file in ledgers]
        taker.start()
        taker.wait_for(1)
        for file in as_first_has_them:
            file.write(b"a record on its way, which no check of the lease could hold back")
        first.process.send_signal(signal.SIGCONT)
        assert first.wait() == 1
        assert "LeaseLostError" in first.stderr
        assert taker.running
        assert finish(taker) == 0
        assert taker.table == expected
    assert not first.table_file.exists()
    assert [ledger_end(file) for file in ledgers] == [file.stat().st_size for file in ledgers]

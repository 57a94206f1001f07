"""How far a run is: from real folders, with drivers that live, have ended, or were killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from seedwise.errors import NotARunError
from seedwise.folder.directory import JsonFile, RunDirectory
from seedwise.folder.find import entry_directory, existing_run
from seedwise.folder.lease import SILENT_S, acquire_lease
from seedwise.folder.status import read_status
from tests.builders import pool_status, run_status

BEGAN, RESUMED, ENDED = (f"2026-08-01T{hour}:00:00.250000+00:00" for hour in (10, 11, 12))

SAID = run_status(
    pending=7,
    running=3,
    running_seeds=300,
    running_seeds_done=120,
    done=6,
    failed=3,
    pruned=1,
    trials_per_s=0.5,
    expected_end_utc="2026-08-01T11:00:00+00:00",
    started_at_utc=BEGAN,
    updated_at_utc="2026-08-01T10:30:00+00:00",
    best_value=1.5,
)

POOL = pool_status(waiting="the queue is full")

SUMMARY = {"best_value": 0.5, "n_trials": 20, "n_told": 9, "n_failed": 2}

# Takes the lease, says so, and waits for the end of its stdin.
DRIVER = """
import sys
from pathlib import Path
from seedwise.folder.lease import acquire_lease

with acquire_lease(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def write_meta(directory: RunDirectory, kind: str = "run", **more: Any) -> None:
    options = {"n_trials": 20} if kind != "sweep" else {}
    directory.meta.write(
        {
            "kind": kind,
            "started_at_utc": BEGAN,
            "resumed_at_utc": [],
            "options": options,
            **more,
        }
    )


def write_status(directory: RunDirectory, **changes: Any) -> None:
    directory.status.write({**attrs.asdict(SAID), **changes})


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "fit")
    directory.path.mkdir(mode=0o700)
    write_meta(directory)
    return directory


@pytest.fixture
def entry(tmp_path) -> RunDirectory:
    """One of two entries of a run."""
    parent = RunDirectory(tmp_path / "cohort")
    parent.path.mkdir(mode=0o700)
    write_meta(parent, "entries", options={"n_trials": 20, "entry_ids": ["anna", "ben"]})
    directory = entry_directory(parent, "anna")
    write_meta(directory)
    return directory


@pytest.fixture
def driver(directory):
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(directory.lease)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdout.readline() == "held\n"
        yield driver
        driver.kill()


def in_files(path: Path) -> dict[Path, tuple[bytes, int]]:
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def test_while_a_driver_works_on_it_it_is_as_that_says(directory):
    write_status(directory)
    with acquire_lease(directory.lease):
        status = read_status(directory)
    assert status.driver.startswith(f"process {os.getpid()} on ")
    assert attrs.evolve(status, driver=None) == SAID
    assert status.n_told == 10


def test_after_a_kill_it_is_stopped_and_nothing_is_in_flight(directory, driver):
    write_status(directory)
    assert read_status(directory).state == "running"
    assert read_status(directory).driver.startswith(f"process {driver.pid} on ")
    driver.kill()
    driver.wait()
    assert directory.lease.exists()
    assert read_status(directory) == attrs.evolve(
        SAID,
        state="stopped",
        pending=10,
        running=0,
        running_seeds=0,
        running_seeds_done=0,
        expected_end_utc=None,
    )


def test_a_driver_that_ended_as_it_should_said_so(directory, driver):
    write_status(directory, state="stopped", running=0, pending=10, expected_end_utc=None)
    driver.communicate()
    assert not directory.lease.exists()
    status = read_status(directory)
    assert (status.state, status.driver) == ("stopped", None)
    assert (status.pending, status.running) == (10, 0)


def test_once_a_new_driver_has_the_lease_it_is_running(directory):
    write_status(directory, state="stopped", running=0, pending=10, expected_end_utc=None)
    with acquire_lease(directory.lease):
        status = read_status(directory)
    assert (status.state, status.pending, status.running) == ("running", 10, 0)


@pytest.mark.parametrize("held", [True, False])
def test_what_is_finished_stays_so(directory, held):
    write_status(directory, state="finished", pending=10, running=0, expected_end_utc=None)
    lease = acquire_lease(directory.lease)
    if not held:
        lease.release()
    status = read_status(directory)
    lease.release()
    assert status.state == "finished"
    assert (status.driver is not None) is held


def test_a_run_that_finishes_while_it_is_looked_at_is_never_stopped(directory, monkeypatch):
    write_status(directory)
    lease = acquire_lease(directory.lease)
    read = JsonFile.read

    def finish_and_read(self: JsonFile) -> dict[str, Any]:
        content = read(self)
        write_status(directory, state="finished")
        lease.release()
        return content

    monkeypatch.setattr(JsonFile, "read", finish_and_read)
    assert read_status(directory).state == "running"
    assert read_status(directory).state == "finished"


def test_a_driver_elsewhere_is_alive_while_it_refreshes_its_lease(directory, driver):
    write_status(directory)
    held = json.loads(directory.lease.read_text())
    directory.lease.write_text(json.dumps({**held, "host": "far"}))
    assert read_status(directory).driver.startswith(f"process {driver.pid} on far, since ")
    long_ago_s = directory.lease.stat().st_mtime - 2 * SILENT_S
    os.utime(directory.lease, (long_ago_s, long_ago_s))
    status = read_status(directory)
    assert (status.state, status.driver, status.running) == ("stopped", None, 0)


def test_while_a_driver_works_on_it_its_workers_are_known(directory):
    write_status(directory, pool=attrs.asdict(POOL))
    with acquire_lease(directory.lease):
        assert read_status(directory).pool == POOL
    assert read_status(directory).pool is None


def test_a_finished_run_has_no_workers(directory):
    write_status(directory, state="finished", pool=attrs.asdict(POOL))
    with acquire_lease(directory.lease):
        assert read_status(directory).pool is None


@pytest.mark.parametrize(
    "pool",
    [None, 7, [], "workers", {}, {"least": 2}, {"least": 2, "most": 10, "later": 1}],
    ids=repr,
)
def test_workers_that_can_not_be_read_are_not_known(directory, pool):
    write_status(directory, pool=pool)
    with acquire_lease(directory.lease):
        status = read_status(directory)
    assert attrs.evolve(status, driver=None) == SAID


def test_what_a_later_version_says_of_workers_is_left_out(directory):
    write_status(directory, pool={**attrs.asdict(POOL), "graves": 7})
    with acquire_lease(directory.lease):
        assert read_status(directory).pool == POOL


def test_entries_that_were_worked_on_are_pending_when_it_is_stopped(directory):
    write_status(
        directory, kind="entries", entries={"pending": 4, "running": 2, "done": 1, "failed": 1}
    )
    with acquire_lease(directory.lease):
        assert read_status(directory).entries["running"] == 2
    assert read_status(directory).entries == {"pending": 6, "running": 0, "done": 1, "failed": 1}


def test_what_an_earlier_version_did_not_say_is_unknown(directory):
    said = attrs.asdict(SAID)
    for name in ("seeds_per_s", "busy_share", "seeds_saved", "best_stderr"):
        del said[name]
    directory.status.write(said)
    status = read_status(directory)
    assert (status.done, status.best_value) == (SAID.done, SAID.best_value)
    assert (status.seeds_per_s, status.busy_share, status.seeds_saved) == (None, None, 0)
    assert status.best_stderr is None


def test_what_a_later_version_adds_is_left_out(directory):
    write_status(directory, jobs=7, format_version=99)
    with acquire_lease(directory.lease):
        assert attrs.evolve(read_status(directory), driver=None) == SAID


@pytest.mark.parametrize(
    "torn",
    [None, b"", b'{"kind": "ru', b"\0" * 300, b"\xff", b"{}", b"[]", b"null", b'"kind"', b"3"],
    ids=repr,
)
def test_without_a_status_file_meta_says_what_is_asked_for(directory, torn):
    if torn is not None:
        (directory.path / "status.json").write_bytes(torn)
    expected = run_status(
        state="stopped",
        pending=20,
        running=0,
        done=0,
        started_at_utc=BEGAN,
        updated_at_utc=BEGAN,
    )
    assert read_status(directory) == expected
    with acquire_lease(directory.lease):
        status = read_status(directory)
    assert attrs.evolve(status, driver=None) == attrs.evolve(expected, state="running")


def test_a_status_file_that_was_torn_is_made_up_for_by_the_summary(directory):
    (directory.path / "status.json").write_bytes(b"")
    directory.summary.write(SUMMARY)
    status = read_status(directory)
    assert (status.pending, status.done, status.failed) == (11, 7, 2)
    assert (status.best_value, status.state) == (0.5, "stopped")
    write_meta(directory, completed_at_utc=ENDED)  # it is on the disk for sure, unlike the others
    assert read_status(directory).state == "finished"


@pytest.mark.parametrize(
    ("kind", "options", "summary", "n_trials"),
    [
        ("run", {"n_trials": 30}, {"n_trials": 20, "n_told": 20, "n_failed": 0}, 30),
        ("run", {"n_trials": 5}, {"n_trials": 20, "n_told": 12, "n_failed": 0}, 12),
        ("entries", {"n_trials": 30, "entry_ids": ["a", "b"]}, None, 60),
        ("entries", {"n_trials": 30, "entry_ids": ["a", "b"]}, {"n_told": 7}, 60),
        ("sweep", {}, None, 0),
        ("sweep", {}, {"n_trials": 1000, "n_told": 7, "n_failed": 0}, 1000),
    ],
)
def test_how_many_trials_there_are_to_be(directory, kind, options, summary, n_trials):
    write_meta(directory, kind, options=options)
    if summary is not None:
        directory.summary.write(summary)
    status = read_status(directory)
    assert (status.kind, status.n_trials) == (kind, n_trials)
    assert status.pending + status.n_told == n_trials


def test_when_a_driver_last_said_something(directory):
    write_meta(directory, resumed_at_utc=[RESUMED])
    assert read_status(directory).updated_at_utc == RESUMED
    directory.summary.write(SUMMARY)
    written_at = datetime.fromisoformat(read_status(directory).updated_at_utc)
    assert abs((datetime.now(UTC) - written_at).total_seconds()) < 60
    os.utime(directory.path / "summary.json", (0, 0))
    assert read_status(directory).updated_at_utc == RESUMED


def test_an_entry_is_counted_from_its_summary(entry):
    status = read_status(entry)
    assert (status.kind, status.n_trials, status.pending) == ("run", 20, 20)
    entry.summary.write(SUMMARY)
    status = read_status(entry)
    assert (status.n_trials, status.pending, status.running) == (20, 11, 0)
    assert (status.done, status.failed, status.best_value) == (7, 2, 0.5)
    assert status.started_at_utc == BEGAN
    assert status.entries is None


def test_an_entry_is_worked_on_by_the_driver_of_its_run(entry):
    entry.summary.write(SUMMARY)
    assert read_status(entry).state == "stopped"
    with acquire_lease(entry.home.lease):
        status = read_status(entry)
        assert status.state == "running"
        assert status.driver.startswith(f"process {os.getpid()} on ")
        write_meta(entry, completed_at_utc=ENDED)
        assert read_status(entry).state == "finished"


def test_a_summary_that_was_torn_counts_nothing(entry):
    (entry.path / "summary.json").write_bytes(b"\0" * 100)
    status = read_status(entry)
    assert (status.pending, status.n_told, status.updated_at_utc) == (20, 0, BEGAN)


def test_looking_writes_nothing(directory, entry):
    write_status(directory)
    entry.summary.write(SUMMARY)
    for one in (directory, entry, entry.home):
        before = in_files(one.home.path)
        read_status(existing_run(one.path))
        assert in_files(one.home.path) == before


def test_a_folder_that_is_no_run(directory):
    shutil.rmtree(directory.path)
    directory.path.mkdir()
    with pytest.raises(NotARunError, match=r"no meta\.json"):
        read_status(directory)

"""A disk that is full, for the ledger and for the study file."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest

from tests.faults import test_search_and_validation as validation
from tests.faults.harness import RUN, driver, expected_table, told_values

KEYWORDS = {**RUN, "max_concurrent_trials": 2}
DISK_KB = 16 * 1024


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of its own, of 16 MB: each run has a copy of these tests."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk can't be mounted: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder, n_pages_left: int):
    """Fill the disk up to a number of pages of 4 KB."""
    filler = folder / "filler"
    status = os.statvfs(folder)
    with contextlib.suppress(OSError):  # the run took a page meanwhile: it is full all the same
        filler.write_bytes(b"\0" * status.f_frsize * (status.f_bavail - n_pages_left))
    return filler


@pytest.mark.timeout(600)
def test_no_room_for_the_ledger(small_disk, client, tmp_path):
    folder = tmp_path / "runs" / "run"
    folder.mkdir(mode=0o700, parents=True)
    (folder / "chunks.ledger").symlink_to(small_disk / "chunks.ledger")
    (small_disk / "chunks.ledger").touch(mode=0o600)
    full = full_after_some_trials(0, small_disk, tmp_path, client)
    assert full == "chunks.ledger"


@pytest.mark.timeout(600)
@pytest.mark.full
def test_no_room_for_the_rest(small_disk, client, tmp_path):
    (tmp_path / "runs").symlink_to(small_disk)
    for n_pages_left in (1, 2) * 6:  # it is by chance which file needs the last page
        full = full_after_some_trials(n_pages_left, small_disk, tmp_path, client)
        if full == "study.journal":
            return
    pytest.fail("the study file was never the one that was full")


@pytest.mark.timeout(600)
@pytest.mark.full
def test_no_room_for_the_ledger_of_a_validation(small_disk, client, tmp_path):
    (tmp_path / "runs").symlink_to(small_disk)
    keywords = validation.SEARCHES["race"]
    with driver(tmp_path, "run", keywords, pace_s=validation.PACE_S) as run:
        run.start()
        validation.in_validation(run)
        filler = fill(small_disk, 0)
        assert run.wait() == 1
        error = run.stderr.rstrip().splitlines()[-1]
        assert "can't be written: No space left on device" in error, run.stderr
        assert "validation" in error.partition(" can't be written")[0]
        assert "seedwise resume" in error
        filler.unlink()
        before = validation.recorded(run)
        n_before = run.n_evaluations
        assert run.finish(client) == expected_table(client, keywords)
        assert not before & set(validation.evaluated(run)[n_before:])


def full_after_some_trials(n_pages_left, small_disk, tmp_path, client) -> str:
    n_before = len(list((tmp_path / "runs").iterdir()))
    name = "run" if n_pages_left == 0 else f"run{n_before}"
    with driver(tmp_path, name, KEYWORDS, pace_s=0.002) as run:
        run.start()
        run.wait_until_told(5)
        filler = fill(small_disk, n_pages_left)
        assert run.wait() == 1
        told = told_values(run.directory)
        assert 5 <= len(told) < RUN["n_trials"]
        error = run.stderr.rstrip().splitlines()[-1]
        assert "can't be written: No space left on device" in error, run.stderr
        full = error.partition(" can't be written")[0].rpartition(" ")[2]
        assert full.startswith(str(run.directory.path))
        assert "seedwise resume" in error
        print(f"{n_pages_left} pages left: {full} was full after {len(told)} trials")
        filler.unlink()
        assert run.finish(client) == expected_table(client, KEYWORDS)
        final = told_values(run.directory)
        assert all(final[number] == was for number, was in told.items())
        return full.rpartition("/")[2]

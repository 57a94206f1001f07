"""A disk that is full, for the ledger and for the study file."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.faults.harness import RUN, driver, told_values, undisturbed

KEYWORDS = {**RUN, "max_concurrent_trials": 2}
DISK_KB = 2048


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of its own, of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk can't be mounted: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed"), KEYWORDS)


def fill(folder, n_pages_left: int):
    """Fill the disk up to a number of pages of 4 KB."""
    filler = folder / "filler"
    status = os.statvfs(folder)
    filler.write_bytes(b"\0" * status.f_frsize * (status.f_bavail - n_pages_left))
    return filler


@pytest.mark.timeout(600)
def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(
    small_disk, tmp_path, expected
):
    """The room that is left decides which file is the first that finds none."""
    (tmp_path / "runs").symlink_to(small_disk)
    files = {
        full_after_some_trials(n_pages_left, small_disk, tmp_path, expected)
        for n_pages_left in (0, 1, 0, 1)
    }
    assert {"chunks.ledger", "study.journal"} <= files


def full_after_some_trials(n_pages_left, small_disk, tmp_path, expected) -> str:
    name = f"run-{n_pages_left}-{len(list(small_disk.iterdir()))}"
    with driver(tmp_path, name, KEYWORDS, pace_s=0.002) as run:
        run.start()
        while len(told_values(run.directory)) < 5:
            run.wait_for(1)
        filler = fill(small_disk, n_pages_left)
        assert run.wait() == 1
        told = told_values(run.directory)
        assert 5 <= len(told) < 30
        error = run.stderr.rstrip().splitlines()[-1]
        assert "can't be written: No space left on device" in error, run.stderr
        full = error.partition(" can't be written")[0].rpartition(" ")[2]
        assert full.startswith(str(run.directory.path))
        assert "seedwise resume" in error
        print(f"{n_pages_left} pages left: {full} was full after {len(told)} trials")
        filler.unlink()
        run.finish()
        assert run.table == expected
        final = told_values(run.directory)
        assert all(final[number] == was for number, was in told.items())
        return full.rpartition("/")[2]

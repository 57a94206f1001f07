"""Checkpoints: two files in turn, of which one is always whole."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import RunFileError
from seedwise.study.checkpoint import Checkpoints

END = 10**9


def names(folder: Path) -> tuple[Path, Path]:
    return folder / "a.checkpoint", folder / "b.checkpoint"


@pytest.fixture
def paths(tmp_path):
    return names(tmp_path)


@pytest.fixture
def checkpoints(paths):
    checkpoints = Checkpoints(paths)
    yield checkpoints
    checkpoints.close()


@pytest.fixture(scope="module")
def new_paths(tmp_path_factory):
    """Return a function that gives other paths each time, for tests of many examples."""
    return lambda: names(tmp_path_factory.mktemp("checkpoints"))


def latest(paths, end: int = END) -> tuple[int, bytes] | None:
    """Return what another driver finds."""
    return Checkpoints(paths).latest(end)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def save(paths, *saved: tuple[int, bytes], end: int = END) -> Path:
    """Save as another driver does, and return the newest of the two files."""
    checkpoints = Checkpoints(paths)
    checkpoints.latest(end)
    for each in saved[:-1]:
        checkpoints.save(each)
    before = [content(path) for path in paths]
    checkpoints.save(saved[-1])
    checkpoints.close()
    (changed,) = (p for p, old in zip(paths, before, strict=True) if content(p) != old)
    return changed


def test_at_first_there_is_none(checkpoints, paths):
    assert checkpoints.latest(END) is None
    assert not any(path.exists() for path in paths)


@given(states=st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_the_newest_is_found_whatever_longer_or_shorter_one_was_there(states, new_paths):
    paths = new_paths()
    checkpoints = Checkpoints(paths)
    for position, state in enumerate(states):
        checkpoints.save((position, state))
        assert checkpoints.latest(END) == (position, state)
    checkpoints.close()
    assert latest(paths) == (len(states) - 1, states[-1])


def test_the_files_are_written_in_turn(paths):
    newest = [save(paths, (n, b"state %d" % n)) for n in range(5)]
    assert set(newest[:2]) == set(paths)
    assert newest == [*newest[:2], *newest[:2], newest[0]]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)


def test_one_driver_writes_the_files_in_turn(paths):
    saved = [(n, b"state %d" % n) for n in range(5)]
    for n in range(1, 5):
        newest = save(paths, *saved[: n + 1])
        newest.unlink()
        assert latest(paths) == saved[n - 1]
        for path in paths:
            path.unlink(missing_ok=True)


def test_the_files_are_their_owners_only(paths):
    save(paths, (0, b"0"), (1, b"1"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 2


# Torn files.


def test_if_the_newest_is_cut_at_any_byte_the_one_before_serves(paths):
    older, newer = (10, b"the older state"), (20, b"the newer state")
    newest = save(paths, older, newer)
    data = newest.read_bytes()
    for length in range(len(data)):
        newest.write_bytes(data[:length])
        assert latest(paths) == older
        assert not newest.exists()
    newest.write_bytes(data)
    assert latest(paths) == newer


#: A flip of one bit of each byte; those of other bits, and of all, are for the full count.
FLIPS = [0x01, *(pytest.param(flip, marks=pytest.mark.full) for flip in (0x80, 0xFF))]


@pytest.mark.parametrize("flip", FLIPS)
def test_if_a_byte_of_the_newest_is_damaged_the_one_before_serves(flip, paths):
    older, newer = (10, b"the older state"), (20, b"the newer state")
    newest = save(paths, older, newer)
    data = newest.read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= flip
        newest.write_bytes(damaged)
        assert latest(paths) == older


@given(old=st.binary(max_size=200), new=st.binary(max_size=200), data=st.data())
def test_a_state_that_is_half_written_over_another_is_not_taken(old, new, data, new_paths):
    paths = new_paths()
    second, third = (2, b"the last that is whole"), (3, new)
    file = save(paths, (1, old))
    save(paths, second)
    before = file.read_bytes()
    assert save(paths, third) == file
    record = file.read_bytes()
    n_bytes = max(len(record), len(before))
    after, before = record + before[len(record) :], before.ljust(n_bytes, b"\0")
    # The pages of a file reach the disk in any order.
    cut = data.draw(st.integers(0, n_bytes))
    for torn in (after[:cut] + before[cut:], before[:cut] + after[cut:]):
        file.write_bytes(torn)
        assert latest(paths) == (third if torn.startswith(record) else second)


def test_if_both_are_torn_there_is_none(paths):
    save(paths, (10, b"older"), (20, b"newer"))
    for path in paths:
        path.write_bytes(path.read_bytes()[:-1])
    assert latest(paths) is None
    assert not any(path.exists() for path in paths)


# Ahead of the study file.


def test_one_that_is_ahead_of_the_study_file_is_removed_for_good(paths):
    saved = [(10, b"at 10"), (20, b"at 20")]
    newest = save(paths, *saved)
    assert latest(paths, 20) == saved[1]
    assert latest(paths, 19) == saved[0]
    assert not newest.exists()
    # The study file grows again, and is another one there.
    assert latest(paths, 100) == saved[0]
    save(paths, (12, b"at 12"), end=19)
    assert latest(paths, 100) == (12, b"at 12")


def test_if_both_are_ahead_there_is_none(paths):
    save(paths, (10, b"at 10"), (20, b"at 20"))
    assert latest(paths, 9) is None
    assert latest(paths, 100) is None
    save(paths, (5, b"at 5"), end=9)
    assert latest(paths, 100) == (5, b"at 5")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["save", "save", "resume", "lose"]), st.integers(0, 9)),
        max_size=20,
    )
)
def test_the_newest_of_the_last_two_that_is_not_ahead_is_found(steps, new_paths):
    paths = new_paths()
    checkpoints, kept = Checkpoints(paths), []
    for n, (step, position) in enumerate(steps):
        if step == "save":
            kept = [*kept[-1:], (position, b"%d" % n)]
            checkpoints.save(kept[-1])
            continue
        checkpoints.close()
        checkpoints = Checkpoints(paths)
        end = position if step == "lose" else 9
        kept = [each for each in kept if each[0] <= end]
        assert checkpoints.latest(end) == (kept[-1] if kept else None)
    checkpoints.close()


# Another driver, and disks that fail.


def test_a_driver_that_lost_the_run_writes_into_nothing(paths):
    lost, ours = Checkpoints(paths), Checkpoints(paths)
    for n in range(3):
        lost.save((n, b"lost"))
    ours.latest(END)
    saved = [(10, b"ours"), (20, b"ours, too")]
    for each in saved:
        ours.save(each)
    for n in range(30, 34):
        lost.save((n, b"much too late, and long"))
        assert latest(paths) == saved[1]
    ours.save((40, b"ours for ever"))
    assert latest(paths) == (40, b"ours for ever")
    lost.close()
    ours.close()


def test_a_driver_that_lost_the_run_writes_into_nothing_from_our_first_save_on(paths):
    lost, ours = Checkpoints(paths), Checkpoints(paths)
    for n in range(3):
        lost.save((n, b"lost"))
    ours.latest(END)
    ours.save((10, b"ours"))
    for n in range(30, 32):
        lost.save((n, b"too late"))
    found = latest(paths)
    lost.close()
    ours.close()
    assert found == (10, b"ours")


def test_a_crash_at_the_first_save_leaves_the_newest(paths, monkeypatch):
    def crash(*args) -> int:
        raise KeyboardInterrupt

    save(paths, (10, b"older"), (20, b"newer"))
    checkpoints = Checkpoints(paths)
    checkpoints.latest(END)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save((30, b"never"))
    checkpoints.close()
    assert latest(paths) == (20, b"newer")


@pytest.mark.parametrize("part", [0.0, 0.5, 0.9])
def test_a_full_disk_is_told_and_leaves_the_one_before(part, checkpoints, paths, monkeypatch):
    checkpoints.save((10, b"at 10"))
    checkpoints.save((20, b"at 20"))
    pwrite = os.pwrite

    def write_a_part(handle: int, data: bytes, offset: int) -> int:
        n_written = int(part * len(data))
        if not n_written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(handle, data[:n_written], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write_a_part)
        with pytest.raises(RunFileError, match="No space left on device") as caught:
            checkpoints.save((30, b"at 30, and longer"))
    assert caught.value.path in paths
    assert latest(paths) == (20, b"at 20")
    save(paths, (40, b"at 40"))
    assert latest(paths) == (40, b"at 40")


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(RunFileError, match="No such file or directory"):
        Checkpoints(names(tmp_path / "gone")).save((1, b""))


def test_all_files_are_closed_in_the_end(checkpoints, paths):
    def n_open() -> int:  # of these: other tests' files may be closed at any moment
        files = psutil.Process().open_files()
        return sum(Path(file.path).parent == paths[0].parent for file in files)

    for n in range(3):
        checkpoints.save((n, b""))
    assert n_open() == 2
    checkpoints.close()
    checkpoints.close()
    assert n_open() == 0

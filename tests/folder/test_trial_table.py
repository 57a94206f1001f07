"""The trial table: told trials are read again, bit for bit, and cost little memory."""

from __future__ import annotations

import math
import os
import tracemalloc

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.disk.frames import FrameFile
from seedwise.errors import DamagedFileError, RunFileError
from seedwise.folder import trial_table as trial_rows
from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import STATE_CODES, TrialTable, read_rows
from seedwise.model.trials import TrialResult, TrialState
from tests import builders
from tests.builders import table_end

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED

complete = builders.trial


def failed(number: int, error: str = "it broke", state: TrialState = FAIL) -> TrialResult:
    return builders.trial(number, None, error=error, state=state)


@st.composite
def trials(draw) -> TrialResult:
    """Make a trial; there are few numbers, some of them far away."""
    number = draw(st.integers(0, 5) | st.sampled_from([511, 512, 10**18, 2**63 - 1]))
    if not draw(st.booleans()):
        return failed(number, draw(TEXT), draw(st.sampled_from([FAIL, PRUNED])))
    return complete(
        number,
        draw(st.floats(allow_nan=False, width=16)),
        stderr=draw(st.none() | st.floats(0, 1e300)),
        n_seeds=draw(st.integers(1, 2**32 - 1)),
        duration_s=draw(st.floats(0, 1e9)),
        components=draw(st.dictionaries(TEXT, st.floats(), max_size=3)),
    )


#: Trials that are told, or numbers of trials that are begun again.
STEPS = st.lists(st.lists(trials(), max_size=4) | st.sets(st.integers(0, 5), max_size=4))

SOME = [
    complete(3, -0.0, components={"cost": 1.5}),
    failed(1),
    complete(10**18, math.inf, stderr=None),
    failed(0, "ä" * 30, PRUNED),
    complete(2, 5e-324, components={"cost": math.nan, "ä": 2.0}),
]


def add(table, some) -> None:
    table.add(some, [params_digest(trial.params) for trial in some])


def fill(path, some) -> list[int]:
    """Write trials one by one; return where the first begins and where each of them ends."""
    with TrialTable(path) as table:
        ends = [table_end(path)]
        for trial in some:
            add(table, [trial])
            ends.append(table_end(path))
    return ends


def last_of(some) -> dict[int, TrialResult]:
    return {trial.number: trial for trial in some}


def bits(value: float | None) -> bytes:
    return np.float64(math.nan if value is None else value).tobytes()


def assert_rows(path, told: dict[int, TrialResult]) -> None:
    """Check that the columns hold these trials and no others."""
    rows = read_rows(path)
    expected = [told[number] for number in sorted(told)]
    assert rows.number.tolist() == sorted(told)
    assert rows.state_names().tolist() == [trial.state.value for trial in expected]
    assert rows.state.tolist() == [STATE_CODES[trial.state] for trial in expected]
    assert rows.n_seeds.tolist() == [trial.n_seeds for trial in expected]
    assert rows.value.tobytes() == b"".join(bits(trial.value) for trial in expected)
    assert rows.stderr.tobytes() == b"".join(bits(trial.stderr) for trial in expected)
    assert rows.duration_s.tobytes() == b"".join(bits(trial.duration_s) for trial in expected)
    digests = [row.tobytes().hex() for row in rows.digest]
    assert digests == [params_digest(trial.params) for trial in expected]
    errors = {trial.number: trial.error for trial in expected if trial.error is not None}
    assert rows.errors == errors
    # Names of trials that were told again may be left, with no value.
    assert {name for trial in expected for name in trial.components} <= {*rows.components}
    for name, column in rows.components.items():
        parts = [trial.components.get(name, math.nan) for trial in expected]
        assert np.array_equal(column, parts, equal_nan=True)
        assert np.array_equal(np.signbit(column), np.signbit(parts)) or np.isnan(parts).any()


def assert_knows(table, told: dict[int, TrialResult]) -> None:
    """Check what a table has in memory."""
    states = [trial.state for trial in told.values()]
    assert {s: table.counts[s] for s in TrialState} == {s: states.count(s) for s in TrialState}
    assert table.counts.total() == len(told)
    for number in {*told, *range(7), 511, 512, 1023, 10**18, 10**18 + 1}:
        assert table.state_of(number) == (told[number].state if number in told else None)


def assert_holds(path, told: dict[int, TrialResult]) -> None:
    assert_rows(path, told)
    with TrialTable(path) as table:
        assert_knows(table, told)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trials.table"


@pytest.fixture(scope="module")
def new_path(tmp_path_factory):
    """Return a function that gives another path each time, for tests of many examples."""
    folder, count = tmp_path_factory.mktemp("tables"), iter(range(10**6))
    return lambda: folder / f"{next(count)}.table"


# What is written is read.


@given(openings=st.lists(STEPS, max_size=3))
def test_what_is_told_and_begun_again_is_known_and_read(openings, new_path):
    path, told = new_path(), {}
    for steps in openings:
        with TrialTable(path) as table:
            assert_knows(table, told)
            for step in steps:
                if isinstance(step, set):
                    table.begin_again(step)
                    told = {n: trial for n, trial in told.items() if n not in step}
                else:
                    add(table, step)
                    told |= last_of(step)
            assert_knows(table, told)
        assert table_end(path) == path.stat().st_size
    assert_holds(path, told)


def test_the_trials_are_told_in_any_order(path):
    fill(path, SOME)
    assert_holds(path, last_of(SOME))
    rows = read_rows(path)
    assert rows.number.dtype == np.int64
    assert rows.value.dtype == np.float64
    assert {*rows.components} == {"cost", "ä"}


def test_there_need_be_no_file(path):
    assert table_end(path) == 0
    assert_rows(path, {})
    path.touch()
    assert table_end(path) == 0
    assert_holds(path, {})
    assert path.read_bytes() == b"seedwise trials 1\n"


def test_a_trial_takes_little_room(path):
    begin, end, with_component = fill(path, [complete(10**17, 0.1), SOME[0]])
    assert end - begin == 53
    assert with_component - end < 90


@pytest.mark.parametrize("letter", ["e", "é", "\udc80", "\x00", "\U0001f600"], ids=ascii)
def test_the_beginning_of_a_long_error_is_kept(letter, path):
    fill(path, [failed(0, letter * 5000)])
    assert read_rows(path).errors == {0: letter * 1000}


def test_an_error_may_be_empty(path):
    fill(path, [failed(0, ""), failed(1, None)])
    assert read_rows(path).errors == {0: ""}


def test_without_tails_the_rest_is_the_same(path):
    fill(path, SOME)
    rows, bare = read_rows(path), read_rows(path, tails=False)
    assert (bare.errors, bare.components) == ({}, {})
    assert bare.value.tobytes() == rows.value.tobytes()
    assert bare.number.tolist() == rows.number.tolist()


def test_what_a_trial_was_before_it_was_told_again_is_gone(path):
    again = [failed(3), complete(1, 2.0), SOME[3]]
    fill(path, [*SOME, *again])
    assert_holds(path, last_of([*SOME, *again]))
    assert np.isnan(read_rows(path).components["cost"]).all()
    assert 1 not in read_rows(path).errors


def test_a_digest_is_needed_for_each_trial(path):
    with TrialTable(path) as table:
        with pytest.raises(ValueError, match="zip"):
            table.add(SOME, ["0" * 12])
        assert_knows(table, {})
    assert_rows(path, {})


# Trials that are begun again.


def test_only_told_trials_are_noted_as_begun_again(path):
    fill(path, SOME)
    size = path.stat().st_size
    with TrialTable(path) as table:
        table.begin_again([4, 5, 10**17])
        table.begin_again([])
    assert path.stat().st_size == size


def test_many_trials_may_be_begun_again(path):
    n_trials = 20_000
    with TrialTable(path) as table:
        add(table, [complete(number, float(number)) for number in range(n_trials)])
        size = path.stat().st_size
        table.begin_again(iter(range(1, n_trials)))
        assert path.stat().st_size - size < 9 * n_trials
        assert table.counts.total() == 1
    assert_holds(path, {0: complete(0, 0.0)})


# Torn and damaged files.


def test_after_a_cut_at_any_byte_the_whole_rows_are_read(path):
    ends = fill(path, SOME)
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        end = max((end for end in ends if end <= length), default=0)
        assert table_end(path) == end
        whole = last_of(SOME[: sum(its_end <= end for its_end in ends[1:])])
        assert_rows(path, whole)
        os.truncate(path, end)
        assert_holds(path, whole)


def test_after_a_cut_at_any_byte_of_a_new_beginning_it_is_not_known(path):
    fill(path, SOME)
    begin = path.stat().st_size
    with TrialTable(path) as table:
        table.begin_again([1, 2])
    data = path.read_bytes()
    for length in range(begin, len(data)):
        path.write_bytes(data[:length])
        assert table_end(path) == begin
        assert_rows(path, last_of(SOME))


#: A flip of one bit of each byte; those of other bits, and of all, are for the full count.
FLIPS = [0x01, *(pytest.param(flip, marks=pytest.mark.full) for flip in (0x80, 0xFF))]


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flip_at_any_byte_is_refused_or_is_in_the_last_row(flip, path):
    ends = fill(path, SOME)
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])
        damaged = max((end for end in ends if end <= position), default=0)
        if damaged == ends[-2]:
            assert table_end(path) == damaged
            assert_rows(path, last_of(SOME[:-1]))
            continue
        for reader in (table_end, read_rows, lambda path: TrialTable(path).__enter__()):
            with pytest.raises(DamagedFileError) as caught:
                reader(path)
            assert (caught.value.path, caught.value.position) == (path, damaged)


def test_another_file_is_no_trial_table(path):
    path.write_bytes(b"seedwise ledger 1\n")
    with pytest.raises(DamagedFileError, match="does not begin as a trial table does"):
        table_end(path)


# The guard, full disks, syncing.


class LostError(Exception):
    pass


DOES = {
    "add": lambda table: add(table, [complete(8, -9.0)]),
    "begin_again": lambda table: table.begin_again([2, 3]),
}


@pytest.mark.parametrize("does", [*DOES, "sync"])
def test_nothing_is_changed_if_the_guard_refuses(does, path):
    def refuse():
        raise LostError

    fill(path, SOME)
    data = path.read_bytes()
    with TrialTable(path, refuse) as table:
        with pytest.raises(LostError):
            {**DOES, "sync": TrialTable.sync}[does](table)
        assert_knows(table, last_of(SOME))
    assert path.read_bytes() == data


@pytest.mark.parametrize("does", DOES)
def test_a_full_disk_leaves_the_table_as_it_was(does, path, monkeypatch):
    fill(path, SOME)
    data = path.read_bytes()
    with TrialTable(path) as table:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda handle, data: 0)
            with pytest.raises(RunFileError, match="No space left on device"):
                DOES[does](table)
        assert_knows(table, last_of(SOME))
        assert path.read_bytes() == data
        DOES[does](table)
        assert table.counts.total() == len(SOME) + {"add": 1, "begin_again": -2}[does]


def test_a_new_beginning_is_on_disk_when_it_returns(path, monkeypatch):
    calls = []
    fill(path, SOME)
    with TrialTable(path) as table:
        monkeypatch.setattr(os, "fsync", calls.append)
        add(table, [SOME[0]])
        assert len(calls) == 0
        table.sync()
        assert len(calls) == 1
        table.begin_again([1])
        assert len(calls) == 2


# Memory.


def traced_mb(action) -> tuple[object, float, float]:
    """Return what a call returns, and the memory in MB that it kept and that it took at most."""
    tracemalloc.start()
    try:
        result = action()
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, kept / 1e6, most / 1e6


@pytest.fixture(scope="module")
def long_table(tmp_path_factory):
    """The file of 200,000 told trials, in the order of their numbers."""
    path = tmp_path_factory.mktemp("long") / "trials.table"
    trial, digest = complete(0, 0.0), params_digest({"x": 0.0})
    with FrameFile(path, trial_rows.FRAMING) as file:
        file.append(
            trial_rows._row_body(attrs.evolve(trial, number=number, value=number / 7), digest)
            for number in range(200_000)
        )
    return path


@pytest.mark.full
def test_many_told_trials_take_little_memory(long_table):
    table, kept_mb, most_mb = traced_mb(TrialTable(long_table).__enter__)
    with table:
        assert table.counts.total() == 200_000
    assert kept_mb < 0.5
    assert most_mb < 3


@pytest.mark.full
def test_many_rows_take_little_memory(long_table):
    rows, kept_mb, most_mb = traced_mb(lambda: read_rows(long_table))
    assert len(rows.number) == 200_000
    assert kept_mb < 12
    assert most_mb < 20


@pytest.mark.full
def test_many_rows_in_another_order_take_little_more(long_table):
    with TrialTable(long_table) as table:
        table.begin_again([0])
        add(table, [complete(0, 0.0)])
    rows, kept_mb, most_mb = traced_mb(lambda: read_rows(long_table))
    assert (rows.number == np.arange(200_000)).all()
    assert kept_mb < 12
    assert most_mb < 25


def test_trials_far_from_all_others_take_no_more_than_their_own(path):
    far = [complete(number * 10**12, 1.0) for number in range(1000)]
    fill(path, far)
    table, kept_mb, _ = traced_mb(TrialTable(path).__enter__)
    with table:
        assert [table.state_of(trial.number) for trial in far] == [COMPLETE] * 1000
        assert table.state_of(10**12 + 1) is None
    assert kept_mb < 1

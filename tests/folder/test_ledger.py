"""The ledger: what is read is what was written, bit for bit, whatever a crash or a disk did."""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from types import SimpleNamespace

import attrs
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.disk import frames
from seedwise.errors import DamagedFileError, LedgerMismatchError, RunFileError
from seedwise.folder import ledger as module
from seedwise.folder.ledger import Ledger, TrialLosses, params_digest, read_trials
from seedwise.model.trials import ChunkResult, FailureKind, Proposal, SeedFailure
from tests.builders import ledger_end

# Any text, with lone surrogates, as in names of files that are not UTF-8.
TEXT = st.text(st.characters(), max_size=60)
LONG_TEXT = st.builds(lambda text, times: (text * times)[:4000], TEXT, st.integers(0, 300))
LOSSES = st.lists(st.floats(width=64), min_size=1, max_size=30)
NAMES = st.lists(TEXT, max_size=3, unique=True)
PARAMS = st.dictionaries(
    TEXT, st.floats(allow_nan=False) | st.integers() | st.booleans() | TEXT, max_size=4
)
FAILURES = st.builds(
    SeedFailure,
    position=st.integers(0, 10**8),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    exception_type=TEXT,
    message=LONG_TEXT,
    traceback=LONG_TEXT,
    kind=st.sampled_from(FailureKind),
)


@st.composite
def entries(draw, params=PARAMS) -> tuple[Proposal, ChunkResult]:
    """Make a result with its trial; there are few trials, each with the same params."""
    trial = draw(st.integers(0, 3))
    losses = np.array(draw(LOSSES)) if draw(st.booleans()) else None
    n_seeds = len(losses) if losses is not None else draw(st.integers(1, 99))
    names = draw(NAMES) if losses is not None else []
    parts = st.lists(st.floats(width=64), min_size=n_seeds, max_size=n_seeds)
    result = ChunkResult(
        trial=trial,
        chunk=draw(st.integers(0, 99)),
        attempt=draw(st.integers(1, 99)),
        start=draw(st.integers(0, 10**8)),
        n_seeds=n_seeds,
        losses=losses,
        failure=None if losses is not None else draw(FAILURES),
        components={name: np.array(draw(parts)) for name in names},
        folder=draw(st.just("") | TEXT),
        duration_s=draw(st.floats(0, 1e8)),
        worker=draw(TEXT),
        job_id=draw(st.none() | TEXT),
    )
    return Proposal(trial, {"x": trial / 3, "kind": "ä"}), result


def losses_of(trial: int, start: int, losses, **more) -> tuple[Proposal, ChunkResult]:
    array = np.array(losses, dtype=np.float64)
    result = ChunkResult(trial, 0, 1, start, len(array), losses=array, **more)
    return Proposal(trial, {"x": float(trial)}), result


def failure_of(trial: int, start: int, **more) -> tuple[Proposal, ChunkResult]:
    failure = SeedFailure(start, 100 + start, "ValueError", "no", "Traceback\n", **more)
    return Proposal(trial, {"x": float(trial)}), ChunkResult(trial, 0, 1, start, 5, None, failure)


#: Losses and a failure; among the losses are bytes with which a header begins.
SOME = [
    losses_of(0, 0, [1.5, -0.0]),
    failure_of(1, 0),
    losses_of(1, 5, np.frombuffer(b'{"{"{"{"' * 3), worker="w-1", job_id="77"),
    losses_of(
        0,
        2,
        [float("inf"), 5e-324, float("nan")],
        components={"cost": np.array([1.0, -0.0, 2.0]), "ä": np.full(3, np.nan)},
        folder="trial_0-2-0a1b2c3d",
    ),
]


def plain(result: ChunkResult) -> dict:
    """Return all that is to be read again of a result, the losses as bytes."""
    fields = attrs.asdict(result, recurse=False)
    failure = result.failure
    if failure is not None:
        failure = attrs.evolve(failure, message=failure.message[:500])
    return {
        **fields,
        "chunk": -1,
        "losses": None if result.losses is None else result.losses.tobytes(),
        "components": [(name, part.tobytes()) for name, part in result.components.items()],
        "failure": failure,
        "duration_s": round(result.duration_s, 6),
        "worker": result.worker[:40],
    }


def of_trial(kept, trial: int) -> list[dict]:
    return [plain(result) for proposal, result in kept if proposal.number == trial]


def losses_in(path, number: int) -> list[float | None]:
    """Return a trial's losses as read, None for none."""
    losses = read_trial(path, number, 5).losses.tolist()
    return [None if loss != loss else loss for loss in losses]


def read(path, kept) -> dict[int, list[dict]]:
    """Open a ledger again and return what it knows of the trials of these entries."""
    proposals = {proposal.number: proposal for proposal, _ in kept}
    with Ledger(path) as ledger:
        return {n: [plain(r) for r in ledger.recorded(p)] for n, p in proposals.items()}


def assert_holds(path, kept) -> None:
    assert read(path, kept) == {p.number: of_trial(kept, p.number) for p, _ in kept}


def fill(path, kept) -> list[int]:
    """Write entries one by one; return where the first begins and where each of them ends."""
    with Ledger(path) as ledger:
        ends = [ledger_end(path)]
        for entry in kept:
            ledger.record([entry])
            ends.append(ledger_end(path))
    return ends


def read_trial(path, number: int, n_seeds: int) -> TrialLosses:
    return read_trials(path, [number], n_seeds)[number]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chunks.ledger"


@pytest.fixture(scope="module")
def new_path(tmp_path_factory):
    """Return a function that gives another path each time, for tests of many examples."""
    folder, count = tmp_path_factory.mktemp("ledgers"), iter(range(10**6))
    return lambda: folder / f"{next(count)}.ledger"


# What is written is read.


@given(openings=st.lists(st.lists(st.lists(entries(), max_size=3), max_size=3), max_size=3))
def test_any_results_are_read_bit_for_bit_however_they_were_written(openings, new_path):
    path = new_path()
    kept = []
    for batches in openings:
        with Ledger(path) as ledger:
            for batch in batches:
                ledger.record(batch)
                kept += batch
        assert_holds(path, kept)
        assert ledger_end(path) == path.stat().st_size


@given(losses=LOSSES, cuts=st.lists(st.integers(1, 7), min_size=1, max_size=30))
def test_the_losses_of_a_trial_are_the_same_bits_in_any_chunks(losses, cuts, new_path):
    path, whole = new_path(), np.array(losses)
    with Ledger(path) as ledger:
        start = 0
        for length in cuts:
            if start < len(whole):
                ledger.record([losses_of(0, start, whole[start : start + length])])
                start += length
        if start < len(whole):
            ledger.record([losses_of(0, start, whole[start:])])
    again = np.empty_like(whole)
    with Ledger(path) as ledger:
        for result in ledger.recorded(Proposal(0, {"x": 0.0})):
            again[result.start : result.start + result.n_seeds] = result.losses
    assert again.tobytes() == whole.tobytes()


def test_a_ledger_has_no_other_trials(path):
    fill(path, SOME)
    with Ledger(path) as ledger:
        assert ledger.recorded(Proposal(2, {"x": 2.0})) == []


def test_the_end_of_a_long_traceback_is_kept(path):
    proposal, result = failure_of(0, 0)
    text = "".join(f"line {n}\n" for n in range(3000))
    failure = attrs.evolve(result.failure, message="m" * 3000, traceback=text)
    fill(path, [(proposal, attrs.evolve(result, failure=failure))])
    with Ledger(path) as ledger:
        (again,) = ledger.recorded(proposal)
    assert again.failure == attrs.evolve(failure, message="m" * 500, traceback=text[-8000:])


@pytest.mark.parametrize(
    "letter",
    [
        "é",
        "€",
        "\x00",
        "\udc80",
        '"',
        "\U0001f600",
    ],
    ids=ascii,
)
def test_a_long_traceback_of_odd_letters_is_kept_in_part(letter, path):
    proposal, result = failure_of(0, 0)
    failure = attrs.evolve(result.failure, message=letter * 3000, traceback=f"{letter * 9000}.")
    fill(path, [(proposal, attrs.evolve(result, failure=failure)), SOME[0]])
    with Ledger(path) as ledger:
        again, after = ledger.recorded(proposal)
    assert failure.traceback.endswith(again.failure.traceback)
    assert len(again.failure.traceback) > 1000
    assert failure.message.startswith(again.failure.message)
    assert plain(after) == plain(SOME[0][1])


@given(losses=LOSSES, duration_s=st.floats(0, 10**7))
def test_a_chunk_takes_little_room(losses, duration_s, new_path):
    proposal, result = losses_of(12345678, 12345678, losses)
    result = attrs.evolve(
        result, attempt=99, duration_s=duration_s, worker="w" * 50, job_id="12345678"
    )
    begin, end = fill(new_path(), [(proposal, result)])
    assert end - begin <= 10 * len(losses) + 200


def test_the_file_is_its_owners_only(path):
    fill(path, [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"seedwise ledger 1\n"


# Params.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"x": 1.0}, {"x": 1.0000000000000002}),
        ({"x": 1.0}, {"x": 1}),
        ({"x": 1}, {"x": True}),
        ({"x": 1}, {"x": "1"}),
        ({"x": 0.0}, {"x": -0.0}),
        ({"x": 1.0}, {"y": 1.0}),
        ({"x": 1.0}, {"x": 1.0, "y": 1.0}),
        ({"x": 1.0, "y": 2.0}, {"x": 2.0, "y": 1.0}),
    ],
)
def test_losses_at_other_params_are_refused_or_dropped(old, new, path):
    kept = [(Proposal(0, old), SOME[0][1]), (Proposal(0, new), SOME[3][1])]
    fill(path, kept)
    with Ledger(path) as ledger, pytest.raises(LedgerMismatchError) as caught:
        ledger.recorded(Proposal(0, new))
    assert (caught.value.path, caught.value.trial, caught.value.params) == (path, 0, new)
    with Ledger(path, accept_changes=True) as ledger:
        (same,) = ledger.recorded(Proposal(0, new))
    assert plain(same) == plain(SOME[3][1])


@given(params=PARAMS)
def test_the_order_of_the_params_is_no_difference(params, new_path):
    path = new_path()
    fill(path, [(Proposal(0, params), SOME[0][1])])
    with Ledger(path) as ledger:
        turned = dict(reversed(params.items()))
        assert len(ledger.recorded(Proposal(0, turned))) == 1


# Phases.


def test_in_a_new_phase_nothing_is_on_record(path):
    fill(path, SOME)
    size = path.stat().st_size
    with Ledger(path) as ledger:
        ledger.begin_phase("loss, seeds[ä]")
        assert ledger.recorded(SOME[0][0]) == []
    assert path.stat().st_size > size
    assert ledger_end(path) == path.stat().st_size
    assert read(path, SOME) == {0: [], 1: []}
    with Ledger(path) as ledger:
        ledger.record([SOME[3]])
    assert read(path, SOME) == {0: [plain(SOME[3][1])], 1: []}


def test_a_new_phase_does_not_mind_results_at_other_params(path):
    fill(path, SOME)
    with Ledger(path) as ledger:
        ledger.begin_phase("loss")
    with Ledger(path) as ledger:
        assert ledger.recorded(Proposal(0, {"x": 7.0})) == []


# Components and folders.


def test_a_result_without_components_and_folder_is_written_as_ever(path):
    fill(path, [SOME[0], SOME[1]])
    assert b"components" not in path.read_bytes()
    assert b"folder" not in path.read_bytes()


def test_a_failure_has_its_folder(path):
    proposal, result = failure_of(1, 0)
    fill(path, [(proposal, attrs.evolve(result, folder="trial_1-0-0a1b2c3d"))])
    with Ledger(path) as ledger:
        (again,) = ledger.recorded(proposal)
    assert again.folder == "trial_1-0-0a1b2c3d"


def test_a_file_that_knows_no_components_is_read(path):
    """As it was written before there were any."""
    header = (
        b'{"trial":4,"start":2,"n":2,"attempt":1,"digest":"%b","duration_s":0.5,"worker":"w",'
        b'"job_id":null}' % params_digest({"x": 1.0}).encode()
    )
    body = struct.pack("<I", len(header)) + header + struct.pack("<2d", 1.5, -0.0)
    record = struct.pack("<II", len(body), zlib.crc32(body)) + body
    path.write_bytes(b"seedwise ledger 1\n" + record)
    with Ledger(path) as ledger:
        (result,) = ledger.recorded(Proposal(4, {"x": 1.0}))
    assert result.losses.tobytes() == np.array([1.5, -0.0]).tobytes()
    assert (result.components, result.folder, result.start, result.worker) == ({}, "", 2, "w")
    written = ChunkResult(4, 0, 1, 2, 2, result.losses, duration_s=0.5, worker="w")
    fill(path.with_name("b"), [(Proposal(4, {"x": 1.0}), written)])
    assert path.with_name("b").read_bytes() == path.read_bytes()


# Trials that are told, and trials that are begun again.


def test_of_told_trials_nothing_is_kept_in_memory(path):
    fill(path, SOME)
    with Ledger(path, told={0}.__contains__) as ledger:
        assert ledger.recorded(SOME[0][0]) == []
        assert len(ledger.recorded(SOME[1][0])) == 2
    assert_holds(path, SOME)


def test_of_a_trial_that_is_begun_again_nothing_before_it_counts(path):
    fill(path, SOME)
    with Ledger(path) as ledger:
        ledger.begin_again([0, 10**18])
        assert ledger.recorded(SOME[0][0]) == []
        ledger.record([SOME[3]])
    assert ledger_end(path) == path.stat().st_size
    assert read(path, SOME) == {0: [plain(SOME[3][1])], 1: of_trial(SOME, 1)}
    with Ledger(path) as ledger:
        ledger.begin_again(iter([0, 1]))
        ledger.record([SOME[0], SOME[2]])
    assert read(path, SOME) == {0: [plain(SOME[0][1])], 1: [plain(SOME[2][1])]}


@pytest.mark.parametrize(
    ("failures", "folder", "kept"),
    [
        (["TrialTimeout"], "", True),
        (["ChunkTimeout", "TrialTimeout"], "", True),
        (["TrialTimeout"], "trial_000-0-0f1e2d3c", False),
        (["TrialTimeout", "ValueError"], "", False),
        (["ProcessDied"], "", False),
        ([], "", False),  # it is asked for by its number
    ],
)
def test_of_a_trial_that_only_took_too_long_the_losses_count(path, failures, folder, kept):
    good = attrs.evolve(SOME[0][1], folder=folder)
    bad = [
        attrs.evolve(
            SOME[0][1], losses=None, components={}, failure=SeedFailure(0, None, name, "", "")
        )
        for name in failures
    ]
    fill(path, [(SOME[0][0], result) for result in [good, *bad]])
    with Ledger(path) as ledger:
        ledger.begin_again([0])
        assert [plain(one) for one in ledger.recorded(SOME[0][0])] == (
            [plain(good)] if kept else []
        )
    assert read(path, SOME[:1]) == {0: [plain(good)] if kept else []}


def test_a_trial_that_is_begun_again_may_have_other_params(path):
    fill(path, SOME)
    other = Proposal(0, {"x": 7.0})
    with Ledger(path) as ledger:
        ledger.begin_again([0])
        ledger.record([(other, SOME[0][1])])
    with Ledger(path) as ledger:
        assert [plain(result) for result in ledger.recorded(other)] == [plain(SOME[0][1])]


def test_no_trial_may_be_begun_again(path):
    fill(path, SOME)
    size = path.stat().st_size
    with Ledger(path) as ledger:
        ledger.begin_again([])
    assert path.stat().st_size == size


@given(
    steps=st.lists(
        st.lists(entries(), max_size=3) | st.sets(st.integers(0, 4)) | st.none(), max_size=8
    ),
    told=st.sets(st.integers(0, 3)),
)
def test_phases_and_new_beginnings_count_when_read_as_they_did_when_written(steps, told, new_path):
    path, kept = new_path(), []
    with Ledger(path) as ledger:
        for step in steps:
            if step is None:
                ledger.begin_phase("loss")
                kept = []
            elif isinstance(step, set):
                ledger.begin_again(sorted(step))
                kept = [entry for entry in kept if entry[0].number not in step]
            else:
                ledger.record(step)
                kept += step
    proposals = [Proposal(trial, {"x": trial / 3, "kind": "ä"}) for trial in range(4)]
    with Ledger(path, told=told.__contains__) as ledger:
        for proposal in proposals:
            again = [plain(result) for result in ledger.recorded(proposal)]
            number = proposal.number
            assert again == ([] if number in told else of_trial(kept, number))


def test_a_million_trials_may_be_begun_again(path):
    with Ledger(path) as ledger:
        ledger.record([SOME[0], losses_of(7, 0, [1.0]), losses_of(10**6, 0, [1.0])])
        ledger.begin_again(range(1, 10**6))
    data = path.read_bytes()
    assert 50 < data.count(b'{"redo":') < 5000
    assert ledger_end(path) == len(data)
    with Ledger(path) as ledger:
        assert len(ledger.recorded(Proposal(0, {"x": 0.0}))) == 1
        assert ledger.recorded(Proposal(7, {"x": 7.0})) == []
        assert len(ledger.recorded(Proposal(10**6, {"x": 1e6}))) == 1


# The losses of one trial.


def test_the_losses_of_a_trial_are_at_their_seeds(path):
    assert losses_in(path, 3) == [None] * 5
    fill(path, [*SOME, losses_of(3, 3, [30.0, 40.0]), losses_of(30, 0, [1.0]), failure_of(3, 0)])
    assert losses_in(path, 3) == [None, None, None, 30.0, 40.0]
    assert losses_in(path, 4) == [None] * 5
    found = read_trial(path, 0, 7)
    assert found.losses.tobytes() == np.array([1.5, -0.0, np.inf, 5e-324, *[np.nan] * 3]).tobytes()
    assert {*found.components} == {"cost", "ä"}
    cost = found.components["cost"].tolist()
    assert cost[2:5] == [1.0, -0.0, 2.0]
    assert np.isnan([*cost[:2], *cost[5:], *found.components["ä"]]).all()


def test_the_latest_losses_count_seed_by_seed(path):
    cost = {"cost": np.array([1.0, 2.0, 3.0])}
    fill(path, [losses_of(0, 0, [1.0, 2.0, 3.0], components=cost), losses_of(0, 2, [30.0, 40.0])])
    found = read_trial(path, 0, 4)
    assert found.losses.tolist() == [1.0, 2.0, 30.0, 40.0]
    assert found.components["cost"].tolist()[:2] == [1.0, 2.0]
    assert np.isnan(found.components["cost"][2:]).all()


def test_losses_of_seeds_that_the_plan_has_no_more_are_left_out(path):
    cost = {"cost": np.arange(7.0)}
    fill(path, [losses_of(0, 2, np.arange(7.0), components=cost), losses_of(0, 9, [1.0])])
    found = read_trial(path, 0, 4)
    assert found.losses.tolist()[2:] == [0.0, 1.0]
    assert found.components["cost"].tolist()[2:] == [0.0, 1.0]


def test_losses_of_a_trial_that_was_told_before_a_change_are_there_after_it(path):
    fill(path, [losses_of(0, 0, [1.0, 2.0]), losses_of(1, 0, [3.0, 4.0])])
    with Ledger(path) as ledger:
        ledger.begin_phase("loss")
        ledger.record([losses_of(1, 1, [5.0])])
    assert losses_in(path, 0) == [1.0, 2.0, None, None, None]
    assert losses_in(path, 1) == [None, 5.0, None, None, None]


def test_losses_of_a_trial_that_is_begun_again_are_gone(path):
    fill(path, [losses_of(0, 0, [1.0, 2.0]), losses_of(1, 0, [3.0, 4.0])])
    with Ledger(path) as ledger:
        ledger.begin_again([1])
        assert losses_in(path, 1) == [None] * 5
        ledger.record([losses_of(1, 0, [5.0])])
    assert losses_in(path, 0) == [1.0, 2.0, None, None, None]
    assert losses_in(path, 1) == [5.0, None, None, None, None]


def test_the_failure_is_the_first_in_the_order_of_the_seeds_that_was_not_mended(path):
    fill(path, [failure_of(0, 4), failure_of(0, 2), failure_of(0, 0), losses_of(0, 0, [1.0, 2.0])])
    assert read_trial(path, 0, 6).failure == failure_of(0, 2)[1].failure
    assert read_trial(path, 1, 6).failure is None
    with Ledger(path) as ledger:
        ledger.begin_again([0])
    assert read_trial(path, 0, 6).failure is None


def test_what_was_changed_after_a_trial_is_said_of_it(path):
    fill(path, [losses_of(n, 0, [1.0]) for n in (0, 1, 2)])
    with Ledger(path) as ledger:
        ledger.begin_phase("loss, direction")
        ledger.record([losses_of(1, 0, [5.0])])
        ledger.begin_phase("seeds")
        ledger.begin_again([2])
        ledger.record([losses_of(2, 0, [5.0])])
    changed = [read_trial(path, number, 1).changed_since for number in range(3)]
    assert changed == [["loss", "direction", "seeds"], ["seeds"], []]


def test_losses_at_other_params_are_never_mixed(path):
    old, new = (Proposal(0, {"x": x}) for x in (1.0, 2.0))
    fill(path, [(old, losses_of(0, 0, [1.0, 2.0])[1]), (new, losses_of(0, 1, [3.0])[1])])
    assert losses_in(path, 0) == [None, 3.0, None, None, None]


# Torn and damaged files.


def test_there_need_be_no_file(path):
    assert ledger_end(path) == 0
    path.touch()
    assert ledger_end(path) == 0
    assert_holds(path, [])


def assert_cuts_are_found(path, kept, ends, lengths) -> None:
    data = path.read_bytes()
    for length in lengths:
        path.write_bytes(data[:length])
        end = max((end for end in ends if end <= length), default=0)
        assert ledger_end(path) == end
        os.truncate(path, end)
        whole = [entry for entry, its_end in zip(kept, ends[1:], strict=True) if its_end <= end]
        assert_holds(path, whole)


def test_after_a_cut_at_any_byte_the_whole_records_are_read(path):
    ends = fill(path, SOME)
    assert_cuts_are_found(path, SOME, ends, range(ends[-1] + 1))


def test_after_a_cut_at_any_byte_the_ledger_goes_on(path):
    ends = fill(path, SOME)
    data = path.read_bytes()
    for length in range(ends[-2], ends[-1]):
        path.write_bytes(data[:length])
        os.truncate(path, ledger_end(path))
        fill(path, [SOME[-1]])
        assert path.read_bytes() == data


@given(kept=st.lists(entries(), min_size=1, max_size=4), data=st.data())
def test_after_a_cut_of_any_records_the_whole_ones_are_read(kept, data, new_path):
    path = new_path()
    ends = fill(path, kept)
    assert_cuts_are_found(path, kept, ends, [data.draw(st.integers(0, ends[-1]))])


def assert_flip_is_found(path, kept, ends, position: int, flip: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= flip
    path.write_bytes(data)
    damaged = max((end for end in ends if end <= position), default=0)
    if damaged == ends[-2]:  # in the last record, which then counts as torn
        assert ledger_end(path) == damaged
        os.truncate(path, damaged)
        assert_holds(path, kept[:-1])
        return
    with pytest.raises(DamagedFileError, match=f"at byte {damaged}:") as caught:
        ledger_end(path)
    assert (caught.value.path, caught.value.position) == (path, damaged)


#: A flip of one bit of each byte; those of other bits, and of all, are for the full count.
FLIPS = [0x01, *(pytest.param(flip, marks=pytest.mark.full) for flip in (0x20, 0x80, 0xFF))]


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flip_at_any_byte_is_found_in_its_record(flip, path):
    ends = fill(path, SOME)
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data)
        assert_flip_is_found(path, SOME, ends, position, flip)


@given(kept=st.lists(entries(), min_size=1, max_size=4), flip=st.integers(1, 255), data=st.data())
def test_a_flip_in_any_records_is_found(kept, flip, data, new_path):
    path = new_path()
    ends = fill(path, kept)
    position = data.draw(st.integers(0, ends[-1] - 1))
    assert_flip_is_found(path, kept, ends, position, flip)


@pytest.mark.parametrize("content", [b"{}", b"seedwise ledger 2\n", b"seedwise\n", b"\x00" * 40])
def test_another_file_is_no_ledger(content, path):
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="does not begin as a ledger does") as caught:
        ledger_end(path)
    assert caught.value.position == 0


def test_a_tail_of_zeros_is_cut_off(path):
    end = fill(path, SOME)[-1]
    with path.open("ab") as file:
        file.write(bytes(1000))
    assert ledger_end(path) == end


def test_a_ledger_that_can_not_be_read_is_not_left_open(path):
    path.write_bytes(b"this is no ledger, but a text")
    with pytest.raises(DamagedFileError):
        Ledger(path).__enter__()
    assert str(path) not in {file.path for file in psutil.Process().open_files()}


# The guard, and when the file is synced.


class LostError(Exception):
    pass


@pytest.fixture
def calls(monkeypatch):
    """Note the calls of the guard and of the system."""
    calls = []

    def note(name: str) -> None:
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args: (calls.append(name), call(*args))[1])

    note("write")
    note("fsync")
    return calls


DOES = {
    "record": lambda ledger: ledger.record(SOME),
    "begin_phase": lambda ledger: ledger.begin_phase("loss"),
    "begin_again": lambda ledger: ledger.begin_again([0, 1]),
    "sync": lambda ledger: ledger.sync(),
}


@pytest.mark.parametrize("does", DOES)
def test_the_guard_is_asked_before_each_write(does, path, calls):
    fill(path, SOME)
    with Ledger(path, lambda: calls.append("guard")) as ledger:
        calls.clear()
        DOES[does](ledger)
    assert calls
    assert calls == [word for call in calls[1::2] for word in ("guard", call)]


@pytest.mark.parametrize("does", DOES)
def test_nothing_is_written_if_the_guard_refuses(does, path, calls):
    def refuse():
        raise LostError

    fill(path, SOME)
    data = path.read_bytes()
    with Ledger(path, refuse) as ledger:
        calls.clear()
        with pytest.raises(LostError):
            DOES[does](ledger)
        assert calls == []
        assert len(ledger.recorded(SOME[0][0])) == 2
    assert path.read_bytes() == data


def test_the_guard_is_asked_before_the_first_line(path, calls):
    with Ledger(path, lambda: calls.append("guard")):
        assert calls == ["guard", "write"]


def test_what_is_recorded_is_synced_once_a_second(path, calls, monkeypatch):
    now = 1000.0
    for part in (module, frames):
        monkeypatch.setattr(part, "time", SimpleNamespace(monotonic=lambda: now))
    with Ledger(path) as ledger:
        for second, n_syncs in ((0.0, 1), (0.9, 1), (1.1, 2), (1.2, 2), (9.0, 3), (9.5, 3)):
            now = 1000.0 + second
            ledger.record([SOME[0]])
            assert calls.count("fsync") == n_syncs
        ledger.sync()
        assert calls.count("fsync") == 4
        ledger.begin_phase("loss")
        assert calls.count("fsync") == 5


def test_to_record_nothing_writes_nothing(path, calls):
    fill(path, [])
    with Ledger(path) as ledger:
        calls.clear()
        ledger.record([])
    assert "write" not in calls


# Full disks.


class Disk:
    """An os.write that takes a part of what does not fit, and then nothing; see write(2)."""

    def __init__(self) -> None:
        self.room: int | None = None
        self._write = os.write

    def write(self, handle: int, data) -> int:
        if self.room is None:
            return self._write(handle, data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_written = self._write(handle, bytes(data)[: self.room])
        self.room -= n_written
        return n_written


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(os, "write", disk.write)
    return disk


@pytest.mark.parametrize("does", ["record", "begin_phase", "begin_again"])
@pytest.mark.parametrize("room", [0, 1, 7, 20])
def test_a_full_disk_leaves_the_ledger_whole(does, room, path, disk):
    fill(path, SOME)
    data = path.read_bytes()
    with Ledger(path) as ledger:
        disk.room = room
        with pytest.raises(RunFileError, match="No space left on device") as caught:
            DOES[does](ledger)
        assert caught.value.path == path
        assert path.read_bytes() == data
        assert len(ledger.recorded(SOME[0][0])) == 2
        disk.room = None
        ledger.record([SOME[2]])
    assert_holds(path, [*SOME, SOME[2]])


@given(
    batches=st.lists(
        st.tuples(st.lists(entries(), max_size=3), st.none() | st.integers(0, 300)), max_size=6
    )
)
def test_on_a_disk_that_is_full_at_times_each_record_is_whole_or_not_there(batches, new_path):
    path, disk, kept = new_path(), Disk(), []
    with pytest.MonkeyPatch.context() as patch, Ledger(path) as ledger:
        patch.setattr(os, "write", disk.write)
        for batch, room in batches:
            disk.room = room
            try:
                ledger.record(batch)
            except RunFileError:
                assert room is not None
            else:
                kept += batch
    assert_holds(path, kept)


def test_a_disk_that_takes_nothing_is_full(path, monkeypatch):
    fill(path, SOME)
    with Ledger(path) as ledger, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: 0)
        with pytest.raises(RunFileError, match="No space left on device"):
            ledger.record([SOME[0]])
    assert_holds(path, SOME)


def test_a_short_write_is_completed(path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:7]))
    fill(path, SOME)
    assert_holds(path, SOME)


def test_a_disk_that_can_not_sync_is_told(path, monkeypatch):
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Ledger(path) as ledger:
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(RunFileError, match="Input/output error"):
            ledger.sync()


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    with pytest.raises(RunFileError, match="No such file or directory"):
        Ledger(tmp_path / "gone" / "chunks.ledger").__enter__()

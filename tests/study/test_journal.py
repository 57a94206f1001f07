"""The study file: one writer, each record with a checksum, and stock Optuna reads it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import zlib
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from seedwise.errors import DamagedFileError
from seedwise.study.journal import (
    JournalCopy,
    SingleWriterJournal,
    journal_end,
    take_back_tells,
    told_later,
    turn_direction,
)

SPACE = {
    "x": optuna.distributions.FloatDistribution(0, 1),
    "n": optuna.distributions.IntDistribution(1, 100, log=True),
    "kind": optuna.distributions.CategoricalDistribution(["a", "b"]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


@pytest.fixture
def journal(path):
    journal = SingleWriterJournal(path)
    yield journal
    journal.close()


def create(journal: SingleWriterJournal) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(journal),
        study_name="walk",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )


def load(backend) -> optuna.Study:
    return optuna.load_study(study_name="walk", storage=JournalStorage(backend))


def add_trials(study: optuna.Study, values) -> None:
    for value in values:
        trial = study.ask(SPACE)
        trial.set_user_attr("stderr", value)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        study.tell(trial, value, state=state)


def test_stock_optuna_reads_what_is_written(journal, path):
    study = create(journal)
    add_trials(study, [3.0, None, 0.1])
    study.ask(SPACE)
    stock = load(JournalFileBackend(str(path)))
    assert stock.get_trials() == study.get_trials()
    assert [trial.state for trial in stock.trials] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    assert stock.best_value == 0.1


def test_a_journal_goes_on_where_another_ended(journal, path):
    add_trials(create(journal), [3.0, 0.1])
    journal.close()
    second = SingleWriterJournal(path)
    study = load(second)
    add_trials(study, [0.05])
    stock = load(JournalFileBackend(str(path)))
    assert [trial.value for trial in stock.trials] == [3.0, 0.1, 0.05]
    assert stock.get_trials() == study.get_trials()
    second.close()


def test_what_stock_optuna_wrote_is_read(journal, path):
    stock = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))), study_name="walk"
    )
    add_trials(stock, [3.0, 0.1])
    assert load(journal).get_trials() == stock.get_trials()


def test_it_travels_as_a_path_and_takes_up_the_work(journal, path):
    study = create(journal)
    add_trials(study, [3.0])
    again = pickle.loads(pickle.dumps(journal))
    assert again.path == path
    assert load(again).get_trials() == study.get_trials()
    again.close()


def test_each_record_is_a_line_on_disk_at_once(journal, path):
    journal.append_logs([{"op_code": 0, "a": (1, 2)}, {"op_code": 4}])
    first = b'{"op_code":0,"a":[1,2],"crc32":"%08x"}\n' % zlib.crc32(b'{"op_code":0,"a":[1,2]')
    second = b'{"op_code":4,"crc32":"%08x"}\n' % zlib.crc32(b'{"op_code":4')
    assert path.read_bytes() == first + second
    journal.append_logs([{"op_code": 1}])
    assert json.loads(path.read_bytes().splitlines()[2])["op_code"] == 1


def test_records_are_read_from_a_number_on(journal):
    records = [{"op_code": 0, "n": n} for n in range(4)]
    journal.append_logs(records[:3])
    assert list(journal.read_logs(0)) == records[:3]
    assert list(journal.read_logs(3)) == []
    journal.append_logs(records[3:])
    assert list(journal.read_logs(3)) == records[3:]
    assert list(journal.read_logs(4)) == []


@pytest.mark.parametrize("first", [0, 2, 3])
def test_records_of_a_file_are_read_from_a_number_on(journal, path, first):
    records = [{"op_code": 0, "n": n} for n in range(3)]
    journal.append_logs(records)
    again = SingleWriterJournal(path)
    assert list(again.read_logs(first)) == records[first:]
    again.close()


def test_a_record_is_read_as_a_reader_of_the_file_sees_it(journal):
    journal.append_logs([{"op_code": 0, "state": TrialState.RUNNING, "pair": (1, 2)}])
    assert list(journal.read_logs(0)) == [{"op_code": 0, "state": 0, "pair": [1, 2]}]


def test_the_file_is_synced_when_a_trial_ends_and_not_otherwise(journal, path, monkeypatch):
    sizes = []
    fsync = os.fsync

    def count(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    study = create(journal)
    trial = study.ask(SPACE)
    trial.set_user_attr("stderr", 0.5)
    trial.report(1.0, step=1)
    assert sizes == []
    study.tell(trial, 1.0)
    assert sizes == [path.stat().st_size]
    failed = study.ask(SPACE)
    assert len(sizes) == 1
    study.tell(failed, state=TrialState.FAIL)
    assert sizes[1:] == [path.stat().st_size]


def test_a_journal_that_was_never_used_can_be_closed(path):
    SingleWriterJournal(path).close()
    assert not path.exists()


def test_a_short_write_is_completed(tmp_path, monkeypatch):
    """A disk may take a part only."""
    journal, write = SingleWriterJournal(tmp_path / "j"), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:7]))
    record = {"op_code": 8, "text": "some words that are longer than seven letters"}
    journal.append_logs([record])
    journal.close()
    assert list(SingleWriterJournal(tmp_path / "j").read_logs(0)) == [record]


def test_a_copy_knows_what_the_writer_is_to_append(journal, path):
    journal.append_logs([{"op_code": 0, "directions": (1,)}])
    copy = JournalCopy(path)
    assert list(copy.read_logs(0)) == [{"op_code": 0, "directions": [1]}]
    assert copy.take() == (b"", False)

    copy.append_logs([{"op_code": 1, "text": "ä"}, {"op_code": 6, "state": TrialState.RUNNING}])
    assert list(copy.read_logs(1)) == [{"op_code": 1, "text": "ä"}, {"op_code": 6, "state": 0}]
    copy.append_logs([{"op_code": 6, "state": TrialState.COMPLETE}])
    lines, durable = copy.take()
    assert durable
    assert journal.append(lines, durable=durable) == path.stat().st_size == journal_end(path)
    assert list(copy.read_logs(3)) == list(journal.read_logs(3)) == [{"op_code": 6, "state": 1}]
    assert copy.take() == (b"", False)


# Torn and damaged files.


def starts(path) -> list[int]:
    """Return where the records of a file begin, and where the last one ends."""
    found = [0]
    for line in path.read_bytes().splitlines(keepends=True):
        found.append(found[-1] + len(line))
    return found


def read(path) -> list[dict]:
    journal = SingleWriterJournal(path)
    records = list(journal.read_logs(0))
    journal.close()
    return records


@pytest.fixture
def filled(journal, path):
    """Return the path of a journal with two trials, of which one is open."""
    study = create(journal)
    add_trials(study, [3.0])
    study.ask(SPACE)
    journal.close()
    return path


def test_there_need_be_no_file(path):
    assert journal_end(path) == 0
    assert not path.exists()
    path.touch()
    assert journal_end(path) == 0


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.full)])
def test_after_a_cut_at_any_byte_the_whole_records_are_read(step, filled):
    data, ends, records = filled.read_bytes(), starts(filled), read(filled)
    at_ends = {end + near for end in ends for near in (-1, 0, 1)}
    for length in sorted({*range(0, len(data), step), *at_ends} & {*range(len(data) + 1)}):
        filled.write_bytes(data[:length])
        end = max(end for end in ends if end <= length)
        assert journal_end(filled) == end
        os.truncate(filled, end)
        assert read(filled) == records[: ends.index(end)]


def test_after_a_cut_at_any_byte_the_journal_goes_on(filled):
    data, ends, last = filled.read_bytes(), starts(filled), read(filled)[-1]
    for length in range(ends[-2], ends[-1]):
        filled.write_bytes(data[:length])
        os.truncate(filled, journal_end(filled))
        journal = SingleWriterJournal(filled)
        journal.append_logs([last])
        journal.close()
        assert filled.read_bytes() == data


def end_or_damage(path) -> tuple[int, bool]:
    """Return where a journal ends, or where it is damaged, and whether it is."""
    try:
        return journal_end(path), False
    except DamagedFileError as error:
        return error.position, True


#: A flip of one bit of each byte; those of other bits, and of all, are for the full count.
FLIPS = [0x01, *(pytest.param(flip, marks=pytest.mark.full) for flip in (0x20, 0x80, 0xFF))]


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flip_at_any_byte_is_found_in_its_record_or_changes_no_value(flip, filled):
    data, begins, records = filled.read_bytes(), starts(filled), read(filled)
    n_refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= flip
        filled.write_bytes(damaged)
        begin = max(begin for begin in begins if begin <= position)
        # The last record counts as torn, and so does one that has become one with it.
        last = begin == begins[-2] or position == begins[-2] - 1
        end, refused = end_or_damage(filled)
        if refused:
            assert end == begin
            n_refused += 1
        elif end == len(data):  # only the name of the checksum is another one
            again = read(filled)
            assert [record | old for record, old in zip(again, records, strict=True)] == again
        else:
            assert last
            assert end == begin
    assert n_refused > 0.9 * begins[-2] - 9


def test_a_record_that_is_gone_in_part_is_damage(filled):
    data, begins = filled.read_bytes(), starts(filled)
    filled.write_bytes(data[: begins[2] + 9] + data[begins[3] :])
    with pytest.raises(DamagedFileError, match=f"at byte {begins[2]}:") as caught:
        journal_end(filled)
    assert (caught.value.path, caught.value.position) == (filled, begins[2])


def test_a_tail_of_zeros_is_cut_off(filled):
    end = filled.stat().st_size
    with filled.open("ab") as file:
        file.write(bytes(1000))
    assert journal_end(filled) == end


def test_records_of_another_program_have_no_checksum_and_are_whole(filled):
    stock = load(JournalFileBackend(str(filled)))
    stock.set_user_attr("note", "made in optuna-dashboard, ä")
    foreign = filled.read_bytes().splitlines()[-1]
    assert b"crc32" not in foreign
    end = journal_end(filled)
    assert end == filled.stat().st_size
    journal = SingleWriterJournal(filled)
    study = load(journal)
    assert study.user_attrs == {"note": "made in optuna-dashboard, ä"}
    add_trials(study, [0.5])
    journal.close()
    assert journal_end(filled) == filled.stat().st_size > end
    stock = load(JournalFileBackend(str(filled)))
    assert stock.user_attrs == study.user_attrs
    assert stock.get_trials() == study.get_trials()


@pytest.mark.parametrize(
    "line",
    [
        b'{"op_code":4',
        b'{"op_code":4\n',
        b'{"no":"record"}\n',
        b"\n",
        b"\xff\xfe\n",
        b'{"op_code":4,"crc32":"00000000"}\n',
        b"5\n",
    ],
)
def test_what_is_no_whole_record_is_cut_off_at_the_end_and_damage_elsewhere(line, filled):
    data, end = filled.read_bytes(), filled.stat().st_size
    filled.write_bytes(data + line)
    assert journal_end(filled) == end
    filled.write_bytes(data + line + b"\n" + data)
    assert end_or_damage(filled) == (end, True)


def test_optuna_is_not_given_the_checksum(filled):
    assert all(list(json.loads(line))[-1] == "crc32" for line in filled.read_bytes().splitlines())
    assert all("crc32" not in record for record in read(filled))


# Another direction.


def test_a_study_is_turned_and_keeps_its_trials_and_positions(filled):
    trials, begins = load(JournalFileBackend(str(filled))).get_trials(), starts(filled)
    for direction in ("maximize", "minimize"):
        turn_direction(filled, direction)
        stock = load(JournalFileBackend(str(filled)))
        assert stock.direction.name == direction.upper()
        assert stock.get_trials() == trials
        assert starts(filled) == begins  # which checkpoints point to
        assert journal_end(filled) == begins[-1]


def test_a_study_that_has_the_direction_is_left_as_it_is(filled):
    def state():  # the time of the last access may change
        found = filled.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    before = state()
    turn_direction(filled, "minimize")
    assert state() == before
    assert list(filled.parent.iterdir()) == [filled]


def test_to_turn_nothing_makes_nothing(path):
    turn_direction(path, "maximize")
    assert not path.exists()
    path.touch()
    turn_direction(path, "maximize")
    assert path.read_bytes() == b""


def test_a_study_that_was_turned_is_as_safe_as_it_was(filled, monkeypatch):
    calls, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    turn_direction(filled, "maximize")
    assert calls == ["fsync", "replace"]


# Tells that are taken back.


def test_a_tell_that_is_taken_back_leaves_the_others_and_the_positions(journal, path):
    study = create(journal)
    add_trials(study, [3.0, None, 0.1, None])
    journal.close()
    before, begins = load(JournalFileBackend(str(path))).get_trials(), starts(path)
    take_back_tells(path, {1, 3})
    data = path.read_bytes()
    take_back_tells(path, {1, 3})  # there is nothing left to take back
    assert path.read_bytes() == data
    assert starts(path) == begins  # which checkpoints point to
    assert journal_end(path) == begins[-1]
    trials = load(JournalFileBackend(str(path))).get_trials()
    assert [trials[0], trials[2]] == [before[0], before[2]]
    for number in (1, 3):
        asked = (before[number].params, before[number].datetime_start)
        assert (trials[number].params, trials[number].datetime_start) == asked
        assert trials[number].state is TrialState.RUNNING
        assert (trials[number].datetime_complete, trials[number].user_attrs) == (None, {})


def test_a_trial_can_be_told_again(journal, path):
    study = create(journal)
    add_trials(study, [None, 3.0])
    journal.close()
    for value, state in [(None, TrialState.PRUNED), (0.5, TrialState.COMPLETE)]:
        take_back_tells(path, {0})
        again = SingleWriterJournal(path)
        load(again).tell(0, value, state=state)
        again.close()
        stock = load(JournalFileBackend(str(path)))
        assert (stock.trials[0].value, stock.trials[0].state) == (value, state)
    assert stock.best_trial.number == 0


def test_which_trials_were_told_after_one_was_asked_for(journal, path):
    study = create(journal)
    study.ask()
    study.ask()
    study.tell(1, 3.0)
    study.ask()
    assert told_later(path, [0, 2]) == {0: {1}, 2: set()}
    study.tell(0, 1.0)
    assert told_later(path, [2]) == {2: {0}}
    journal.close()
    take_back_tells(path, {0, 1})
    assert told_later(path, [0, 2]) == {0: set(), 2: set()}


def test_to_take_back_is_one_step(filled, monkeypatch):
    calls, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    take_back_tells(filled, {0})
    assert calls == ["fsync", "replace"]


# Full disks.


class FullDisk:
    """An os.write that takes a part of what does not fit, and then nothing; see write(2)."""

    def __init__(self, room: int) -> None:
        self._write, self._room = os.write, room

    def __call__(self, handle: int, data) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_written = self._write(handle, bytes(data)[: self._room])
        self._room -= n_written
        return n_written


@pytest.mark.parametrize("room", [0, 1, 30, 70])
def test_a_full_disk_leaves_the_file_as_it_was(room, journal, path, monkeypatch):
    records = [{"op_code": 8, "text": "something that takes room", "n": n} for n in range(4)]
    journal.append_logs(records[:1])
    data = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room))
        with pytest.raises(OSError, match="No space left on device") as caught:
            journal.append_logs(records[1:3])
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == data
    assert list(journal.read_logs(0)) == records[:1]
    journal.append_logs(records[3:])
    assert journal_end(path) == path.stat().st_size
    assert read(path) == [records[0], records[3]]
    assert list(journal.read_logs(1)) == records[3:]


def test_a_disk_that_takes_nothing_is_full(journal, path, monkeypatch):
    journal.append_logs([{"op_code": 0}])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: 0)
        with pytest.raises(OSError, match="No space left on device"):
            journal.append_logs([{"op_code": 1}])
    assert read(path) == [{"op_code": 0}]


def test_a_trial_that_can_not_be_synced_has_not_ended(journal, path, monkeypatch):
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    study = create(journal)
    trial = study.ask(SPACE)
    data = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output error"):
            study.tell(trial, 1.0)
    assert path.read_bytes() == data
    assert load(JournalFileBackend(str(path))).trials[0].state is TrialState.RUNNING

"""A run's history: what its folder says of the time before, and what each driver adds."""

from __future__ import annotations

import shutil
import warnings
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from seedwise.errors import ChangedRunError, NotARunError
from seedwise.folder import history as module
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import entry_directory, open_run_directory
from seedwise.folder.history import History, take_up_history

BEFORE = {"loss": "walk, code 1", "seeds": "3 from 0 to 2"}
CHANGED = {**BEFORE, "loss": "walk, code 2"}


@pytest.fixture
def directory(tmp_path):
    return open_run_directory(tmp_path, "mine", "walk")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that advances by a minute each time it is read."""
    times = (datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(99))
    monkeypatch.setattr(module, "utc_now", lambda: next(times))


def at(minute: int) -> str:
    return f"2030-01-01T00:{minute:02}:00+00:00"


def take_up(
    directory: RunDirectory, depends_on=BEFORE, name="walk", accept_changes=False, **more
) -> History:
    """Take a run's history up, and write it down as a run does."""
    history = take_up_history(directory, name, depends_on, accept_changes=accept_changes, **more)
    directory.meta.write(history.to_meta())
    return history


def test_a_new_run_has_no_past(directory):
    history = take_up(directory)
    assert history.is_new
    assert history == History(history.run_id, "walk", BEFORE, at(0))
    assert directory.read_meta() == {
        "run_id": history.run_id,
        "study_name": "walk",
        "results_depend_on": BEFORE,
        "started_at_utc": at(0),
        "resumed_at_utc": [],
        "accepted_changes": [],
        "phases": [],
        "trial_digits": 3,
    }


def test_each_run_has_an_id_of_its_own(tmp_path):
    directories = [open_run_directory(tmp_path, None, "walk") for _ in range(3)]
    assert len({take_up(directory).run_id for directory in directories}) == 3


def test_a_run_that_is_gone_on_with_keeps_its_id_name_and_beginning(directory):
    first = take_up(directory)
    for n in (1, 2, 3):
        again = take_up(directory, name="another name")
        assert not again.is_new
        assert (again.run_id, again.study_name, again.started_at_utc) == (
            first.run_id,
            "walk",
            at(0),
        )
        assert again.resumed_at_utc == tuple(map(at, range(1, n + 1)))
        assert (again.changes, again.accepted_changes) == ({}, ())


def test_a_copy_of_a_run_has_an_id_of_its_own_from_its_first_driver_on(directory, tmp_path):
    begun = take_up(directory)
    directory.meta.write({**directory.read_meta(), "run_dir": str(directory.path)})
    copy = RunDirectory(tmp_path / "copy")
    shutil.copytree(directory.path, copy.path)
    of_copy = take_up(copy)
    assert of_copy.copy_of == directory.path
    assert of_copy.run_id != begun.run_id
    assert of_copy.started_at_utc == begun.started_at_utc
    copy.meta.write({**copy.read_meta(), "run_dir": str(copy.path)})
    again = take_up(copy)
    assert (again.run_id, again.copy_of) == (of_copy.run_id, None)
    assert take_up(directory).run_id == begun.run_id


def test_a_run_that_was_moved_or_is_called_by_another_name_is_no_copy(directory, tmp_path):
    begun = take_up(directory)
    directory.meta.write({**directory.read_meta(), "run_dir": str(directory.path)})
    link = RunDirectory(tmp_path / "link")
    link.path.symlink_to(directory.path)
    assert take_up_history(link, "walk", BEFORE, accept_changes=False).copy_of is None
    moved = RunDirectory(directory.path.rename(tmp_path / "moved"))
    taken_up = take_up(moved)
    assert (taken_up.run_id, taken_up.copy_of) == (begun.run_id, None)


def test_changes_are_refused_and_nothing_is_noted(directory):
    take_up(directory)
    meta = directory.read_meta()
    with pytest.raises(ChangedRunError) as caught:
        take_up(directory, CHANGED)
    assert caught.value.run_dir == directory.path
    assert caught.value.changes == {"loss": ("walk, code 1", "walk, code 2")}
    assert directory.read_meta() == meta
    assert take_up(directory).changes == {}


def test_changes_that_are_accepted_are_noted_for_good(directory):
    take_up(directory)
    changed = take_up(directory, CHANGED, accept_changes=True)
    assert changed.changes == {"loss": ("walk, code 1", "walk, code 2")}
    assert changed.results_depend_on == CHANGED
    again = take_up(directory, CHANGED)  # what was accepted is what counts from then on
    assert again.changes == {}
    with pytest.raises(ChangedRunError):
        take_up(directory, BEFORE)
    last = take_up(directory, BEFORE, accept_changes=True)
    assert directory.read_meta()["accepted_changes"] == [
        {"at_utc": at(1), "changes": {"loss": ["walk, code 1", "walk, code 2"]}},
        {"at_utc": at(4), "changes": {"loss": ["walk, code 2", "walk, code 1"]}},
    ]
    assert len(last.accepted_changes) == 2


def test_to_accept_changes_without_any_notes_nothing(directory):
    take_up(directory)
    again = take_up(directory, accept_changes=True)
    assert (again.changes, again.accepted_changes) == ({}, ())


PHASES = (
    {
        "from_trial": 5,
        "factor": 0.5,
        "n_trials": 9,
        "best_trial": 3,
        "space": {"x": {"log": True}},
    },
    {"from_trial": 9, "factor": 0.25, "n_trials": 12, "best_trial": 7, "space": {}},
)


def test_the_phases_of_a_run_are_taken_up(directory):
    first = take_up(directory)
    assert first.phases == ()
    for n_phases in (1, 2):
        history = attrs.evolve(take_up(directory), phases=PHASES[:n_phases])
        directory.meta.write(history.to_meta())
        assert take_up(directory).phases == PHASES[:n_phases]


@pytest.mark.parametrize(
    ("n_trials", "digits"), [(0, 3), (1, 3), (1000, 3), (1001, 4), (10**6, 6), (10**6 + 1, 7)]
)
def test_names_of_trials_have_digits_for_all_of_them_and_keep_them(directory, n_trials, digits):
    assert take_up(directory, n_trials=n_trials).trial_digits == digits
    assert len(f"{max(0, n_trials - 1):0{digits}d}") == digits
    for more in (1, 10**9):
        assert take_up(directory, n_trials=more).trial_digits == digits


def test_whether_the_driver_before_came_to_the_end_is_known(directory):
    assert not take_up(directory).completed
    again = take_up(directory)
    assert not again.completed
    directory.meta.write({**again.to_meta(), "completed_at_utc": at(9)})
    assert take_up(directory).completed
    assert not take_up(directory).completed  # the one before this was only begun


def test_a_run_of_another_format_is_refused(directory):
    (directory.path / "meta.json").write_text('{"format_version": 1}')
    with pytest.raises(NotARunError):
        take_up(directory)


# The CPU.


def test_the_same_cpu_is_no_word_worth(directory):
    take_up(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take_up(directory)


def test_another_cpu_is_warned_of(directory, monkeypatch):
    take_up(directory)
    monkeypatch.setattr(module, "environment", lambda: {"cpu_model": "Abacus 9"})
    with pytest.warns(UserWarning, match="is resumed on 'Abacus 9': the same bits are promised"):
        take_up(directory)
    with pytest.raises(ChangedRunError):  # which comes first
        take_up(directory, CHANGED)


def test_of_the_cpu_of_an_entry_its_run_has_told(directory, monkeypatch):
    entry = entry_directory(directory, "anna")
    take_up(entry)
    monkeypatch.setattr(module, "environment", lambda: {"cpu_model": "Abacus 9"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert take_up(entry).resumed_at_utc


def test_the_cpu_of_a_new_run_is_any(directory, monkeypatch):
    monkeypatch.setattr(module, "environment", lambda: {"cpu_model": "Abacus 9"})
    take_up(directory)


@pytest.mark.parametrize(
    ("before", "highest"),
    [
        ({"options": {"seeds": None}, "seed_end": 99}, 99),
        ({"options": {"seeds": [5, 700, 3]}, "seed_end": 3}, 700),
    ],
)
def test_the_highest_seed_of_an_earlier_plan_is_kept(directory, before, highest):
    history = take_up(directory)
    directory.meta.write({**history.to_meta(), **before})
    other = {**BEFORE, "seeds": "2 from 0 to 1"}
    (change,) = take_up(directory, other, accept_changes=True).accepted_changes
    assert change["highest_seed"] == highest
    both = take_up(directory, {**other, "loss": "another"}, accept_changes=True)
    assert "highest_seed" not in both.accepted_changes[-1]
    assert both.accepted_changes[0]["highest_seed"] == highest

"""From the lease to the result: what an interruption at each step leaves, and tells."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import seedwise as sw
from seedwise.cluster.place import Place
from seedwise.driver import carry_out as module
from seedwise.driver import entries as entries_module
from seedwise.driver import workplace as workplace_module
from seedwise.driver.carry_out import carry_out
from seedwise.driver.entries import EntriesWork
from seedwise.driver.parts import make_parts
from seedwise.driver.study_work import optimization
from seedwise.errors import ClusterStartError, LeaseLostError, LossFailedError
from seedwise.folder.directory import read_events
from seedwise.folder.find import open_run_directory
from seedwise.model.events import Event, RunInterrupted, RunStarted, TrialFinished
from seedwise.model.options.study import EntriesOptions, RunOptions
from seedwise.slurm.commands import CommandError

BAD = 2


@sw.loss(name="falls", description="fails in its trial 2", parameter_space={"x": (-1.0, 1.0)})
def falls(params, seed, context):
    if context["trial_number"] == BAD:
        raise ValueError("it fell")
    return params["x"] + seed


class Case:
    """A run in a folder, on the workers of the session."""

    def __init__(self, path: Path, client) -> None:
        self.client = client
        self.path = path
        self.events: list[Event] = []

    @property
    def directory(self):
        return open_run_directory(self.path, "mine", falls.name)

    def carry_out(self, listen=lambda event: None, **keywords):
        given = {"n_trials": 5, "n_seeds": 4, "cluster": self.client, **keywords}
        options = RunOptions.from_keywords(given)
        self.events.clear()
        listeners = [self.events.append, listen]
        return carry_out(
            optimization, make_parts(falls, options), options, self.directory, listeners
        )

    def told(self) -> list[type]:
        return [type(event) for event in self.events]


@pytest.fixture
def case(tmp_path, client):
    return Case(tmp_path, client)


def test_an_interrupt_at_a_failed_trial_is_an_interrupt_and_the_failure_is_told_next(case):
    def interrupted(event: Event) -> None:
        if isinstance(event, TrialFinished) and event.trial.number == BAD:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.carry_out(interrupted)
    assert case.told()[-1] is RunInterrupted
    with pytest.raises(LossFailedError):
        case.carry_out()
    assert case.carry_out().n_trials == 5


def test_the_final_status_has_the_rate(case):
    case.carry_out(n_trials=2)
    assert case.directory.status.read()["trials_per_s"] > 0


@pytest.mark.parametrize(
    ("error", "kind"), [(KeyboardInterrupt(), "stopped"), (CommandError("no answer"), "finished")]
)
def test_what_happens_while_jobs_of_a_killed_driver_are_cancelled_is_told(
    case, monkeypatch, error, kind
):
    case.carry_out(n_trials=1)

    def broken(directory, name) -> None:
        assert name == "mine"
        raise error

    monkeypatch.setattr(module, "cancel_left_jobs", broken)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            case.carry_out(n_trials=2)
        assert case.events == [RunInterrupted(case.directory.path, 1, 2)]
        assert case.directory.status.read()["state"] == "stopped"
    else:  # they are in nobody's way, except on Slurm
        assert case.carry_out(n_trials=2).n_trials == 2
    assert read_events(case.directory)[-1]["kind"] == kind


def test_on_slurm_jobs_that_may_be_left_end_the_run_in_words(case, monkeypatch):
    case.carry_out(n_trials=1)

    def broken(directory, name) -> None:
        raise CommandError("squeue took too long")

    monkeypatch.setattr(module, "cancel_left_jobs", broken)
    with pytest.raises(ClusterStartError, match="Slurm does not answer: squeue took too long"):
        case.carry_out(n_trials=2, cluster="slurm")
    assert case.told() == [RunInterrupted]


def test_a_study_that_can_not_be_opened_is_told_by_its_error_alone(case):
    case.carry_out(n_trials=2)
    ledger = case.directory.ledger
    content = bytearray(ledger.read_bytes())
    content[30] ^= 1
    ledger.write_bytes(content)
    with pytest.raises(sw.DamagedFileError):
        case.carry_out(n_trials=3)
    assert RunStarted not in case.told()


def test_the_folder_of_a_new_run_without_workers_is_removed(case, monkeypatch):
    def no_workers(*_):
        raise ClusterStartError("local workers", "none came")

    monkeypatch.setattr(workplace_module, "open_place", no_workers)
    with pytest.raises(ClusterStartError):
        case.carry_out()
    assert list(case.path.iterdir()) == []


def test_the_folder_of_a_run_that_was_taken_over_is_not(case, monkeypatch):
    def taken_over(*_):
        raise LeaseLostError(case.path / "mine", "process 7 on node3")

    monkeypatch.setattr(workplace_module, "open_place", taken_over)
    with pytest.raises(LeaseLostError):
        case.carry_out()
    assert (case.path / "mine" / "meta.json").exists()


def test_meta_is_the_last_that_goes_when_a_run_is_discarded(case, monkeypatch):
    directory = case.directory
    directory.meta.write({})
    directory.summary.write({})
    gone = []
    unlink = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda self, **kw: (gone.append(self.name), unlink(self, **kw))
    )
    directory.discard()
    assert gone[-1] == "meta.json"


def test_all_entries_have_the_clock_of_the_run(tmp_path, client, monkeypatch):
    """However long it takes to take them up, they stop together."""
    given = {"entry_ids": ["a", "b"], "n_trials": 2, "n_seeds": 2, "cluster": client}
    options = EntriesOptions.from_keywords({**given, "timeout": 100.0})
    works = []

    def kind(run, listen):
        works.append(EntriesWork(run, listen))
        return works[-1]

    asked = itertools.count()
    monkeypatch.setattr(
        entries_module.Run, "out_of_time", lambda run: next(asked) * 0 == 0 and run is works[0].run
    )
    directory = open_run_directory(tmp_path, "mine", falls.name)
    with pytest.raises(sw.AllEntriesFailedError):
        carry_out(kind, make_parts(falls, options), options, directory)
    assert next(asked) >= 2  # by each entry
    assert json.loads((directory.path / "summary.json").read_text())["n_told"] == 0


def test_place_is_what_fakes_are_made_of():
    """A place of which nothing is said does nothing, and leaves the workers to their owner."""
    place = Place(client=None, description="here")
    assert (place.fault("a"), place.news(), place.pool()) == ("", [], None)
    with pytest.raises(sw.OptionError, match="left to the owner"):
        place.scale(1, 2)

"""A run's own account: its folder and its listeners, at each step."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest

from seedwise.cluster.place import Place
from seedwise.errors import NoCompleteTrialError, RunFileError, RunStopped
from seedwise.model.options import ExecutionMode, RunOptions
from seedwise.model.records import (
    ChunkLost,
    Event,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
    TrialResult,
    TrialState,
)
from seedwise.run.directory import RunDirectory, open_run_directory
from seedwise.run.history import take_up_history
from seedwise.run.parts import make_parts, read_saved
from seedwise.run.report import Report
from tests.losses import bowl

PLACE = Place(
    client=None,
    mode=ExecutionMode.DISTRIBUTED,
    description="Slurm",
    dashboard="http://node:1/status",
    tunnel="ssh -L 1:node:1 node",
)
GOOD = TrialResult(0, {"x": 0.5, "kind": "plain"}, 2.0, 0.1, 6, TrialState.COMPLETE, 1.0)
FAILED = TrialResult(
    1, {"x": 0.7, "kind": "plain"}, None, None, 0, TrialState.FAIL, 2.0, "seed 3: ValueError: no"
)
BEST = TrialResult(2, {"x": 0.9, "kind": "fancy"}, 1.0, None, 6, TrialState.COMPLETE, 3.0)
TRIALS = [GOOD, FAILED, BEST]


class Case:
    """A run that is begun, or gone on with, in a folder; and its report."""

    def __init__(self, path: Path, *listeners, **keywords: Any) -> None:
        self.events: list[Event] = []
        self.directory = open_run_directory(path, "mine", bowl.name)
        self.options = RunOptions.from_keywords({"n_trials": 5, "n_seeds": 6, **keywords})
        self.parts = make_parts(bowl, self.options)
        self.history = take_up_history(
            self.directory, "a study", self.parts.depends_on, accept_changes=True
        )
        self.report = Report(
            self.directory,
            self.history,
            self.parts,
            self.options,
            [*listeners, self.events.append],
        )

    def tell(self, *trials: TrialResult) -> None:
        best = None
        for trial in trials:
            if trial.value is not None and (best is None or trial.value < best.value):
                best = trial
            self.report.emit(TrialFinished(trial, None, best, self.options.n_trials))

    def summary(self) -> dict[str, Any]:
        return json.loads((self.directory.path / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    return Case(tmp_path)


# Before and at the beginning.


def test_what_is_needed_to_go_on_is_there_before_the_workers_are(run):
    run.report.prepared()
    assert run.directory.has_begun
    assert read_saved(run.directory).keywords == {"n_trials": 5, "n_seeds": 6}
    meta = run.directory.read_meta()
    assert meta["run_id"] == run.history.run_id
    assert meta["study_name"] == "a study"
    assert meta["results_depend_on"] == run.parts.depends_on
    assert "completed_at_utc" not in meta
    assert run.events == []


def test_a_run_has_begun_only_if_it_can_be_resumed(run, monkeypatch):
    def full(self, pickled: bytes) -> None:
        raise RunFileError(self.path / "run.pickle", "full", self.path)

    monkeypatch.setattr(RunDirectory, "write_parts", full)
    with pytest.raises(RunFileError):
        run.report.prepared()
    assert not run.directory.has_begun


def test_meta_says_what_was_asked_for(tmp_path):
    run = Case(
        tmp_path,
        seeds=iter([5, 3, 9]),
        chunk_size=2,
        sampler=optuna.samplers.TPESampler(seed=1),
        entry_id="subject 7",
    )
    run.report.prepared()
    meta = run.directory.read_meta()
    assert meta["loss_name"] == "bowl"
    assert meta["loss_description"] == "a noisy bowl"
    assert (meta["run_name"], meta["run_dir"]) == ("mine", str(run.directory.path))
    assert (meta["n_seeds"], meta["seed_start"], meta["seed_end"]) == (3, 5, 9)
    assert (meta["chunk_size"], meta["num_chunks"]) == (2, 2)
    assert list(meta["parameter_space"]) == list(bowl.parameter_space)
    assert meta["parameter_space"]["x"]["range"] == [-2.0, 2.0]
    options = meta["options"]
    assert (options["seeds"], options["entry_id"]) == ([5, 3, 9], "subject 7")
    assert "TPESampler" in options["sampler"]
    assert options["given"] == sorted(
        ["chunk_size", "entry_id", "n_seeds", "n_trials", "sampler", "seeds"]
    )
    assert options["n_trials"] == 5


def test_the_beginning_is_told(run):
    run.report.prepared()
    run.report.begun(PLACE, [])
    assert run.directory.read_meta()["mode"] == "distributed"
    assert run.events == [
        RunStarted(run.directory.path, 0, "Slurm", "http://node:1/status", "ssh -L 1:node:1 node")
    ]
    summary = run.summary()
    assert (summary["n_told"], summary["n_trials"], summary["best_value"]) == (0, 5, None)


def test_a_run_that_is_gone_on_with_begins_with_what_was_told(run):
    run.report.begun(PLACE, TRIALS)
    assert run.events[0].n_told == 3
    summary = run.summary()
    assert (summary["n_told"], summary["n_failed"]) == (3, 1)
    assert (summary["best_trial"], summary["best_value"]) == (2, 1.0)


def test_the_best_of_what_was_told_is_by_the_direction(tmp_path):
    run = Case(tmp_path, direction="maximize")
    run.report.begun(PLACE, TRIALS)
    assert run.summary()["best_trial"] == 0


# On the way.


def test_each_trial_is_summed_up_and_told(run):
    run.report.begun(PLACE, [GOOD])
    for n_told, (trial, n_failed, best) in enumerate([(FAILED, 1, 0), (BEST, 1, 2)], start=2):
        event = TrialFinished(trial, None, TRIALS[best], 5)
        run.report.emit(event)
        assert run.events[-1] is event
        summary = run.summary()
        assert (summary["n_told"], summary["n_failed"]) == (n_told, n_failed)
        assert summary["best_trial"] == best


def test_the_summary_is_written_before_the_trial_is_told(tmp_path):
    seen = []
    run = Case(tmp_path, lambda event: seen.append(run.directory.n_told()))
    run.report.begun(PLACE, [])
    run.tell(*TRIALS)
    assert seen == [0, 1, 2, 3]


def test_other_events_are_told_only(run):
    run.report.begun(PLACE, [])
    before = run.summary()
    event = ChunkLost(0, 100, "tcp://node:1")
    run.report.emit(event)
    assert run.events[-1] is event
    assert run.summary() == before


def test_a_listener_that_fails_is_dropped_and_the_others_are_not(tmp_path, caplog):
    seen = []

    def broken(event: Event) -> None:
        seen.append(event)
        if isinstance(event, TrialFinished):
            raise BrokenPipeError("a closed terminal")

    run = Case(tmp_path, broken)
    run.report.begun(PLACE, [])
    with caplog.at_level(logging.WARNING, logger="seedwise"):
        run.tell(*TRIALS)
    assert len(seen) == 2
    assert len(run.events) == 4
    (record,) = caplog.records
    assert "a listener failed and is dropped" in record.getMessage()
    assert isinstance(record.exc_info[1], BrokenPipeError)


def test_ctrl_c_in_a_listener_is_ctrl_c(tmp_path):
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Case(tmp_path, interrupted).report.begun(PLACE, [])


# The end.


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), RunStopped(Path("runs/a"), 15)]
)
def test_an_interruption_is_told_with_how_far_it_came(error, run):
    run.report.begun(PLACE, [GOOD])
    run.directory.study_file.touch()

    def work() -> None:
        with run.report.interruption_told():
            run.tell(FAILED)
            raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    assert run.events[-1] == RunInterrupted(run.directory.path, 2, 5)
    assert len(run.events) == 3


def test_without_an_interruption_none_is_told(run):
    run.report.begun(PLACE, [])
    with run.report.interruption_told():
        run.tell(GOOD)
    assert [type(event) for event in run.events] == [RunStarted, TrialFinished]


def test_the_result_and_the_last_word_in_the_folder(run):
    run.report.prepared()
    run.report.begun(PLACE, [])
    run.tell(*TRIALS)
    result = run.report.finished(TRIALS)
    assert (result.best_value, result.best_stderr, result.best_n_seeds) == (1.0, None, 6)
    assert result.best_params == BEST.params
    assert result.best_params is not BEST.params
    assert (result.loss_name, result.study_name) == ("bowl", "a study")
    assert (result.n_trials, result.trials) == (3, tuple(TRIALS))
    assert result.run_dir == str(run.directory.path)
    assert result.study_file == run.directory.study_file
    assert result.mode is ExecutionMode.DISTRIBUTED
    meta = run.directory.read_meta()
    assert (meta["mode"], meta["best_value"], meta["best_params"]) == (
        "distributed",
        1.0,
        BEST.params,
    )
    assert meta["completed_at_utc"] >= meta["started_at_utc"]
    assert meta["duration_seconds"] >= 0
    assert meta["run_id"] == run.history.run_id
    (finished,) = [event for event in run.events if isinstance(event, RunFinished)]
    assert run.events[-1] is finished
    assert (finished.run_dir, finished.best) == (run.directory.path, BEST)


def test_the_best_is_by_the_direction(tmp_path):
    run = Case(tmp_path, direction="maximize")
    run.report.begun(PLACE, [])
    assert run.report.finished(TRIALS).best_value == 2.0
    assert run.directory.read_meta()["best_params"] == GOOD.params


@pytest.mark.parametrize(
    ("trials", "n_failed", "sentence"),
    [
        ([FAILED, FAILED], 2, "all 2 trials failed, the first with: seed 3: ValueError: no"),
        ([], 0, "none was asked for before the timeout"),
    ],
)
def test_without_a_complete_trial_there_is_no_result(trials, n_failed, sentence, run):
    run.report.begun(PLACE, [])
    with pytest.raises(NoCompleteTrialError, match=sentence) as caught:
        run.report.finished(trials)
    assert (caught.value.run_dir, caught.value.n_failed) == (run.directory.path, n_failed)
    assert run.events[-1].best is None
    meta = run.directory.read_meta()
    assert (meta["best_value"], meta["best_params"]) == (None, None)
    assert "completed_at_utc" in meta


# A run that has all its trials needs no workers.


def finish(path: Path) -> None:
    run = Case(path)
    run.report.prepared()
    run.report.begun(PLACE, [])
    run.tell(*TRIALS)
    run.report.finished(TRIALS)


def test_the_mode_of_a_run_that_was_done_before_is_what_it_was(tmp_path):
    finish(tmp_path)
    for _ in range(2):
        again = Case(tmp_path)
        result = again.report.finished(TRIALS)
        assert result.mode is ExecutionMode.DISTRIBUTED
        assert again.directory.read_meta()["mode"] == "distributed"
        assert [type(event) for event in again.events] == [RunFinished]


def test_the_mode_is_known_after_a_driver_that_got_no_workers(tmp_path):
    finish(tmp_path)
    Case(tmp_path, n_trials=9).report.prepared()
    assert Case(tmp_path).report.finished(TRIALS).mode is ExecutionMode.DISTRIBUTED

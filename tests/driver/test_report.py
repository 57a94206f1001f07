"""A run's own account: its folder and its listeners, at each step."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import optuna
import pytest

from seedwise.cluster.place import Demand, Place
from seedwise.disk.every import Every
from seedwise.dispatch.dispatcher import Evaluated
from seedwise.driver import engine_job
from seedwise.driver import report as module
from seedwise.driver.engine_job import EngineJob
from seedwise.driver.parts import entry_parts, make_parts, read_saved
from seedwise.driver.report import (
    Listeners,
    Report,
    Reporter,
    interruption_told,
    plan_notes,
    tell_end,
)
from seedwise.driver.run import InFlight, take_up
from seedwise.errors import LeaseLostError, RunFileError, RunStopped
from seedwise.folder.directory import JsonFile, read_events
from seedwise.folder.find import entry_directory, open_run_directory
from seedwise.model.events import (
    ChunkLost,
    Event,
    Noted,
    Progress,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
)
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.sources import grid
from seedwise.model.status import PoolStatus
from seedwise.model.trials import FailureKind, SeedFailure, TrialResult, TrialState, best_trial
from tests.losses import bowl

GOOD = TrialResult(0, {"x": 0.5, "kind": "plain"}, 2.0, 0.1, 6, TrialState.COMPLETE, 1.0)
FAILED = TrialResult(
    1, {"x": 0.7, "kind": "plain"}, None, None, 0, TrialState.FAIL, 2.0, "seed 3: ValueError: no"
)
BEST = TrialResult(2, {"x": 0.9, "kind": "fancy"}, 1.0, None, 6, TrialState.COMPLETE, 3.0)
TRIALS = [GOOD, FAILED, BEST]
OF_RUN = {"n_trials": 5, "n_seeds": 6, "cluster": "slurm"}
POINTS = grid(**{name: [0.5] for name in bowl.parameter_space})


class FakePlace(Place):
    """A place that has a pool if it is given one."""

    status: PoolStatus | None = None

    def pool(self) -> PoolStatus | None:
        return self.status


class Told(EngineJob):
    """Work of which is known how the trials end."""

    flight = InFlight()

    def __init__(self, run, trials, n_planned, every_s=0.0, *, worked=False) -> None:
        self.summary_every_s = every_s
        super().__init__(run, is_left=worked)
        self.n_planned = self.n_trials = n_planned
        self.trials = list(trials)

    @property
    def counts(self) -> Counter[TrialState]:
        return Counter(trial.state for trial in self.trials)

    @property
    def best(self) -> TrialResult | None:
        of_entries = isinstance(self.run.options, EntriesOptions)
        return None if of_entries else best_trial(self.trials, "minimize")

    @property
    def seeds_saved(self) -> int:
        return self.run.parts.looks.n_saved(self.trials)

    def in_flight(self) -> InFlight:
        return self.flight

    def open(self, workplace) -> None:
        raise AssertionError

    n_trials = 0

    def so_far(self):
        return SimpleNamespace(outcome=None, remarks=())


class Case:
    """A run that is begun, or resumed, in a folder; and what is told of it."""

    def __init__(
        self,
        path: Path,
        *listeners,
        options: RunOptions | EntriesOptions | SweepOptions | None = None,
        **keywords: Any,
    ) -> None:
        self.events: list[Event] = []
        self.directory = open_run_directory(path, "mine", bowl.name)
        self.options = options or RunOptions.from_keywords({**OF_RUN, **keywords})
        source = POINTS if isinstance(self.options, SweepOptions) else None
        self.guard = lambda: None
        self.run = take_up(
            make_parts(bowl, self.options, source=source),
            self.options,
            self.directory,
            lambda: self.guard(),  # noqa: PLW0108 - a test may change it
        )
        self.listen = Listeners([*listeners, self.events.append])
        self.entries: dict[str, int] | None = None
        self.place = FakePlace(
            client=None,
            description="Slurm",
            dashboard="http://node:1/status",
            tunnel="ssh -L 1:node:1 node",
        )
        self.n_trials = getattr(self.options, "n_trials", 5)
        if isinstance(self.options, EntriesOptions):
            self.n_trials *= len(self.options.entry_ids)
        self.reporter = self._reporter()

    def _reporter(self, *trials: TrialResult, worked=False) -> Reporter:
        every_s = 0.5 if isinstance(self.options, SweepOptions) else 0.0
        self.work = Told(self.run, trials, self.n_trials, every_s, worked=worked)
        self.work.entries = lambda: self.entries
        return Reporter(self.work, self.listen)

    def prepared(self) -> None:
        self.run = self.run.at_work()
        self.run.prepare()

    def begin(self, *trials: TrialResult) -> None:
        self.reporter = self._reporter(*trials, worked=True)
        self.report = Report(self.reporter, self.place, Demand([8], 1))
        self.run.guard()
        if not isinstance(self.options, EntriesOptions):
            self.work.write_summary()
        self.report.begin()

    def tell(self, *trials: TrialResult) -> None:
        for trial in trials:
            self.take(TrialFinished(trial, None, None, 5))

    def take(self, event: Event) -> None:
        if isinstance(event, TrialFinished):
            self.work.trials.append(event.trial)
        self.work.take(SimpleNamespace(report=self.report), event)

    def finished(self) -> None:
        tell_end(self.reporter)

    def interruption_told(self):
        return interruption_told(self.reporter)

    def summary(self) -> dict[str, Any]:
        return json.loads((self.directory.path / "summary.json").read_text(encoding="utf-8"))

    def status(self) -> dict[str, Any]:
        status = self.directory.status.read()
        status.pop("format_version")
        return status


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    """Have nothing said because of the time that has passed."""
    monkeypatch.setattr(module, "_PROGRESS_EVERY_S", 1e9)


@pytest.fixture
def run(tmp_path):
    return Case(tmp_path)


# Before and at the beginning.


def test_what_is_needed_to_go_on_is_there_before_the_workers_are(run):
    run.prepared()
    assert run.directory.has_begun
    assert read_saved(run.directory).keywords == OF_RUN
    meta = run.directory.read_meta()
    assert meta["run_id"] == run.run.history.run_id
    assert meta["study_name"] == "bowl"
    assert meta["results_depend_on"] == run.run.parts.depends_on
    assert "completed_at_utc" not in meta
    assert run.events == []


def test_a_run_has_begun_only_if_it_can_be_resumed(run, monkeypatch):
    write = JsonFile.write

    def full(self, content) -> None:
        if self.path.name == "run.json":
            raise RunFileError(self.path, "full", self.path.parent)
        write(self, content)

    monkeypatch.setattr(JsonFile, "write", full)
    with pytest.raises(RunFileError):
        run.prepared()
    assert not run.directory.has_begun


def test_meta_says_what_was_asked_for(tmp_path):
    run = Case(
        tmp_path,
        seeds=iter([5, 3, 9]),
        chunk_size=2,
        sampler=optuna.samplers.TPESampler(seed=1),
        entry_id="subject 7",
    )
    run.prepared()
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
        ["chunk_size", "cluster", "entry_id", "n_seeds", "n_trials", "sampler", "seeds"]
    )
    assert options["n_trials"] == 5


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (RunOptions.from_keywords(OF_RUN), "run"),
        (EntriesOptions.from_keywords({**OF_RUN, "entry_ids": ["a", "b"]}), "entries"),
        (SweepOptions.from_keywords({"n_seeds": 6}), "sweep"),
    ],
    ids=["run", "entries", "sweep"],
)
def test_meta_says_what_kind_of_run_it_is(tmp_path, options, kind):
    run = Case(tmp_path, options=options)
    run.prepared()
    meta = run.directory.read_meta()
    assert meta["kind"] == kind
    assert (kind == "sweep") == ("source" in meta)
    if kind == "sweep":
        assert meta["source"] == POINTS.to_manifest_dict()


def test_meta_says_what_is_to_be_tried_first(tmp_path):
    first = grid(x=[0.5, 1.0])
    run = Case(tmp_path, enqueue=first)
    run.prepared()
    assert run.directory.read_meta()["options"]["enqueue"] == first.to_manifest_dict()


def test_the_beginning_is_told(run):
    run.prepared()
    run.begin()
    assert run.directory.read_meta()["mode"] == "distributed"
    assert run.run.history.mode == "distributed"
    assert run.events == [
        RunStarted(run.directory.path, 0, "Slurm", "http://node:1/status", "ssh -L 1:node:1 node")
    ]
    summary = run.summary()
    assert (summary["n_told"], summary["n_trials"], summary["best_value"]) == (0, 5, None)
    assert (run.status()["state"], run.status()["pending"]) == ("running", 5)


def test_a_run_that_is_gone_on_with_begins_with_what_was_told(run):
    run.begin(*TRIALS)
    assert run.events[0].n_told == 3
    summary = run.summary()
    assert (summary["n_told"], summary["n_failed"]) == (3, 1)
    assert (summary["best_trial"], summary["best_value"]) == (2, 1.0)
    status = run.status()
    assert (status["done"], status["failed"], status["pending"]) == (2, 1, 2)
    assert status["best_value"] == 1.0


# On the way.


def test_each_trial_is_summed_up_and_told(run):
    run.begin(GOOD)
    for n_told, (trial, n_failed, best) in enumerate([(FAILED, 1, 0), (BEST, 1, 2)], start=2):
        event = TrialFinished(trial, None, TRIALS[best], 5)
        run.take(event)
        assert run.events[-1] is event
        summary = run.summary()
        assert (summary["n_told"], summary["n_failed"]) == (n_told, n_failed)
        best_trial = TRIALS[best]
        assert {name: value for name, value in summary.items() if name.startswith("best_")} == {
            "best_trial": best,
            "best_value": best_trial.value,
            "best_params": best_trial.params,
            "best_stderr": best_trial.stderr,
            "best_n_seeds": best_trial.n_seeds,
        }


def test_the_summary_is_written_before_the_trial_is_told(tmp_path):
    seen = []
    run = Case(tmp_path, lambda event: seen.append(run.directory.n_told()))
    run.begin()
    run.tell(*TRIALS)
    assert seen == [0, 1, 2, 3]


def test_the_summary_of_a_run_that_is_anothers_is_not_written(run):
    run.begin()

    def lost() -> None:
        raise LeaseLostError(run.directory.path, "process 7 on node3")

    run.guard = lost
    with pytest.raises(LeaseLostError):
        run.work.write_summary()
    assert run.summary()["best_value"] is None


def test_pruned_trials_are_told_and_have_not_failed(run):
    run.begin(GOOD)
    run.tell(attrs.evolve(FAILED, state=TrialState.PRUNED))
    summary = run.summary()
    assert (summary["n_told"], summary["n_failed"]) == (2, 0)


MEMORY, CRASH = (
    SeedFailure(0, 7, kind, "it took 900 MB", "", FailureKind.DIED)
    for kind in ("MemoryExceeded", "ProcessDied")
)


@pytest.mark.parametrize(
    ("before", "failures", "n_trials", "is_noted"),
    [
        ([], [MEMORY] * 4, 5, True),
        ([], [MEMORY] * 3, 3, False),  # nothing is left to stop
        ([], [MEMORY, MEMORY, CRASH, MEMORY], 5, False),
        ([], [MEMORY, None, MEMORY, MEMORY], 5, False),
        ([GOOD], [MEMORY] * 3, 5, False),
        ([FAILED], [MEMORY] * 3, 5, False),
    ],
)
def test_it_is_noted_once_that_the_first_trials_all_failed(
    tmp_path, before, failures, n_trials, is_noted
):
    run = Case(tmp_path, n_trials=n_trials)
    run.begin(*before)
    for failure in failures:
        run.take(TrialFinished(FAILED if failure else GOOD, failure, None, n_trials))
    text = (
        "the first 3 trials failed: MemoryExceeded: it took 900 MB; is the run worth going on "
        f"with? To stop it: Ctrl-C, or seedwise stop {run.directory.path}"
    )
    noted = [event for event in run.events if isinstance(event, Noted)]
    assert noted == [Noted(text)] * is_noted


def test_other_events_are_told_only(run):
    run.begin()
    before = run.summary()
    event = ChunkLost(0, 100, "tcp://node:1")
    run.take(event)
    assert run.events[-1] is event
    assert run.summary() == before


@pytest.fixture
def at_once(monkeypatch):
    """Have everything written and said at each trial, that otherwise is every few seconds."""
    monkeypatch.setattr(module, "_STATUS_EVERY_S", 0.0)
    monkeypatch.setattr(module, "_PROGRESS_EVERY_S", 0.0)


def test_how_far_it_is_is_written_and_said(tmp_path, at_once):
    run = Case(tmp_path)
    run.begin()
    run.work.flight = InFlight(2, 7)
    run.tell(*TRIALS)
    said = [event.status for event in run.events if isinstance(event, Progress)]
    assert [(status.done, status.failed, status.running) for status in said] == [
        (1, 0, 2),
        (1, 1, 2),
        (2, 1, 2),
    ]
    assert [status.best_value for status in said] == [2.0, 2.0, 1.0]
    assert {(status.running_seeds, status.running_seeds_done) for status in said} == {(12, 7)}
    written, last = run.status(), attrs.asdict(said[-1])
    assert written.keys() == last.keys()
    of_the_moment = {"trials_per_s", "expected_end_utc", "updated_at_utc"}
    assert {k: v for k, v in written.items() if k not in of_the_moment} == {
        k: v for k, v in last.items() if k not in of_the_moment
    }
    assert run.summary()["n_told"] == 3


def logged(run: Case) -> list[tuple[str, str]]:
    return [(event["kind"], event["text"]) for event in read_events(run.directory)]


POOL = PoolStatus(least=2, most=10, wanted=8, joined=0, pending=8, waiting="the queue is full")


def test_while_nothing_is_told_how_far_it_is_is_said_too(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(module, "_REFRESH_EVERY_S", 0.0)
    run = Case(tmp_path)
    run.begin(GOOD)
    run.place.status = POOL
    run.report.refresh()
    assert run.status()["pool"] == attrs.asdict(POOL)
    assert (run.status()["done"], run.status()["best_value"]) == (1, 2.0)
    assert isinstance(run.events[-1], Progress)
    assert run.events[-1].status.pool == POOL
    run.tell(BEST)
    run.report.refresh()
    assert (run.status()["done"], run.status()["best_value"]) == (2, 1.0)
    run.finished()
    assert run.status()["pool"] is None


@pytest.mark.parametrize(
    ("n_chunks", "worker_s", "share"),
    [
        (79, 100.0, None),  # 80 are ten for each slot of four workers
        (80, 100.0, 0.3),
        (80, 25.0, 1.0),  # the time of workers is counted less often than chunks
    ],
)
def test_how_busy_the_workers_are_is_said_once_chunks_in_flight_matter_little(
    run, n_chunks, worker_s, share
):
    run.begin()
    run.place.status = attrs.evolve(POOL, joined=4)
    evaluated = Evaluated(n_chunks=n_chunks, n_seeds=1000, busy_s=60.0)
    report = Report(run.reporter, run.place, Demand([8], 2), lambda: evaluated)
    report.worker_s = worker_s
    report.refresh()
    status = run.status()
    assert status["busy_share"] == (share and pytest.approx(share, abs=0.01))
    assert status["seeds_per_s"] > 0


def test_of_workers_that_are_not_ours_it_is_not_known_how_busy_they_are(run):
    run.begin()
    evaluated = Evaluated(n_chunks=100, n_seeds=1000, busy_s=60.0)
    Report(run.reporter, run.place, Demand([8], 1), lambda: evaluated).refresh()
    assert run.status()["busy_share"] is None
    assert run.status()["seeds_per_s"] > 0


def test_the_seeds_that_a_race_saves_are_counted(tmp_path):
    run = Case(tmp_path, n_seeds=20, race=True)
    run.begin()
    run.tell(GOOD, FAILED, BEST)  # of 6 seeds, none and 6
    assert run.reporter.status("running").seeds_saved == 2 * (20 - 6)


def test_it_is_said_every_two_seconds_only(run, monkeypatch):
    run.begin()
    run.report.refresh()
    written = []
    monkeypatch.setattr(JsonFile, "write", lambda self, content: written.append(self.path.name))
    for _ in range(5):
        run.report.refresh()
    assert written == []
    run.report._refresh_due._last_s -= 2.0
    for _ in range(5):
        run.report.refresh()
    assert written == ["status.json"]


def test_a_full_disk_does_not_end_a_run_that_waits(run, monkeypatch):
    def full(self, content) -> None:
        raise RunFileError(self.path, "full", self.path.parent)

    run.begin()
    monkeypatch.setattr(JsonFile, "write", full)
    run.report.refresh()


# The log of events.


def test_begin_and_end_are_logged(tmp_path):
    run = Case(tmp_path)
    run.prepared()
    run.begin()
    run.tell(*TRIALS)
    run.finished()
    again = Case(tmp_path)
    again.prepared()
    again.begin(*TRIALS)
    again.work.run = attrs.evolve(again.run, options=attrs.evolve(again.options, timeout=1e-9))
    again.finished()
    texts = dict(logged(again))
    assert [kind for kind, _ in logged(again)] == ["started", "finished", "resumed", "stopped"]
    assert texts["started"].startswith("started by process ")
    assert texts["finished"] == "3 of 5 trials are told"
    assert texts["stopped"] == "time is up; 3 of 5 trials are told"


def test_a_run_that_has_nothing_to_do_is_not_logged(tmp_path):
    finish(tmp_path)
    before = logged(Case(tmp_path))
    again = Case(tmp_path)
    again.finished()
    assert logged(again) == before


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ValueError("no\nway"), ("failed", "ValueError: no")),
        (KeyboardInterrupt(), ("stopped", "KeyboardInterrupt")),
        (
            RunStopped(Path("runs/a"), None),
            ("stopped", "stopped by seedwise stop; to resume: seedwise resume runs/a"),
        ),
    ],
)
def test_why_it_ended_early_is_logged(run, error, event):
    with pytest.raises(type(error)), run.interruption_told():
        raise error
    assert logged(run) == [event]


class Never(Every):
    def due(self) -> bool:
        return False


def test_of_a_run_the_summary_is_written_at_each_trial_and_the_status_when_it_is_due(
    tmp_path, monkeypatch
):
    for part in (module, engine_job):
        monkeypatch.setattr(part, "Every", lambda seconds: Every(0.0) if not seconds else Never(1))
    run = Case(tmp_path)
    run.begin()
    run.tell(*TRIALS)
    assert run.summary()["n_told"] == 3
    assert run.status()["done"] == 0
    assert [type(event) for event in run.events] == [RunStarted] + [TrialFinished] * 3


def test_of_a_sweep_both_are_written_when_they_are_due(tmp_path, monkeypatch):
    for part in (module, engine_job):
        monkeypatch.setattr(part, "Every", lambda seconds: Every(0.0) if not seconds else Never(1))
    run = Case(tmp_path, options=SweepOptions.from_keywords({"n_seeds": 6}))
    run.begin()
    run.tell(*TRIALS)
    assert (run.summary()["n_told"], run.status()["done"]) == (0, 0)
    run.finished()
    assert run.status()["done"] == 2
    run.work.write_summary()
    assert (run.summary()["n_told"], run.summary()["n_trials"]) == (3, 5)


def test_a_listener_that_fails_is_dropped_and_the_others_are_not(tmp_path, caplog):
    seen = []

    def broken(event: Event) -> None:
        seen.append(event)
        if isinstance(event, TrialFinished):
            raise BrokenPipeError("a closed terminal")

    run = Case(tmp_path, broken)
    run.begin()
    with caplog.at_level(logging.WARNING, logger="seedwise"):
        run.tell(*TRIALS)
    assert len(seen) == 2
    assert [type(event) for event in run.events] == [RunStarted] + [TrialFinished] * 3
    (record,) = caplog.records
    assert "a listener failed and is dropped" in record.getMessage()
    assert isinstance(record.exc_info[1], BrokenPipeError)


def test_a_listener_may_be_dropped_before_others_are_asked():
    seen = []

    def broken(event: Event) -> None:
        raise ValueError

    listeners = Listeners([broken, broken, seen.append, broken, seen.append])
    for event in TRIALS:
        listeners(event)
    assert seen == [trial for trial in TRIALS for _ in range(2)]


def test_ctrl_c_in_a_listener_is_ctrl_c(tmp_path):
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Case(tmp_path, interrupted).begin()


# Another driver that has taken the run over.


@pytest.mark.parametrize(
    "step",
    [
        lambda run: run.prepared(),
        lambda run: run.begin(),
        lambda run: run.tell(GOOD),
        lambda run: run.finished(),
    ],
    ids=["prepared", "begun", "told", "finished"],
)
def test_nothing_is_written_of_a_run_that_is_anothers(run, step):
    def lost() -> None:
        raise LeaseLostError(run.directory.path, "process 7 on node3")

    run.begin()
    run.guard = lost
    before = {path: path.stat().st_mtime_ns for path in run.directory.path.rglob("*")}
    with pytest.raises(LeaseLostError):
        step(run)
    assert {path: path.stat().st_mtime_ns for path in run.directory.path.rglob("*")} == before
    assert [type(event) for event in run.events] == [RunStarted]


# The end.


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), RunStopped(Path("runs/a"), 15)]
)
def test_an_interruption_is_told_with_how_far_it_came(error, run):
    run.begin()
    run.directory.study_file.touch()

    def work() -> None:
        with run.interruption_told():
            run.tell(GOOD, FAILED)
            raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    assert run.events[-1] == RunInterrupted(run.directory.path, 2, 5)
    assert len(run.events) == 4
    assert (run.status()["state"], run.status()["failed"]) == ("stopped", 1)
    assert run.status()["best_value"] == GOOD.value


@pytest.mark.parametrize("name", ["study.journal", "trials.table", "entries"])
def test_an_interruption_of_what_has_results_is_told(run, name):
    (run.directory.path / name).touch()
    with pytest.raises(ValueError, match="no"), run.interruption_told():
        raise ValueError("no")
    assert run.events == [RunInterrupted(run.directory.path, 0, 5)]
    assert run.status()["state"] == "stopped"


def test_of_a_new_run_that_got_no_workers_only_a_signal_is_told(run):
    with pytest.raises(ValueError, match="no"), run.interruption_told():
        raise ValueError("no")
    assert run.events == []
    with pytest.raises(RunStopped), run.interruption_told():
        raise RunStopped(run.directory.path, 15)
    assert run.events == [RunInterrupted(run.directory.path, 0, 5)]
    assert run.directory.status.read() == {}


def test_a_run_that_is_stopped_before_its_workers_came_says_how_far_it_was(tmp_path):
    finish(tmp_path)
    again = Case(tmp_path, n_trials=9)
    again.reporter = again._reporter(*TRIALS)
    with pytest.raises(RunStopped), again.interruption_told():
        raise RunStopped(again.directory.path, 15)
    assert again.events == [RunInterrupted(again.directory.path, 3, 9)]


def test_that_another_took_it_over_is_no_interruption_to_be_gone_on_with(run):
    run.directory.study_file.touch()
    with pytest.raises(LeaseLostError), run.interruption_told():
        raise LeaseLostError(run.directory.path, "process 7 on node3")
    assert run.events == []
    assert run.directory.status.read() == {}


def test_on_a_full_disk_the_error_that_ends_it_comes_out(run, monkeypatch):
    def full(self, content) -> None:
        raise RunFileError(self.path, "full", self.path.parent)

    run.directory.study_file.touch()
    monkeypatch.setattr(JsonFile, "write", full)
    with pytest.raises(ValueError, match="no"), run.interruption_told():
        raise ValueError("no")
    assert run.events == [RunInterrupted(run.directory.path, 0, 5)]


def test_without_an_interruption_none_is_told(run):
    run.begin()
    with run.interruption_told():
        run.tell(GOOD)
    assert [type(event) for event in run.events] == [RunStarted, TrialFinished]


def test_the_last_word_in_the_folder(run):
    run.prepared()
    run.begin()
    run.tell(*TRIALS)
    run.finished()
    meta = run.directory.read_meta()
    assert (meta["mode"], meta["best_value"], meta["best_params"]) == (
        "distributed",
        1.0,
        BEST.params,
    )
    assert meta["completed_at_utc"] >= meta["started_at_utc"]
    assert meta["duration_seconds"] >= 0
    assert meta["run_id"] == run.run.history.run_id
    (finished,) = [event for event in run.events if isinstance(event, RunFinished)]
    assert run.events[-1] is finished
    assert (finished.run_dir, finished.best) == (run.directory.path, BEST)
    status = run.status()
    assert (status["state"], status["done"], status["failed"]) == ("finished", 2, 1)
    assert status["trials_per_s"] > 0
    assert status["best_value"] == 1.0


def test_without_a_complete_trial_there_is_no_best_in_the_folder(run):
    run.begin()
    run.tell(FAILED)
    run.finished()
    assert run.events[-1].best is None
    meta = run.directory.read_meta()
    assert (meta["best_value"], meta["best_params"]) == (None, None)
    assert "completed_at_utc" in meta
    assert run.status()["best_value"] is None


# A run that has all its trials needs no workers.


def finish(path: Path) -> None:
    run = Case(path)
    run.prepared()
    run.begin()
    run.directory.study_file.touch()
    run.tell(*TRIALS)
    run.finished()


def test_the_mode_of_a_run_that_was_done_before_is_what_it_was(tmp_path):
    finish(tmp_path)
    for _ in range(2):
        again = Case(tmp_path)
        again.finished()
        assert again.run.history.mode == "distributed"
        assert again.directory.read_meta()["mode"] == "distributed"
        assert [type(event) for event in again.events] == [RunFinished]


def test_the_mode_is_known_after_a_driver_that_got_no_workers(tmp_path):
    finish(tmp_path)
    Case(tmp_path, n_trials=9).prepared()
    assert Case(tmp_path).run.history.mode == "distributed"


# Entries: each has a report of its own, and the run has one for all.


class Entries:
    """A run of two entries, one of which is worked on."""

    def __init__(self, path: Path) -> None:
        keywords = {**OF_RUN, "entry_ids": ["anna", "ben"]}
        self.run = Case(path, options=EntriesOptions.from_keywords(keywords))
        self.run.entries = {"pending": 1, "running": 1, "done": 0, "failed": 0}
        self.directory = entry_directory(self.run.directory, "anna")
        options = self.run.options.of_entry(0)
        parts = entry_parts(self.run.run.parts, options)
        self.entry = take_up(parts, options, self.directory, lambda: None).at_work()
        self.work = Told(self.entry, [GOOD], 5)
        self.run.prepared()
        self.run.begin()
        self.entry.prepare()
        self.work.write_summary()

    def tell(self, trial: TrialResult, best: TrialResult) -> TrialFinished:
        event = TrialFinished(trial, None, best, 5, "anna")
        self.run.work.trials.append(trial)
        self.work.trials.append(trial)
        self.work.take(SimpleNamespace(report=self.run.report), event)
        return event


@pytest.fixture
def entries(tmp_path, at_once):
    return Entries(tmp_path)


def test_the_folder_of_an_entry_is_that_of_a_run_but_for_what_all_have_in_common(entries):
    meta = entries.directory.read_meta()
    assert (meta["kind"], meta["run_name"]) == ("run", "anna")
    assert meta["mode"] == "distributed"
    assert meta["options"]["entry_id"] == "anna"
    assert meta["results_depend_on"]["entry_id"] == "anna"
    assert sorted(path.name for path in entries.directory.path.iterdir()) == [
        "meta.json",
        "summary.json",
    ]
    assert json.loads((entries.directory.path / "summary.json").read_text())["n_told"] == 1


def test_a_trial_of_an_entry_is_told_once_with_its_entry(entries):
    before = len(entries.run.events)
    event = entries.tell(BEST, BEST)
    told, progress = entries.run.events[before:]
    assert told is event
    assert isinstance(progress, Progress)


def test_the_status_of_entries_is_of_all_of_them(entries):
    entries.tell(FAILED, GOOD)
    entries.tell(BEST, BEST)
    status = entries.run.status()
    assert (status["kind"], status["n_trials"]) == ("entries", 10)
    assert (status["done"], status["failed"], status["pending"]) == (1, 1, 8)
    assert status["entries"] == {"pending": 1, "running": 1, "done": 0, "failed": 0}
    assert status["best_value"] is None
    assert entries.directory.status.read() == {}
    summary = json.loads((entries.directory.path / "summary.json").read_text())
    assert (summary["n_told"], summary["n_failed"], summary["best_trial"]) == (3, 1, 2)


def test_the_end_of_an_entry_is_not_the_end_of_the_run(entries):
    before = len(entries.run.events)
    entries.entry.note_end(GOOD, complete=True)
    assert entries.directory.read_meta()["best_value"] == 2.0
    assert "completed_at_utc" in entries.directory.read_meta()
    assert "completed_at_utc" not in entries.run.directory.read_meta()
    assert entries.run.events[before:] == []
    assert entries.run.status()["state"] == "running"
    assert [kind for kind, _ in logged(entries.run)] == ["started"]


# What the use of the workers shows.


@pytest.mark.parametrize(
    ("workers", "demand", "busy_s", "worker_s", "words"),
    [
        (4, Demand([8], 1), 100.0, 110.0, []),
        (4, Demand([1], 1), 100.0, 110.0, ["only 1 of 4 workers could have a chunk"]),
        (4, Demand([3], 1), 100.0, 110.0, ["only 3 of 4 workers could have a chunk"]),
        (4, Demand([4], 2), 100.0, 55.0, ["only 2 of 4 workers could have a chunk"]),
        (4, Demand([1], 1), 10.0, 20.0, []),  # it was over soon
        (None, Demand([8], 1), 100.0, 110.0, []),
        (
            4,
            Demand([8], 1),
            100.0,
            200.0,
            ["nothing to do for 50% of their time: fewer workers, or"],
        ),
        (4, Demand([8], 1), 100.0, 250.0, ["or max_concurrent_trials=5, would waste less"]),
        (4, Demand([8], 2), 100.0, 100.0, ["nothing to do for 50% of their time"]),
        (4, Demand([8], 1), 100.0, None, []),  # the cluster was passed
        ((1, 4), Demand([8], 1), 100.0, 110.0, []),
    ],
)
def test_the_use_of_the_workers(tmp_path, workers, demand, busy_s, worker_s, words):
    keywords = {"workers": workers, "max_concurrent_trials": 2}
    run = Case(tmp_path, options=RunOptions.from_keywords(keywords))
    report = Report(run.reporter, run.place, demand, lambda: Evaluated(busy_s=busy_s))
    report.worker_s = worker_s
    remarks = report.remarks()
    assert len(remarks) == len(words)
    assert all(some in remark for some, remark in zip(words, remarks, strict=True))


@pytest.mark.parametrize(
    ("keywords", "demand", "n_seeds", "words"),
    [
        ({}, Demand([1], 1), 100, ["chunk_size, such as 25, or more max_concurrent_trials"]),
        ({"cluster": "slurm"}, Demand([1], 1), 100, ["so only one worker has work"]),
        ({}, Demand([2], 1), 100, []),
        ({"workers": 1}, Demand([1], 1), 100, []),
        ({}, Demand([1], 1), 1, []),
        (
            {"cluster": "slurm", "worker_parallelism": 4},
            *(Demand([8], 1), 100, ["4 seeds at once share 1 CPU of a job: cpus_per_task=4"]),
        ),
        ({"cluster": "slurm", "worker_parallelism": 4, "cpus_per_task": 4}, Demand([8], 1), 9, []),
        ({"worker_parallelism": 4}, Demand([8], 1), 100, []),
    ],
)
def test_what_the_options_waste(monkeypatch, keywords, demand, n_seeds, words):
    monkeypatch.setattr("seedwise.driver.report.os", SimpleNamespace(cpu_count=lambda: 8))
    notes = list(plan_notes(RunOptions.from_keywords(keywords), demand, n_seeds))
    assert len(notes) == len(words)
    assert all(some in note for some, note in zip(words, notes, strict=True))

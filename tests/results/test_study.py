"""The result of a run: the best trial and all others, as objects, as a table and as a study."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import attrs
import optuna
import pytest
from optuna.storages import JournalStorage

from seedwise.cluster.place import Place
from seedwise.driver.parts import make_parts
from seedwise.driver.report import Report
from seedwise.driver.study_work import StudyWork
from seedwise.driver.workplace import Workplace
from seedwise.errors import MissingExtraError, NoCompleteTrialError
from seedwise.folder.find import open_run_directory
from seedwise.folder.history import take_up_history
from seedwise.folder.trial_files import TrialFolders
from seedwise.model.events import RunFinished
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.study import RunOptions
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.study import OptimizeResult
from seedwise.study.journal import SingleWriterJournal
from tests.losses import bowl

TRIALS = (
    TrialResult(0, {"x": 0.5, "kind": "a"}, 2.0, 0.1, 10, TrialState.COMPLETE, 1.0),
    TrialResult(1, {"x": 0.7, "kind": "b"}, None, None, 0, TrialState.FAIL, 2.0),
    TrialResult(2, {"x": 0.9, "kind": "a"}, 1.0, None, 1, TrialState.COMPLETE, 3.0),
)


def make(study_file=Path("study.journal")) -> OptimizeResult:
    return OptimizeResult(
        loss_name="walk",
        best_value=1.0,
        best_params={"x": 0.9, "kind": "a"},
        best_stderr=None,
        best_n_seeds=1,
        n_trials=3,
        study_name="walk",
        run_dir="runs/walk_v0001",
        mode=ExecutionMode.SINGLE,
        trials=TRIALS,
        study_file=study_file,
    )


def test_the_table_has_a_row_a_trial():
    table = make().to_dataframe()
    assert table.columns.tolist() == [
        "number",
        "params_x",
        "params_kind",
        "value",
        "stderr",
        "n_seeds",
        "state",
        "duration_s",
    ]
    assert table["number"].tolist() == [0, 1, 2]
    assert table["params_x"].tolist() == [0.5, 0.7, 0.9]
    assert table["params_kind"].tolist() == ["a", "b", "a"]
    assert table["state"].tolist() == ["COMPLETE", "FAIL", "COMPLETE"]
    assert table["n_seeds"].tolist() == [10, 0, 1]
    assert table["duration_s"].tolist() == [1.0, 2.0, 3.0]


def test_each_component_has_a_column():
    whole = attrs.evolve(TRIALS[0], components={"cost": 1.5, "risk": math.nan})
    table = attrs.evolve(make(), trials=(whole, *TRIALS[1:])).to_dataframe()
    assert table.columns.tolist()[-2:] == ["components_cost", "components_risk"]
    assert table["components_cost"].tolist()[0] == 1.5
    assert table["components_cost"].isna().tolist() == [False, True, True]
    assert table["components_risk"].isna().all()


def test_a_failed_trial_has_nan_and_the_column_stays_of_floats():
    table = make().to_dataframe()
    assert table["value"].dtype == table["stderr"].dtype == "float64"
    assert table["value"].isna().tolist() == [False, True, False]
    assert table["stderr"].isna().tolist() == [False, True, True]
    assert table["value"][0] == 2.0
    assert math.isnan(table["value"][1])


def test_the_columns_are_of_floats_even_if_all_trials_failed():
    table = attrs.evolve(make(), trials=TRIALS[1:2]).to_dataframe()
    assert table["value"].dtype == table["stderr"].dtype == "float64"


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seedwise\[pandas\]'") as caught:
        make().to_dataframe()
    assert caught.value.extra == "pandas"


def test_a_result_is_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        make().best_value = 0.0


def test_a_result_is_shown_in_short():
    shown = repr(make())
    assert "best_value=1.0" in shown
    assert "TrialResult" not in shown


def test_the_study_is_read_from_its_file(tmp_path):
    path = tmp_path / "study.journal"
    journal = SingleWriterJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="walk")
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    study.tell(trial, 0.25)
    journal.close()
    read = make(study_file=path).study()
    assert read.best_value == 0.25
    assert read.best_params == trial.params


def test_the_best_trial_is_the_first_of_the_best_value():
    again = attrs.evolve(TRIALS[2], number=3)
    result = attrs.evolve(make(), trials=(*TRIALS, again))
    assert result.best_trial is TRIALS[2]


def test_files_that_the_loss_wrote_are_found_by_trial(tmp_path):
    folders = TrialFolders(tmp_path, 3)
    attempt = Path(folders.attempts_dir) / "trial_002-0-0123abcd"
    attempt.mkdir(parents=True)
    (attempt / "plot.png").write_bytes(b"a plot")
    folders.settle(2, [attempt.name], {})
    result = attrs.evolve(make(), run_dir=str(tmp_path))
    assert result.artifacts() == {2: (tmp_path / "trials" / "trial_002" / "plot.png",)}
    assert attrs.evolve(make(), run_dir=str(tmp_path / "elsewhere")).artifacts() == {}


# As the work on a study returns it.


class Work:
    """The work on a study of which trials are told."""

    def __init__(self, path: Path, trials=TRIALS, **keywords) -> None:
        self.events = []
        options = RunOptions.from_keywords({"n_trials": 3, "n_seeds": 6, **keywords})
        self.directory = open_run_directory(path, "mine", bowl.name)
        parts = make_parts(bowl, options)
        history = take_up_history(
            self.directory, "a study", parts.depends_on, accept_changes=False
        )
        report = Report(self.directory, history, parts, options, self.events.append)
        self.study = StudyWork(parts, options, self.directory, history, report)
        self.study.trials = trials
        place = Place(None, ExecutionMode.DISTRIBUTED, "Slurm", None, None)
        report.begun(Workplace(place, "bowl-1", None), dict.fromkeys(TrialState, 0))


def test_the_result_is_of_the_best_trial(tmp_path):
    work = Work(tmp_path)
    result, best = work.study.result(), TRIALS[2]
    assert (result.best_value, result.best_stderr, result.best_n_seeds) == (1.0, None, 1)
    assert result.best_params == best.params
    assert result.best_params is not best.params
    assert (result.loss_name, result.study_name) == ("bowl", "a study")
    assert (result.n_trials, result.trials) == (3, TRIALS)
    assert result.best_trial is best
    assert result.run_dir == str(work.directory.path)
    assert result.study_file == work.directory.study_file
    assert result.mode is ExecutionMode.DISTRIBUTED


@pytest.mark.parametrize(("direction", "number"), [("minimize", 2), ("maximize", 0)])
def test_the_best_is_by_the_direction(tmp_path, direction, number):
    work = Work(tmp_path, direction=direction)
    best = TRIALS[number]
    assert work.study.best is best
    assert work.study.result().best_value == best.value
    work.study.finish()
    assert work.directory.read_meta()["best_params"] == best.params
    assert isinstance(work.events[-1], RunFinished)
    assert work.events[-1].best is best


@pytest.mark.parametrize(
    ("trials", "n_failed", "sentence"),
    [
        (
            [attrs.evolve(TRIALS[1], number=n, error="seed 3: ValueError: no") for n in (0, 1)],
            2,
            "all 2 trials failed, the first with: seed 3: ValueError: no",
        ),
        ([], 0, "none was asked for before the timeout"),
    ],
)
def test_without_a_complete_trial_there_is_no_result(trials, n_failed, sentence, tmp_path):
    work = Work(tmp_path, trials)
    work.study.finish()
    with pytest.raises(NoCompleteTrialError, match=sentence) as caught:
        work.study.result()
    assert (caught.value.run_dir, caught.value.n_failed) == (work.directory.path, n_failed)
    assert work.events[-1].best is None
    meta = json.loads((work.directory.path / "meta.json").read_text())
    assert (meta["best_value"], meta["best_params"]) == (None, None)
    assert "completed_at_utc" in meta

"""The result of a run: the best trial and all others, as objects, as a table and as a study."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import attrs
import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage

from seedwise.errors import MissingExtraError, OptionError
from seedwise.folder.trial_files import TrialFolders
from seedwise.model.options.work import ExecutionMode
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.study import OptimizeResult
from seedwise.study.journal import SingleWriterJournal

TRIALS = (
    TrialResult(0, {"x": 0.5, "kind": "a"}, 2.0, 0.1, 10, TrialState.COMPLETE, 1.0),
    TrialResult(1, {"x": 0.7, "kind": "b"}, None, None, 0, TrialState.FAIL, 2.0, "seed 3: E: no"),
    TrialResult(2, {"x": 0.9, "kind": "a"}, 1.0, None, 1, TrialState.COMPLETE, 3.0),
)


def make(run_dir="runs/walk_v0001") -> OptimizeResult:
    return OptimizeResult(
        loss_name="walk",
        study_name="walk",
        run_dir=str(run_dir),
        mode=ExecutionMode.SINGLE,
        direction="minimize",
        seeds=np.arange(10),
        trials=TRIALS,
    )


def test_what_is_said_of_the_best():
    result = make()
    assert (result.best_value, result.best_params) == (1.0, {"x": 0.9, "kind": "a"})
    assert (result.best_stderr, result.best_n_seeds, result.n_trials) == (None, 1, 3)
    assert attrs.evolve(result, direction="maximize").best_value == 2.0


def test_results_are_equal_if_all_of_them_is():
    assert make() == make()
    assert make() != attrs.evolve(make(), seeds=np.arange(9))
    assert make() != attrs.evolve(make(), trials=TRIALS[:2])


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
        "error",
    ]
    assert table["number"].tolist() == [0, 1, 2]
    assert table["params_x"].tolist() == [0.5, 0.7, 0.9]
    assert table["params_kind"].tolist() == ["a", "b", "a"]
    assert table["state"].tolist() == ["COMPLETE", "FAIL", "COMPLETE"]
    assert table["n_seeds"].tolist() == [10, 0, 1]
    assert table["duration_s"].tolist() == [1.0, 2.0, 3.0]
    assert table["error"].isna().tolist() == [True, False, True]
    assert table["error"][1] == "seed 3: E: no"


def test_each_component_has_a_column():
    whole = attrs.evolve(TRIALS[0], components={"cost": 1.5, "risk": math.nan})
    table = attrs.evolve(make(), trials=(whole, *TRIALS[1:])).to_dataframe()
    assert table.columns.tolist()[-2:] == ["components_cost", "components_risk"]
    assert table["components_cost"].tolist()[0] == 1.5
    assert table["components_cost"].isna().tolist() == [False, True, True]
    assert table["components_risk"].isna().all()


def test_the_raw_values_have_a_column_if_a_trial_was_dropped():
    dropped = attrs.evolve(TRIALS[0], raw_value=1.5, components={"cost": 1.5})
    table = attrs.evolve(make(), trials=(dropped, *TRIALS[1:])).to_dataframe()
    assert table.columns.tolist()[-2:] == ["raw_value", "components_cost"]
    assert table["raw_value"].tolist()[0] == 1.5
    assert table["raw_value"].isna().tolist() == [False, True, True]


def test_whole_numbers_and_bools_stay_what_they_are_where_others_are_missing():
    params = [{"x": 0.5}, {"x": 0.7, "n": 2**53 - 1, "flip": True}, {"x": 0.9, "n": 4}]
    trials = [attrs.evolve(one, params=p) for one, p in zip(TRIALS, params, strict=True)]
    table = attrs.evolve(make(), trials=tuple(trials)).to_dataframe()
    assert [str(table[f"params_{name}"].dtype) for name in ("x", "n", "flip")] == [
        "float64",
        "Int64",
        "boolean",
    ]
    assert table["params_n"].tolist()[1:] == [2**53 - 1, 4]
    assert table["params_n"].isna().tolist() == [True, False, False]
    assert str(table["n_seeds"].dtype) == "int64"


def test_the_table_of_no_trial_has_its_columns():
    table = attrs.evolve(make(), trials=()).to_dataframe()
    assert len(table) == 0
    assert {"number", "value", "error"} <= set(table.columns)


def test_the_outcome_says_how_many_failed_and_why():
    assert make().outcome == "2 complete, 1 failed: trial 1: seed 3: E: no"
    assert attrs.evolve(make(), trials=TRIALS[:1]).outcome == "1 complete"


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
    read = make(tmp_path).study()
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


@pytest.mark.parametrize("number", [[0, 1], (0, 1, 2), None, "0"])
def test_what_is_not_a_number_of_a_trial_is_refused(number):
    with pytest.raises(OptionError, match="the number of one of the"):
        make().traceback(number)

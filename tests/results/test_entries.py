"""The result of a run of several entries, one of which may have failed."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

from seedwise.errors import LossFailedError, MissingExtraError
from seedwise.folder.trial_files import TrialFolders
from seedwise.model.options.work import ExecutionMode
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult

COMPLETE = TrialState.COMPLETE


def of_entry(path: Path, value: float, stderr: float | None = 0.25) -> OptimizeResult:
    trials = (
        TrialResult(0, {"x": 0.5, "kind": "a"}, value + 1, stderr, 4, COMPLETE, 1.0),
        TrialResult(1, {"x": 0.7, "kind": "b"}, value, stderr, 4, COMPLETE, 2.0),
    )
    return OptimizeResult(
        loss_name="walk",
        study_name="walk",
        run_dir=str(path),
        mode=ExecutionMode.SINGLE,
        direction="minimize",
        seeds=np.arange(4),
        trials=trials,
    )


LOSS_FAILED = LossFailedError(
    3, 7, 5, {"x": 1}, "KeyError", "Traceback\nKeyError: 'rt'\n", run_dir=Path(), message="'rt'"
)


def make(path: Path, stderr: float | None = 0.25) -> MultiOptimizeResult:
    found = {
        entry: of_entry(path / entry, value, stderr) for entry, value in (("b", 2.0), ("c", 1.0))
    }
    return MultiOptimizeResult(
        loss_name="walk",
        n_entries=3,
        entries=["b", "a", "c"],
        results_by_entry=found,
        best_values_by_entry={entry: one.best_value for entry, one in found.items()},
        best_params_by_entry={entry: one.best_params for entry, one in found.items()},
        run_dir=str(path),
        mode=ExecutionMode.SINGLE,
        failed={"a": ValueError("no way:\n\nTraceback: of many\n  lines")},
    )


def test_the_table_has_a_row_an_entry_in_their_order(tmp_path):
    table = make(tmp_path).to_dataframe()
    assert table.columns.tolist() == [
        "entry_id",
        "best_value",
        "best_stderr",
        "params_x",
        "params_kind",
        "best_trial",
        "n_trials",
        "error",
    ]
    assert table["entry_id"].tolist() == ["b", "a", "c"]
    assert table["best_value"].tolist()[::2] == [2.0, 1.0]
    assert table["best_trial"].tolist()[::2] == [1, 1]
    assert table["n_trials"].tolist()[::2] == [2, 2]
    assert table["params_kind"].tolist()[::2] == ["b", "b"]


def test_of_an_entry_that_failed_there_is_the_error_and_nothing_else(tmp_path):
    table = make(tmp_path).to_dataframe()
    assert table["error"].isna().tolist() == [True, False, True]
    assert table["error"][1] == "ValueError: no way"
    assert [str(table[name].dtype) for name in ("best_trial", "n_trials")] == ["Int64"] * 2
    assert table["n_trials"].tolist()[::2] == [2, 2]
    others = table.drop(columns=["entry_id", "error"])
    assert others.isna().all(axis=1).tolist() == [False, True, False]


def test_the_outcome_says_who_failed_and_what_the_loss_raised(tmp_path):
    result = make(tmp_path)
    assert result.outcome == "2 fitted, 1 failed: a: ValueError: no way"
    result = attrs.evolve(result, failed={"a": LOSS_FAILED})
    assert result.outcome == "2 fitted, 1 failed: a: KeyError: 'rt'"
    assert result.to_dataframe()["error"][1] == "KeyError: 'rt'"
    assert attrs.evolve(result, failed={}, n_entries=2).outcome == "2 fitted"


@pytest.mark.parametrize("stderr", [0.25, None])
def test_numbers_are_columns_of_floats(tmp_path, stderr):
    table = make(tmp_path, stderr).to_dataframe()
    for name in ("best_value", "best_stderr", "params_x"):
        assert table[name].dtype == "float64"


def test_without_pandas_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seedwise\[pandas\]'"):
        make(tmp_path).to_dataframe()


def test_files_that_the_loss_wrote_are_found_by_entry_and_trial(tmp_path):
    folders = TrialFolders(tmp_path / "c", 3)
    attempt = Path(folders.attempts_dir) / "trial_001-0-0123abcd"
    attempt.mkdir(parents=True)
    (attempt / "plot.png").write_bytes(b"a plot")
    folders.settle(1, [attempt.name], {})
    path = tmp_path / "c" / "trials" / "trial_001" / "plot.png"
    assert make(tmp_path).artifacts() == {"c": {1: (path,)}}


def test_a_result_is_frozen_and_shown_in_short(tmp_path):
    result = make(tmp_path)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result.n_entries = 0
    assert "TrialResult" not in repr(result)

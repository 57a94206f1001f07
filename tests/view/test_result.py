"""What a run found, and its table: in lines for a terminal, and in files."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import pytest

from seedwise.errors import MissingExtraError, OptionError
from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import TrialTable, read_rows
from seedwise.model.options.study import SweepOptions
from seedwise.model.options.work import ExecutionMode
from seedwise.model.points import Cases
from seedwise.model.sources import grid
from seedwise.model.space import checked_space
from seedwise.model.validation import Validation
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult, SweepTrials
from seedwise.view.result import result_lines, table_json, table_lines, write_table
from tests.builders import trial

RUN = OptimizeResult(
    loss_name="walk",
    study_name="walk",
    run_dir="runs/walk_v0001",
    mode=ExecutionMode.SINGLE,
    direction="minimize",
    seeds=np.arange(4),
    trials=(trial(0, 0.1 + 0.2, {"x": 1 / 3, "n": 3, "kind": "it's", "flip": True}),),
)
CASES = Cases(grid(x=[0.25, 0.5]), SweepOptions(), checked_space({"x": (0, 1)}))


def entries(**failed: Exception) -> MultiOptimizeResult:
    return MultiOptimizeResult(
        loss_name="walk",
        n_entries=2,
        entries=["anna b", "ben"],
        results_by_entry={"anna b": RUN},
        best_values_by_entry={"anna b": RUN.best_value},
        best_params_by_entry={"anna b": RUN.best_params},
        run_dir="runs/walk_entries_v0001",
        mode=ExecutionMode.SINGLE,
        failed=failed,
    )


def sweep(path: Path, *values: float | None) -> SweepResult:
    trials = [
        trial(number, value, CASES.params(number), stderr=None, n_seeds=1)
        for number, value in enumerate(values)
    ]
    with TrialTable(path / "trials.table") as table:
        table.add(trials, [params_digest(one.params) for one in trials])
    rows = read_rows(path / "trials.table")
    return SweepResult(
        loss_name="walk",
        run_dir=str(path),
        mode=ExecutionMode.SINGLE,
        direction="minimize",
        n_trials=len(trials),
        seeds=rows.number,
        trials=SweepTrials(rows, CASES),
        rows=rows,
        cases=CASES,
    )


OF_RUN = [
    "best_value: 0.30000000000000004",
    "x: 0.3333333333333333",
    "n: 3",
    'kind: "it\'s"',
    "flip: True",
]


def test_numbers_are_as_python_writes_them():
    assert result_lines(RUN) == [*OF_RUN, "1 complete"]


def test_of_a_run_without_a_complete_trial_there_is_why():
    failed = attrs.evolve(RUN, trials=(trial(0, None),))
    assert result_lines(failed) == ["0 complete, 1 failed: trial 0: it broke"]


def test_of_an_entry_that_is_not_far_yet_there_is_no_best():
    result = attrs.evolve(entries(), results_by_entry={"anna b": RUN})
    assert result_lines(result)[-3:] == [
        "ben:",
        "  no complete trial yet",
        "1 fitted, 1 without a complete trial",
    ]


def test_of_entries_each_has_its_lines_in_their_order():
    result = entries(ben=ValueError("no way\nand a traceback"))
    assert result_lines(result) == [
        "anna b:",
        *(f"  {line}" for line in OF_RUN),
        "ben:",
        "  failed: ValueError: no way",
        "1 fitted, 1 failed: ben: ValueError: no way",
    ]
    again = attrs.evolve(result, entries=["ben", "anna b"])
    assert result_lines(again)[0] == "ben:"


def test_of_a_sweep_how_many_failed_and_the_best(tmp_path):
    assert result_lines(sweep(tmp_path, None, 0.1)) == [
        "trials: 2",
        "failed: 1",
        "best_trial: 1",
        "best_value: 0.1",
        "x: 0.5",
        "1 complete, 1 failed: trial 0: it broke",
    ]


def test_of_a_sweep_without_a_complete_trial_there_is_no_best(tmp_path):
    assert result_lines(sweep(tmp_path, None)) == [
        "trials: 1",
        "failed: 1",
        "0 complete, 1 failed: trial 0: it broke",
    ]


FOUND = Validation((), number=0, params={"x": 0.5}, value=0.25, stderr=0.125, n_seeds=8)
VALIDATED = ["validated_value: 0.25", "validated_stderr: 0.125", "validated_params: {'x': 0.5}"]


def test_the_validated_value_comes_after_the_best():
    run = attrs.evolve(RUN, validation=FOUND)
    assert result_lines(run)[-4:-1] == VALIDATED
    of_entries = attrs.evolve(entries(ben=ValueError("no")), results_by_entry={"anna b": run})
    assert [line.strip() for line in result_lines(of_entries)][-6:-3] == VALIDATED
    assert not any("validat" in line for line in result_lines(RUN))


# The table.

TRIALS = (
    trial(0, 1 / 3, {"x": 0.1 + 0.2, "kind": "a, b"}, stderr=None, components={"cost": math.inf}),
    trial(1, None, {"x": -1e-9, "kind": "c", "n": 2**53 - 1}),
    trial(2, 1234567.0, {"x": 2.0, "kind": "d", "n": 7}, components={"cost": 0.25}),
)
RESULT = OptimizeResult(
    loss_name="walk",
    study_name="walk",
    run_dir="runs/walk_v0001",
    mode=ExecutionMode.SINGLE,
    direction="minimize",
    seeds=np.arange(4),
    trials=TRIALS,
)


def test_a_row_a_trial():
    header, *rows = table_lines(RESULT)
    assert header.split()[:4] == ["number", "params_x", "params_kind", "params_n"]
    assert [" ".join(row.split()) for row in rows] == [
        "0 0.3 a, b - 0.333333 - 4 COMPLETE 1.25 - inf",
        "1 -1e-09 c 9007199254740991 - - 0 FAIL 1.25 it broke -",
        "2 2 d 7 1.23457e+06 0.5 4 COMPLETE 1.25 - 0.25",
    ]
    assert len({len(row) for row in (header, *rows)}) == 1


@pytest.mark.parametrize(("n_trials", "shown"), [(4, 4), (5, 4), (11, 4), (0, 0)])
def test_of_many_rows_the_first_and_the_last(n_trials, shown):
    many = attrs.evolve(RESULT, trials=tuple(trial(n, 1.0) for n in range(n_trials)))
    lines = table_lines(many, most=4)
    numbers = [line.split()[0] for line in lines[1:]]
    if n_trials <= 4:
        assert numbers == [str(n) for n in range(n_trials)]
    else:
        assert numbers == ["0", "1", "...", str(n_trials - 2), str(n_trials - 1)]
        assert lines[3].startswith(f"... {n_trials - shown} more; seedwise export")


def test_as_json_it_has_the_columns_and_the_best():
    found = json.loads(table_json(RESULT), parse_constant=pytest.fail)  # neither NaN nor Infinity
    assert list(found["columns"]) == list(RESULT.columns())
    assert found["columns"]["params_n"] == [None, 2**53 - 1, 7]
    assert found["columns"]["value"] == [1 / 3, None, 1234567.0]
    assert found["columns"]["components_cost"] == ["inf", None, 0.25]
    assert found["best"]["number"] == 0
    assert found["best"]["params"] == {"x": 0.1 + 0.2, "kind": "a, b"}
    assert found["best"]["stderr"] is None
    assert found["outcome"] == RESULT.outcome


def test_an_error_is_in_a_line_and_not_too_long():
    failed = attrs.evolve(RESULT, trials=(trial(0, None, error="a" * 99),))
    assert f"  {'a' * 57}..." in table_lines(failed)[1]


def test_a_csv_file_has_each_bit_and_needs_no_pandas(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    path = tmp_path / "out.csv"
    write_table(RESULT, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["params_x"]) for row in rows] == [one.params["x"] for one in TRIALS]
    assert [row["params_n"] for row in rows] == ["", str(2**53 - 1), "7"]
    assert [row["value"] for row in rows] == [repr(1 / 3), "", "1234567.0"]
    assert [row["components_cost"] for row in rows] == ["inf", "", "0.25"]
    assert rows[0]["params_kind"] == "a, b"


def test_a_csv_file_is_read_by_pandas_as_the_table(tmp_path):
    write_table(RESULT, tmp_path / "out.csv")
    read = pd.read_csv(tmp_path / "out.csv")
    table = RESULT.to_dataframe()
    for name in ("number", "params_x", "value", "stderr", "n_seeds", "components_cost"):
        # The last digit of a number is as pandas reads it.
        pd.testing.assert_series_equal(read[name], table[name], rtol=1e-15)


def test_a_parquet_file_is_the_table_with_its_types(tmp_path):
    write_table(RESULT, tmp_path / "out.parquet")
    read, table = pd.read_parquet(tmp_path / "out.parquet"), RESULT.to_dataframe()
    assert read.equals(table)
    assert str(read["params_n"].dtype) == "Int64"


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_without_its_packages_the_error_names_the_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seedwise\[parquet\]'"):
        write_table(RESULT, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_parquet_can_not_hold_is_said(tmp_path):
    params = [{"x": "text"}, {"x": 1.5}]
    mixed = tuple(trial(number, 1.0, one) for number, one in enumerate(params))
    with pytest.raises(OptionError, match=r"ends in \.csv\. Parquet can't hold"):
        write_table(attrs.evolve(RESULT, trials=mixed), tmp_path / "out.parquet")


@pytest.mark.parametrize("name", ["out", "out.xlsx", "out.CSV.gz"])
def test_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(OptionError, match=r"file='.*must be a name that ends in \.csv or"):
        write_table(RESULT, Path(tmp_path / name))
    assert list(tmp_path.iterdir()) == []

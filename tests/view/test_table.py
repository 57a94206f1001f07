"""The table of a result, on a terminal and in files."""

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
from seedwise.model.options.mode import ExecutionMode
from seedwise.results.study import OptimizeResult
from seedwise.view.table import table_json, table_lines, write_table
from tests.builders import trial

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

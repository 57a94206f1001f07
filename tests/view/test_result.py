"""What a run found, in lines for a terminal."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np

from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import TrialTable, read_rows
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.points import Cases
from seedwise.model.sources import grid
from seedwise.model.space import checked_space
from seedwise.model.validation import Validation
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult, SweepTrials
from seedwise.view.result import result_lines
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

"""The figures of a run of entries, whose numbers are read back from what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seedwise.model.options.mode import ExecutionMode
from seedwise.results.entries import MultiOptimizeResult

from .made import run, validated


def of_entries(path: Path, results, failed=()) -> MultiOptimizeResult:
    """Return the result of entries by name; those that have none failed, or have not begun."""
    there = {}
    for name, values in results.items():
        if values is None:
            continue
        (path / name).mkdir()
        found = validated(0) if isinstance(values, tuple) else None
        there[name] = run(path / name, list(values), validation=found)
    return MultiOptimizeResult(
        loss_name="walk",
        n_entries=len(results),
        entries=list(results),
        results_by_entry=there,
        best_values_by_entry={},
        best_params_by_entry={},
        run_dir=str(path),
        mode=ExecutionMode.SINGLE,
        failed={name: ValueError("no") for name in failed},
    )


def test_each_entry_has_its_honest_value_or_its_best(tmp_path):
    entries = {"anna": (3.0, 2.0), "ben": [5.0, 4.0], "cleo": None, "dora": None, "eve": [None]}
    ax = of_entries(tmp_path, entries, failed=["cleo"]).plot.entries()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(entries)
    assert ax.get_ylim() == (4.5, -0.5)  # the first at the top
    points = {one.get_label(): one for one in ax.containers}
    honest = points["validated, 95 % interval"].lines
    assert honest[0].get_xydata().tolist() == [[1.5, 0]]
    assert honest[2][0].get_segments()[0][:, 0] == pytest.approx([1.2, 1.9])
    best = points["best of the search ± standard error"].lines
    assert best[0].get_xydata().tolist() == [[4.0, 1]]
    assert best[2][0].get_segments()[0][:, 0].tolist() == [3.5, 4.5]
    assert points["failed"].lines[0].get_xydata().tolist() == [[0.02, 2]]


def test_entries_that_all_failed(tmp_path):
    ax = of_entries(tmp_path, {"a": None, "b": None}, failed=["a", "b"]).plot.entries()
    assert ax.containers[0].lines[0].get_ydata().tolist() == [0, 1]


def test_of_many_entries_some_are_named(tmp_path):
    names = {f"p{number:03}": [float(number)] for number in range(130)}
    ax = of_entries(tmp_path, names).plot.entries()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == list(names)[::3]
    (points,) = ax.containers
    assert np.array_equal(points.lines[0].get_xdata(), range(130))
    assert ax.figure.get_size_inches()[1] == 14


def test_a_figure_that_is_of_trials_is_not_there(tmp_path):
    plot = of_entries(tmp_path, {"a": [1.0]}).plot
    assert [name for name in dir(plot) if not name.startswith("_")] == ["entries", "workers"]

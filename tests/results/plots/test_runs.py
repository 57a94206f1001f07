"""The figures of any run and of entries, whose numbers are read back from what was drawn."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from seedwise.errors import NoFigureError
from seedwise.folder.directory import RunDirectory
from seedwise.model.options.work import ExecutionMode
from seedwise.results.entries import MultiOptimizeResult

from .made import run, validated
from .test_search import lines

SLURM = [
    ("started", "started by process 1", None),
    ("submitted", "submitted 3 jobs: 11, 12, 13", None),
    ("note", "of no matter here", None),
    ("joined", "a worker joined", "11"),
    ("joined", "a worker joined", "12"),
    ("lost", "a worker was lost: it was preempted", "11"),
    ("submitted", "submitted a job: 14", None),
    ("left", "a job that is not needed was cancelled", "13"),
    ("stopped", "Ctrl-C", None),
]
LOCAL = [
    ("started", "started by process 1", None),
    ("joined", "worker 0 joined", None),
    ("joined", "worker 1 joined", None),
    ("lost", "worker 1 was lost, and does not come back", None),
    ("finished", "2 of 2 trials are told", None),
]


def log(path, events):
    lines = [
        {"at_utc": f"2026-08-01T10:{n:02}:00+00:00", "kind": kind, "text": text, "job_id": job}
        for n, (kind, text, job) in enumerate(events)
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    RunDirectory(path).event_log.write_text(text)


def test_the_workers_are_those_that_joined_and_jobs_wait_until_then(tmp_path):
    log(tmp_path, SLURM)
    ax = run(tmp_path, [1.0]).plot.workers()
    found = lines(ax)
    assert found["workers"].get_xdata().tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
    assert found["workers"].get_ydata().tolist() == [0, 0, 1, 2, 1, 1, 1, 0]
    assert found["jobs that wait"].get_ydata().tolist() == [0, 3, 2, 1, 1, 2, 1, 0]
    assert ax.get_xlabel().startswith("minutes since 2026-08-01 ")


def test_local_workers_have_no_jobs(tmp_path):
    log(tmp_path, LOCAL)
    found = lines(run(tmp_path, [None]).plot.workers())
    assert list(found) == ["workers"]
    assert found["workers"].get_ydata().tolist() == [0, 1, 2, 1, 0]


def test_the_workers_of_an_entry_are_those_of_its_run(tmp_path):
    log(tmp_path, LOCAL)
    run(tmp_path, [1.0])
    (tmp_path / "entries" / "anna").mkdir(parents=True)
    ax = run(tmp_path / "entries" / "anna", [1.0]).plot.workers()
    assert max(lines(ax)["workers"].get_ydata()) == 2


@pytest.mark.parametrize("events", [[], LOCAL[:1], [LOCAL[0], LOCAL[-1]]])
def test_a_folder_that_tells_of_no_worker(tmp_path, events):
    log(tmp_path, events)
    with pytest.raises(NoFigureError, match="does not tell of any worker"):
        run(tmp_path, [1.0]).plot.workers()
    assert plt.get_fignums() == []


# Entries.


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

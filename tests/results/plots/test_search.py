"""Figures of a search, whose numbers are read back from what was drawn."""

from __future__ import annotations

import json
import sys

import attrs
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from seedwise.errors import MissingExtraError, NoFigureError
from seedwise.folder.directory import RunDirectory

from .made import run, sweep, trial, validated

VALUES = [None, 3.0, 4.0, None, 1.0, 2.0]


def lines(ax):
    """The lines and points of axes, by what the legend says of them."""
    found = {line.get_label(): line for line in ax.lines}
    bars = [one for one in ax.containers if isinstance(one, ErrorbarContainer)]
    return found | {one.get_label(): one.lines[0] for one in bars}


def ends(ax, label):
    """The lower and upper ends of error bars."""
    (container,) = [one for one in ax.containers if one.get_label() == label]
    (bars,) = container.lines[2]
    return [segment[:, 1].tolist() for segment in bars.get_segments()]


# History.


@pytest.mark.parametrize("make", [run, sweep])
def test_the_history_has_all_trials_and_the_best_so_far(tmp_path, make):
    ax = make(tmp_path, VALUES).plot.history()
    found = lines(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("trial", "loss")
    points = found["trial ± standard error"]
    assert points.get_xdata().tolist() == [1, 2, 4, 5]
    assert points.get_ydata().tolist() == [3.0, 4.0, 1.0, 2.0]
    assert ends(ax, "trial ± standard error")[0] == [2.5, 3.5]
    best = found["best so far ± standard error"]
    assert best.get_xydata().tolist() == [[1, 3.0], [4, 1.0], [5, 1.0]]
    assert best.get_drawstyle() == "steps-post"
    band = ax.collections[-1].get_datalim(ax.transData)
    assert (band.y0, band.y1) == (0.5, 3.5)
    assert found["failed"].get_xdata().tolist() == [0, 3]
    assert set(found["failed"].get_ydata()) == {0.97}  # of the axes' height


def test_to_maximise_the_best_is_the_highest_and_failures_are_below(tmp_path):
    found = lines(run(tmp_path, VALUES, direction="maximize").plot.history())
    best = found["best so far ± standard error"]
    assert best.get_xydata().tolist() == [[1, 3.0], [2, 4.0], [5, 4.0]]
    assert set(found["failed"].get_ydata()) == {0.03}


def test_dropped_trials_are_told_apart(tmp_path):
    trials = [trial(0, 1.0), trial(1, 2.0, raw_value=2.5), trial(2, 3.0, raw_value=2.5)]
    points = lines(run(tmp_path, trials).plot.history())["dropped by the race"]
    assert points.get_xydata().tolist() == [[1, 2.0], [2, 3.0]]
    assert points.get_markerfacecolor() == "white"


def test_the_validated_value_is_at_the_end_with_its_interval(tmp_path):
    ax = run(tmp_path, [3.0, 1.0, 2.0], validation=validated(1, 2)).plot.history()
    label = "trial 1 validated, 95 % interval"
    assert lines(ax)[label].get_xydata().tolist() == [[3.0, 1.5]]
    assert ends(ax, label) == [pytest.approx([1.2, 1.9])]


def test_the_validated_value_is_shown_whatever_is_too_far_off(tmp_path):
    values = [*map(float, range(20)), 1e6]
    found = attrs.evolve(validated(1), value=50.0, interval=(40.0, 60.0))
    assert run(tmp_path, values, validation=found).plot.history().get_ylim()[1] == 60


def test_a_few_far_worse_values_do_not_hide_the_others(tmp_path):
    values = [*map(float, range(20)), 1e300]
    ax = run(tmp_path, values).plot.history()
    assert ax.get_ylim() == pytest.approx((-1.875, 27.0))
    assert lines(ax)["far worse"].get_xdata().tolist() == [20]
    assert len(lines(ax)["trial ± standard error"].get_xdata()) == 20
    ax = run(tmp_path, [-value for value in values], direction="maximize").plot.history()
    assert ax.get_ylim() == pytest.approx((-27.0, 1.875))


def test_a_single_seed_has_no_error_bar(tmp_path):
    ax = run(tmp_path, [trial(n, 1.0, stderr=None, n_seeds=1) for n in range(3)]).plot.history()
    assert [one.get_label() for one in ax.containers] == ["trial"]
    (bars,) = ax.containers[0].lines[2]
    assert [len(segment) for segment in bars.get_segments()] == [0, 0, 0]
    band = ax.collections[-1].get_datalim(ax.transData)
    assert (band.y0, band.y1) == (1.0, 1.0)


def test_it_draws_on_axes_that_it_is_given(tmp_path):
    _, ax = plt.subplots()
    assert run(tmp_path, [1.0]).plot.history(ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.get_title() == ""


def test_ten_thousand_trials_are_pixels(tmp_path):
    ax = run(tmp_path, np.random.default_rng(1).normal(size=10_000).tolist()).plot.history()
    assert lines(ax)["trial ± standard error"].get_rasterized()
    ax.figure.savefig(tmp_path / "history.svg")
    assert (tmp_path / "history.svg").stat().st_size < 500_000


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"seedwise\[plot\]") as caught:
        run(tmp_path, [1.0]).plot.history()
    assert caught.value.extra == "plot"


# Seeds.


def test_the_race_figure_has_the_seeds_of_each_trial_and_what_was_saved(tmp_path):
    trials = [trial(0, 1.0), trial(1, 2.0, raw_value=2.5, n_seeds=2), trial(2, None)]
    ax = run(tmp_path, trials).plot.race()
    found = lines(ax)
    assert found["trial"].get_xydata().tolist() == [[0, 8]]
    assert found["dropped by the race"].get_xydata().tolist() == [[1, 2]]
    label = "all 8 seeds; 38% of 16 were saved"  # 6 of 16
    assert found[label].get_ydata() == [8, 8]
    heights = [bars.get_segments()[0][:, 1].tolist() for bars in ax.collections]
    assert sorted(heights) == [[0, 2], [0, 8]]


# Workers.

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


def test_trials_in_flight_leave_gaps(tmp_path):
    trials = [trial(0, 2.0), attrs.evolve(trial(3, 1.0))]
    best = lines(run(tmp_path, trials).plot.history())["best so far ± standard error"]
    assert best.get_xydata().tolist() == [[0, 2.0], [3, 1.0]]

"""Figures of trials and of single seeds, whose numbers are read back from what was drawn."""

from __future__ import annotations

import math
import sys

import attrs
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from seedwise.errors import MissingExtraError, NoCompleteTrialError, OptionError

from .made import of_losses, run, sweep, trial, validated

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


def test_trials_in_flight_leave_gaps(tmp_path):
    trials = [trial(0, 2.0), attrs.evolve(trial(3, 1.0))]
    best = lines(run(tmp_path, trials).plot.history())["best so far ± standard error"]
    assert best.get_xydata().tolist() == [[0, 2.0], [3, 1.0]]


# The race.


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


# Seeds.

LOSSES = [[2.0, 4.0, 3.0, 7.0], [1.0, 2.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [9.0, 8.0, 7.0, 6.0]]


def bands(ax):
    return [band.get_paths()[0].vertices for band in ax.collections]


def test_running_means_end_at_the_values(tmp_path):
    ax = of_losses(tmp_path, LOSSES).plot.seeds([0, 2])
    found = lines(ax)
    assert list(found) == ["trial 0", "trial 2"]
    assert found["trial 0"].get_xdata().tolist() == [1, 2, 3, 4]
    assert found["trial 0"].get_ydata() == pytest.approx([2, 3, 3, 4])
    band = bands(ax)[0]
    reach = np.std(LOSSES[0], ddof=1) / 2
    at_end = band[band[:, 0] == 4][:, 1]
    assert (at_end.min(), at_end.max()) == pytest.approx((4 - reach, 4 + reach))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("seeds", "mean loss so far ± standard error")


def test_by_default_they_are_the_best_or_the_candidates(tmp_path):
    result = of_losses(tmp_path, [*LOSSES, [10.0, 11.0]])
    assert list(lines(result.plot.seeds())) == ["trial 1", "trial 0", "trial 2", "trial 3"]
    (tmp_path / "b").mkdir()
    result = of_losses(tmp_path / "b", LOSSES, validation=validated(3, 1))
    assert list(lines(result.plot.seeds())) == ["trial 3", "trial 1"]
    (tmp_path / "c").mkdir()
    result = of_losses(tmp_path / "c", LOSSES, direction="maximize")
    assert list(lines(result.plot.seeds())) == ["trial 3", "trial 2", "trial 0", "trial 1"]


def test_a_single_number_is_enough(tmp_path):
    assert list(lines(of_losses(tmp_path, LOSSES).plot.seeds(2))) == ["trial 2"]


def test_a_trial_with_some_of_the_seeds_has_a_shorter_line(tmp_path):
    found = lines(of_losses(tmp_path, [LOSSES[0], [1.0, 2.0]]).plot.seeds([0, 1]))
    assert [len(line.get_xdata()) for line in found.values()] == [4, 2]


def test_a_single_seed_is_a_point(tmp_path):
    (line,) = of_losses(tmp_path, [[3.0]]).plot.seeds().lines
    assert line.get_xydata().tolist() == [[1, 3]]
    assert line.get_marker() == "."


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], "1 to 6 numbers"),
        ([0] * 7, "1 to 6 numbers"),
        ([9], "one of the 4 finished trials"),
    ],
)
def test_numbers_that_are_not_those_of_trials(tmp_path, trials, message):
    with pytest.raises(OptionError, match=message):
        of_losses(tmp_path, LOSSES).plot.seeds(trials)


def test_a_trial_without_losses(tmp_path):
    result = of_losses(tmp_path, LOSSES)
    with pytest.raises(OptionError, match="trials=4: must be the number of a trial that has"):
        run(tmp_path, [*result.trials, None]).plot.seeds([4])
    with pytest.raises(NoCompleteTrialError):
        run(tmp_path, [None]).plot.seeds()


# Two trials.


def test_the_comparison_is_that_of_the_result(tmp_path):
    result = of_losses(tmp_path, LOSSES)
    ax = result.plot.compare(0, 1)
    assert sum(bar.get_height() for bar in ax.patches[:-1]) == 4
    found = result.compare(0, 1)
    low, high = found.interval
    label = f"mean 2, 95 % interval {low:.3g} to {high:.3g}"
    assert lines(ax)[label].get_xdata() == [2, 2]
    assert lines(ax)["no difference"].get_xdata() == [0, 0]
    box = ax.patches[-1]
    assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx(found.interval)
    assert ax.get_xlabel() == "loss of trial 0 less that of trial 1, same seed"


def test_only_seeds_that_both_have_are_compared(tmp_path):
    ax = of_losses(tmp_path, [LOSSES[0], [1.0, 2.0]]).plot.compare(0, 1)
    assert sum(bar.get_height() for bar in ax.patches[:-1]) == 2


def test_the_same_trial_and_a_single_seed(tmp_path):
    result = of_losses(tmp_path, LOSSES)
    assert "mean 0, 95 % interval 0 to 0" in lines(result.plot.compare(1, 1))
    (tmp_path / "b").mkdir()
    ax = of_losses(tmp_path / "b", [[3.0], [1.0]]).plot.compare(0, 1)
    assert "mean 2" in lines(ax)


def test_heavy_tails_make_no_flood_of_bars(tmp_path):
    tail = np.random.default_rng(1).standard_t(0.5, size=400)
    ax = of_losses(tmp_path, [tail, np.zeros(400)]).plot.compare(0, 1)
    assert len(ax.patches) == int(math.sqrt(400)) + 1


def test_what_can_not_be_compared(tmp_path):
    with pytest.raises(OptionError, match="trial_num=9"):
        of_losses(tmp_path, LOSSES).plot.compare(0, 9)

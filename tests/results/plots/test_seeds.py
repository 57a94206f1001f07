"""Figures of single seeds, whose numbers are read back from what was drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedwise.errors import NoCompleteTrialError, OptionError

from .made import of_losses, run, validated
from .test_search import lines

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

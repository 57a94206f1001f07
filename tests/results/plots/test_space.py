"""Figures by the parameters, whose numbers are read back from what was drawn."""

from __future__ import annotations

import math

import attrs
import matplotlib.pyplot as plt
import numpy as np
import pytest

from seedwise.errors import NoFigureError, OptionError
from seedwise.model.space import search_param

from .made import SPACE, of_losses, point, run, sweep, trial, validated
from .test_search import lines

MANY = [float(n * 7 % 16) for n in range(16)]


def bowl(number: int) -> float:
    params = point(number)
    return params["x"] ** 2 + 0.1 * math.log10(params["rate"]) ** 2


# Values over the search.


@pytest.mark.parametrize("make", [run, sweep])
def test_params_has_axes_for_each_with_the_better_ones_darker_and_above(tmp_path, make):
    axes = make(tmp_path, [None, 3.0, 1.0, 2.0]).plot.params()
    assert [ax.get_ylabel() for ax in axes] == ["x", "rate", "kind"]
    assert {ax.get_xlabel() for ax in axes} == {"trial"}
    assert [ax.get_yscale() for ax in axes] == ["linear", "log", "linear"]
    (drawn,) = axes[0].collections
    worst_first = [1, 3, 2]
    assert drawn.get_offsets()[:, 0].tolist() == worst_first
    assert drawn.get_offsets()[:, 1].tolist() == [point(n)["x"] for n in worst_first]
    assert drawn.get_array().tolist() == [3.0, 2.0, 1.0]
    darkness = drawn.to_rgba(drawn.get_array()).sum(axis=1)
    assert darkness[0] > darkness[1] > darkness[2]
    (drawn,) = axes[2].collections
    assert drawn.get_offsets()[:, 1].tolist() == [0, 1, 0]
    assert [label.get_text() for label in axes[2].get_yticklabels()] == ["plain", "fancy"]


def test_to_maximise_the_highest_is_the_darkest(tmp_path):
    axes = run(tmp_path, [3.0, 1.0, 2.0], direction="maximize").plot.params()
    (drawn,) = axes[0].collections
    assert drawn.get_array().tolist() == [1.0, 2.0, 3.0]
    darkness = drawn.to_rgba(drawn.get_array()).sum(axis=1)
    assert darkness[0] > darkness[1] > darkness[2]


# Slices.


def test_slices_has_each_parameter_against_the_loss(tmp_path):
    result = run(tmp_path, [None, 3.0, 1.0, 2.0], validation=validated(3, 2))
    axes = result.plot.slices()
    assert [ax.get_xlabel() for ax in axes] == ["x", "rate", "kind"]
    assert axes[0].get_ylabel() == "loss"
    assert axes[1].get_xscale() == "log"
    found = lines(axes[1])
    points = found["trial ± standard error"]
    assert points.get_xdata().tolist() == [point(n)["rate"] for n in (1, 2, 3)]
    assert points.get_ydata().tolist() == [3.0, 1.0, 2.0]
    assert found["trial 3, validated"].get_xydata().tolist() == [[point(3)["rate"], 2.0]]
    assert found["failed"].get_xdata().tolist() == [point(0)["rate"]]
    low, high = axes[1].get_xlim()
    assert low < point(0)["rate"] < high
    (legend,) = axes[0].figure.legends
    assert "trial 3, validated" in [text.get_text() for text in legend.get_texts()]


def test_trials_of_a_category_are_beside_one_another(tmp_path):
    x = lines(run(tmp_path, MANY).plot.slices()[2])["trial ± standard error"].get_xdata()
    assert np.array_equal(x.round(), [0 if number % 3 else 1 for number in range(16)])
    assert len(set(x)) == 16


def test_one_trial_and_one_parameter(tmp_path):
    space = {"x": SPACE["x"]}
    swept = sweep(tmp_path, [1.0], space, lambda number: {"x": 0.5})
    for plot in (run(tmp_path, [1.0], space).plot, swept.plot):
        for axes in (plot.params(), plot.slices(), plot.noise()):
            assert axes.shape == (1,)
        assert plot.history() is not plot.race()
        with pytest.raises(OptionError, match=r"y='rate': must be a parameter that varies: x"):
            plot.contour("x", "rate")


@pytest.mark.parametrize("name", ["params", "slices", "noise"])
def test_they_draw_on_axes_that_they_are_given(tmp_path, name):
    figure, grid = plt.subplots(2, 2)
    draw = getattr(run(tmp_path, MANY).plot, name)
    assert draw(grid.flat[:3]).tolist() == grid.ravel()[:3].tolist()
    assert not grid[1, 1].has_data()
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(OptionError, match="an array of 3 axes, one for each of x, rate, kind"):
        draw(grid)
    with pytest.raises(OptionError, match="an array of 3 axes"):
        draw(grid[0, 0])


def test_labels_that_are_long_are_turned(tmp_path):
    words = ["a long category", "another long one"]
    space = {"kind": search_param(allowed=words)}
    result = sweep(tmp_path, [1.0, 2.0], space, lambda number: {"kind": words[number]})
    (ax,) = result.plot.slices()
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {90.0}


# Two parameters.


@pytest.mark.parametrize("make", [run, sweep])
def test_the_contour_is_smooth_and_follows_the_loss(tmp_path, make):
    ax = make(tmp_path, [bowl(number) for number in range(16)]).plot.contour("x", "rate")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "rate")
    surface, points = ax.collections
    means = surface.get_array()
    assert means.shape == (100, 100)
    assert means[99, 50] < means[99, 0]
    assert means[99, 50] < means[0, 50]
    assert len(points.get_offsets()) == 16


def test_the_surface_goes_through_the_star(tmp_path):
    """A category that is far worse is not in it, as the best trial has the other one."""
    values = [bowl(number) + 50 * (number % 3 == 0) for number in range(40)]
    result = run(tmp_path, [trial(n, value, stderr=0.01) for n, value in enumerate(values)])
    ax = result.plot.contour("rate", "x")
    surface = ax.collections[0].get_array()
    assert abs(surface.mean()) < 5
    at_best = surface[int(np.argmin(abs(np.linspace(-1, 1, 100)))), 99]
    assert at_best == pytest.approx(min(values), abs=0.3)
    assert ax.figure.axes[1].get_ylabel() == "loss; surface through the star"


def test_the_surface_of_what_is_maximised_has_its_sign(tmp_path):
    values = [-bowl(number) for number in range(16)]
    ax = run(tmp_path, values, direction="maximize").plot.contour("x", "rate")
    means = ax.collections[0].get_array()
    assert means[99, 50] > means[99, 0]
    assert means.max() < 1


def test_categories_have_a_cell_each(tmp_path):
    result = run(tmp_path, [bowl(number) for number in range(16)])
    assert result.plot.contour("x", "kind").collections[0].get_array().shape == (2, 100)
    assert result.plot.contour("kind", "x").collections[0].get_array().shape == (100, 2)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [5.0] * 16])
def test_where_there_is_nothing_to_smooth_there_is_no_surface(tmp_path, values):
    ax = run(tmp_path, values).plot.contour("x", "rate")
    (points,) = ax.collections
    assert len(points.get_offsets()) == len(values)
    assert ax.figure.axes[1].get_ylabel() == "loss"


def test_there_is_no_surface_through_a_trial_that_lacks_a_parameter(tmp_path):
    """The space was changed after it, and that was accepted."""
    trials = [trial(number, bowl(number)) for number in range(20)]
    trials[0] = attrs.evolve(trials[0], value=-9.0, params={"x": 0.5, "rate": 0.1})
    ax = run(tmp_path, trials).plot.contour("x", "rate")
    assert len(ax.collections) == 1


@pytest.mark.parametrize("stderr", [0.0, None])
def test_a_loss_without_noise_has_a_surface(tmp_path, stderr):
    trials = [
        trial(n, bowl(n), stderr=stderr, n_seeds=1 if stderr is None else 8) for n in range(20)
    ]
    assert len(run(tmp_path, trials).plot.contour("x", "rate").collections) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("x", "x"), "y='x': must be another parameter than x"),
        (("z", "x"), "x='z': must be a parameter that varies: x, rate, kind"),
    ],
)
def test_a_contour_is_of_two_parameters(tmp_path, names, message):
    with pytest.raises(OptionError, match=message):
        run(tmp_path, MANY).plot.contour(*names)
    assert plt.get_fignums() == []


# Importances.


@pytest.mark.parametrize("make", [run, sweep])
def test_the_importance_is_that_of_what_matters(tmp_path, make):
    values = [100 * point(number)["x"] ** 2 for number in range(64)]
    ax = make(tmp_path, [None, *values[1:]]).plot.importance()
    names = [label.get_text() for label in ax.get_yticklabels()]
    widths = [bar.get_width() for bar in ax.patches]
    assert names[-1] == "x"
    assert widths == sorted(widths)
    assert sum(widths) == pytest.approx(1)
    again = run(tmp_path, [None, *values[1:]]).plot.importance()
    assert [bar.get_width() for bar in again.patches] == widths


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0] * 20])
def test_the_importance_of_too_little_is_not_drawn(tmp_path, values):
    with pytest.raises(NoFigureError, match="10 complete trials, of different values"):
        run(tmp_path, values).plot.importance()


# Noise.


def test_the_noise_is_the_spread_of_losses_and_the_error_of_their_mean(tmp_path):
    losses = [[1.0, 3.0], [2.0, 2.5], [0.0, 8.0]]
    axes = of_losses(tmp_path, losses).plot.noise()
    assert [ax.get_xlabel() for ax in axes] == ["x", "rate", "kind"]
    found = lines(axes[0])
    spread = [np.std(row, ddof=1) for row in losses]
    assert found["standard deviation over seeds"].get_ydata() == pytest.approx(spread)
    assert found["standard error"].get_ydata() == pytest.approx(np.array(spread) / math.sqrt(2))
    assert axes[0].get_yscale() == "log"


def test_the_spread_of_a_dropped_trial_is_unknown(tmp_path):
    found = lines(run(tmp_path, [trial(0, 1.0), trial(1, 2.0, raw_value=3.0)]).plot.noise()[0])
    assert np.isnan(found["standard deviation over seeds"].get_ydata()).tolist() == [False, True]
    assert found["standard error"].get_ydata().tolist() == [0.5, 0.5]


def test_a_loss_without_noise_has_none_to_show_on_a_log_scale(tmp_path):
    axes = run(tmp_path, [trial(0, 1.0, stderr=0.0)]).plot.noise()
    assert axes[0].get_yscale() == "linear"


def test_with_a_single_seed_the_noise_is_unknown(tmp_path):
    with pytest.raises(NoFigureError, match="no trial has a standard error"):
        run(tmp_path, [trial(0, 1.0, stderr=None, n_seeds=1)]).plot.noise()

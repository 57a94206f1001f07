"""What figures are drawn from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedwise.errors import NoCompleteTrialError
from seedwise.model.space import search_param
from seedwise.results.plots.draw import Scale, Trials

from .made import run, sweep, validated


@pytest.mark.parametrize(
    ("direction", "rows"),
    [("minimize", [-1, 1, 1, 1, 4, 4]), ("maximize", [-1, 1, 2, 2, 2, 2])],
)
def test_the_best_so_far_is_the_first_of_the_best_up_to_each(tmp_path, direction, rows):
    trials = Trials(run(tmp_path, [None, 3.0, 4.0, None, 1.0, 1.0], direction=direction))
    assert trials.best_so_far().tolist() == rows


@pytest.mark.parametrize("make", [run, sweep])
def test_without_a_complete_trial_there_is_nothing_to_draw(tmp_path, make):
    for values, n_failed in (([], 0), ([None, None], 2)):
        path = tmp_path / str(n_failed)
        path.mkdir()
        with pytest.raises(NoCompleteTrialError) as caught:
            make(path, values).plot.history()
        assert caught.value.n_failed == n_failed


def test_the_winner_is_that_of_the_validation(tmp_path):
    values = [3.0, 1.0, None, 2.0]
    assert Trials(run(tmp_path, values)).winner == 1
    assert Trials(run(tmp_path, values, validation=validated(3, 1))).winner == 3


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        (range(11), math.inf),
        ([*range(20), 1e6], 18 * 1.5),  # the 0.9 quantile of 21 is that of row 18
        ([*range(20), 1e300], 18 * 1.5),
        ([1.0] * 20, math.inf),
        ([5.0], math.inf),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_values_are_shown_up_to_a_few_that_are_far_worse(tmp_path, values, limit, sign):
    direction = "minimize" if sign > 0 else "maximize"
    trials = Trials(run(tmp_path, [sign * float(v) for v in values], direction=direction))
    assert trials.limit() == limit


@pytest.mark.parametrize(
    ("values", "ends"),
    [(range(11), (0, 10)), ([0, 1, 1, 100], (0, 5)), ([1, 1, 1, 3], (1, 3)), ([2], (2, 2))],
)
def test_colours_are_for_the_values_near_the_best(tmp_path, values, ends):
    assert Trials(run(tmp_path, map(float, values))).colour_range() == ends


def test_parameters_that_do_not_vary_are_left_out_unless_all_are_so(tmp_path):
    path = tmp_path / "a"
    path.mkdir()

    def params(number):
        return {"x": 0.5, "rate": 0.1, "kind": ["plain", "fancy"][number % 2]}

    assert list(Trials(sweep(path, [1.0, 2.0], params=params)).scales()) == ["kind"]
    assert list(Trials(run(tmp_path, [1.0])).scales()) == ["x", "rate", "kind"]


def scale(values, **param):
    return Scale("p", search_param(**param), values)


def test_categories_are_at_their_places_and_trials_of_one_beside_one_another():
    one = scale(["b", "a", None, "b"], allowed=["a", "b"])
    assert np.array_equal(one.positions, [1, 0, math.nan, 1], equal_nan=True)
    assert np.allclose(one.spread - one.positions, [-0.3, -0.1, math.nan, 0.3], equal_nan=True)
    assert one.cells()[1] == ["a", "b"]
    numbers = scale([2.0, 1.0], range=(1, 3))
    assert numbers.spread.tolist() == [2.0, 1.0]


def test_values_of_a_sweep_may_lie_outside_of_the_space():
    assert scale([0.5, 7.0], range=(1, 3)).param.range == (0.5, 7.0)
    assert scale(["c", "a"], allowed=["a", "b"]).param.allowed == ("a", "b", "c")
    assert scale([1.0, 5.0], range=(1, 3), log=True).param.log
    assert not scale([0.0, 5.0], range=(1, 3), log=True).param.log


@pytest.mark.parametrize(
    ("param", "ends", "n_cells", "kind"),
    [
        ({"range": (1.0, 100.0), "log": True}, (1, 100), 100, float),
        ({"range": (1, 9), "dtype": "int"}, (1, 9), 9, int),
        ({"dtype": "bool"}, (0, 1), 2, bool),
    ],
)
def test_cells_go_along_the_axis(param, ends, n_cells, kind):
    places, values = scale([], **param).cells()
    assert (places[0], places[-1], len(places)) == (*map(pytest.approx, ends), n_cells)
    assert {type(value) for value in values} == {kind}


def test_trials_have_parts_of_the_seeds_if_the_race_says_so(tmp_path):
    for race, n_plan in (("auto", 64), (False, 0), (True, 0)):
        result = run(tmp_path, [1.0], race=race, seeds=np.arange(64))
        assert Trials(result).n_plan() == n_plan

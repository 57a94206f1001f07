"""The trials as columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedwise.model.space import checked_space, search_param
from seedwise.view.page.feed import Axis, TrialColumns
from tests.builders import trial

SPACE = checked_space(
    {"x": search_param(range=(1e-3, 1.0), log=True), "kind": search_param(allowed=["a", "b"])}
)


def columns(direction="minimize"):
    return TrialColumns(SPACE, direction, n_plan=10)


def told(number, value, x=0.1, kind="a", **more):
    return trial(number, value, {"x": x, "kind": kind}, **more)


@pytest.mark.parametrize(
    ("direction", "best"), [("minimize", [3, 3, 1, 1]), ("maximize", [3, 3, 3, 5])]
)
def test_the_best_so_far_with_its_band(direction, best):
    made = columns(direction)
    made.add([told(0, 3.0), told(1, None), told(2, 1.0)])
    made.add([told(3, 5.0)])
    table = made.table
    assert table["best"].tolist() == best
    assert table["best_low"].tolist() == [value - 0.5 for value in best]
    assert table["best_high"].tolist() == [value + 0.5 for value in best]
    assert table["order"].tolist() == [1, 2, 3, 4]
    assert made.best.value == best[-1]


def test_how_trials_ended_and_what_is_said_of_them():
    made = columns()
    made.add(
        [told(7, 3.0), told(8, 2.0, raw_value=4.0), told(9, None), told(10, 1.0, stderr=None)]
    )
    table = made.table
    assert table["kind"].tolist() == ["complete", "dropped by the race", "failed", "complete"]
    assert table["stderr"].tolist() == [" ± 0.5", " ± 0.5", "", ""]
    assert table["error"].tolist() == ["", "", "it broke", ""]
    assert table["params"][0] == "x=0.1, kind='a'"
    assert table["low"][3] == table["high"][3] == 1.0
    assert math.isnan(table["value"][2])


def test_seeds_beside_those_of_full_trials():
    made = columns()
    made.add([told(0, 3.0), told(1, None), told(2, 1.0, n_seeds=10)])
    assert made.table["seeds"].tolist() == [4, 4, 14]
    assert made.table["full_seeds"].tolist() == [10, 10, 20]


def test_rows_are_whole_and_only_added():
    made = columns()
    made.add([told(0, 1.0)])
    before = made.table
    made.add([told(1, 2.0), told(2, 3.0)])
    assert made.rows(1, 2)["number"].tolist() == [1]
    assert before["number"].tolist() == [0]
    assert len(made.table) == 3


PLACES = {
    "log": (
        search_param(range=(1e-3, 1.0), log=True),
        {0.01: (-2.0, "0.01"), -1.0: (math.nan, "")},
    ),
    "int": (search_param(range=(1, 9), dtype="int"), {3: (3.0, "3")}),
    "bool": (search_param(dtype="bool"), {True: (1.0, "True"), False: (0.0, "False")}),
    "text": (search_param(allowed=["a", "b"]), {"b": (1.0, "b"), "new": (2.0, "new")}),
    "missing": (search_param(range=(0, 1)), {None: (math.nan, "")}),
}


@pytest.mark.parametrize(("param", "places"), PLACES.values(), ids=PLACES)
def test_places_of_values_on_an_axis(param, places):
    axis = Axis("it", param)
    for value, (place, words) in places.items():
        np.testing.assert_equal(axis.place(value), place)
        assert axis.words(place) == words
    known = [place for place, _ in places.values() if math.isfinite(place)]
    assert (axis.low, axis.high) == (min(known, default=math.inf), max(known, default=-math.inf))

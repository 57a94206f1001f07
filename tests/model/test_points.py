"""Points that a run is given beforehand: the cases of a sweep, and those to try first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seedwise as sw
from seedwise.errors import OptionError
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.points import Cases, first_points
from seedwise.model.sources import grid, manual, random
from seedwise.model.sources.distributions import uniform
from seedwise.model.space import checked_space, search_param
from seedwise.model.values import with_overrides

SPACE = checked_space(
    {
        "x": (-2.0, 2.0),
        "n": search_param(range=(1, 9), dtype="int"),
        "kind": search_param(allowed=["plain", "fancy"]),
    }
)
POINT = {"x": 0.5, "n": 3, "kind": "plain"}
GRID = grid(x=[0.0, 0.5], n=[1, 2, 3], kind=["plain"])


def sweep(**keywords) -> SweepOptions:
    return SweepOptions.from_keywords(keywords)


def run(**keywords) -> RunOptions:
    return RunOptions.from_keywords(keywords)


def entries(**keywords) -> EntriesOptions:
    return EntriesOptions.from_keywords({"entry_ids": ["anna"], **keywords})


# Cases of a sweep.


def test_the_trials_of_a_sweep_are_its_cases():
    cases = Cases(GRID, sweep(), SPACE)
    assert cases.n_trials == 6
    assert [cases.params(number) for number in range(6)] == [case.params for case in GRID]


def test_trial_zero_comes_before_the_cases():
    cases = Cases(GRID, sweep(trial_zero=POINT), SPACE)
    assert cases.n_trials == 7
    assert cases.params(0) == POINT
    assert [cases.params(number) for number in range(1, 7)] == [case.params for case in GRID]


@pytest.mark.parametrize("zero", [None, POINT, {"x": 0.5, "n": 3}])
def test_what_is_held_is_in_every_trial(zero):
    source = grid(x=[0.0, 0.5], n=[1, 2])
    cases = Cases(source, sweep(overrides={"kind": "odd"}, trial_zero=zero), SPACE)
    points = [cases.params(number) for number in range(cases.n_trials)]
    assert {point["kind"] for point in points} == {"odd"}
    assert {frozenset(point) for point in points} == {frozenset(SPACE)}


def test_what_is_held_goes_before_what_the_source_says():
    assert Cases(GRID, sweep(overrides={"x": 9.0}), SPACE).params(0)["x"] == 9.0


def test_the_points_are_the_callers():
    zero, held = dict(POINT), {"n": 7}
    cases = Cases(GRID, sweep(trial_zero=zero, overrides=held), SPACE)
    for number in (0, 1):
        before = cases.params(number)
        cases.params(number).clear()
        zero["x"], held["n"] = 99.0, 99
        assert cases.params(number) == before


@given(number=st.integers(0, 10**15))
def test_of_millions_of_cases_each_is_had_by_its_number(number):
    source = random({"x": uniform(0, 1)}, n_trials=10**15, seed=3)
    space = {"x": SPACE["x"]}
    assert Cases(source, sweep(), space).n_trials == 10**15
    cases = Cases(source, sweep(trial_zero={"x": 0.5}), space)
    expected = {"x": 0.5} if number == 0 else source[number - 1].params
    assert cases.params(number) == expected


# Points to try first.


def points(count: int, **keywords: Any) -> list[dict[str, Any] | None]:
    point = first_points(run(**keywords), SPACE)
    return [point(number) for number in range(count)]


def test_by_default_the_sampler_is_asked_at_once():
    assert points(3) == [None, None, None]


def test_points_to_try_come_in_their_order_after_trial_zero():
    enqueue = manual([{"x": 1.0}, {"x": 2.0}])
    assert points(4, enqueue=enqueue) == [{"x": 1.0}, {"x": 2.0}, None, None]
    assert points(2, trial_zero=POINT) == [POINT, None]
    both = points(4, enqueue=enqueue, trial_zero={"n": 4.0})
    assert both == [{"n": 4}, {"x": 1.0}, {"x": 2.0}, None]
    assert type(both[0]["n"]) is int


def test_what_is_held_is_no_point_to_try():
    held = with_overrides(SPACE, {"x": 9.0})
    point = first_points(run(enqueue=manual([POINT]), trial_zero=POINT), held)
    assert point(0) == point(1) == {"n": 3, "kind": "plain"}


def test_a_bad_point_is_named_by_its_place():
    enqueue = manual([{"x": 0.0}, {"x": 3.0}])
    point = first_points(run(enqueue=enqueue, trial_zero=POINT, n_trials=2), SPACE)
    with pytest.raises(OptionError) as caught:
        point(2)
    assert caught.value.name == "enqueue[1]['x']"


# Checks, before anything starts.


def check_points(options, source) -> None:
    if source is None:
        first_points(options, with_overrides(SPACE, options.overrides))
    else:
        Cases(source, options, SPACE)


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (run(), None),
        (run(trial_zero=POINT, enqueue=GRID, overrides={"x": 9.0}), None),
        (run(overrides={"x": 9.0, "n": 20}), None),
        (entries(trial_zero={"x": 0.5}, enqueue=manual([{"n": 2}])), None),
        (sweep(), GRID),
        (sweep(trial_zero=POINT, trial_nums=[0, 6]), GRID),
        (sweep(trial_nums=[0, 5]), GRID),
        (sweep(overrides={"kind": "odd"}, trial_zero=POINT), grid(x=[0.0], n=[1])),
        (sweep(overrides={"kind": "odd"}), GRID),
        (sweep(overrides=POINT), GRID),
        (sweep(), grid(x=[77.0], n=[-1], kind=["odd"])),  # outside of the space
    ],
)
def test_what_the_loss_takes_is_let_through(options, source):
    check_points(options, source)


@pytest.mark.parametrize(
    ("options", "source", "name", "allowed"),
    [
        (run(overrides={"y": 3}), None, "overrides", "names of the loss's parameters: x, n, kind"),
        (run(overrides={"n": 2.5}), None, "overrides['n']", "of type int"),
        (run(overrides=POINT), None, "overrides", "one at least is left to search"),
        (entries(overrides=POINT), None, "overrides", "one at least is left to search"),
        (run(trial_zero={"y": 3}), None, "trial_zero", "names of the loss's parameters"),
        (run(trial_zero={"x": 2.5}), None, "trial_zero['x']", "within the range from -2.0 to 2.0"),
        (entries(trial_zero={"x": "a"}), None, "trial_zero['x']", "of type float"),
        (run(enqueue=grid(y=[3])), None, "enqueue[0]", "names of the loss's parameters"),
        (
            run(enqueue=manual([{"x": 0.0}, {"x": "a"}])),
            None,
            "enqueue[1]['x']",
            "of type float",
        ),
        (run(enqueue=grid(kind=["plain", "odd"])), None, "enqueue[1]['kind']", "one of ['plain'"),
        (sweep(), grid(x=[0.0], n=[1]), "source", "missing: ['kind']"),
        (sweep(overrides={"y": 1}), GRID, "overrides", "names of the loss's parameters"),
        (sweep(overrides={"n": "a"}), GRID, "overrides['n']", "of type int"),
        (sweep(trial_zero={"x": 0.5}), GRID, "trial_zero", "missing: ['kind', 'n']"),
        (sweep(trial_zero={**POINT, "y": 1}), GRID, "trial_zero", "names of the loss's"),
        (sweep(trial_nums=[6]), GRID, "trial_nums", "which are 0 to 5"),
        (sweep(trial_nums=[-1, 0, 7]), GRID, "trial_nums", "which are 0 to 5"),
        (sweep(trial_nums=[7], trial_zero=POINT), GRID, "trial_nums", "which are 0 to 6"),
        (sweep(), grid(x=[0.0], n=[1], kind=["plain"], y=[1]), "source", "names of the loss's"),
    ],
)
def test_what_the_loss_does_not_take_is_refused(options, source, name, allowed):
    with pytest.raises(OptionError) as caught:
        check_points(options, source)
    assert caught.value.name == name
    assert allowed in caught.value.allowed


def test_numbers_of_trials_that_are_not_there_are_named():
    with pytest.raises(OptionError) as caught:
        check_points(sweep(trial_nums=[-1, 0, 7]), GRID)
    assert caught.value.value == [-1, 7]


def test_only_the_points_that_are_tried_are_looked_at():
    tried = []

    class Watched(sw.ManualSource):
        def _params(self, position):
            tried.append(position)
            return super()._params(position)

    enqueue = Watched([{"x": 0.0}, {"x": 1.0}, {"x": 99.0}])
    check_points(run(enqueue=enqueue, n_trials=2), None)
    assert tried == [0, 1]
    with pytest.raises(OptionError, match=r"enqueue\[2\]\['x'\]=99"):
        check_points(run(enqueue=enqueue, n_trials=3), None)


def test_billions_of_points_to_try_are_not_gone_through():
    enqueue = random({"x": uniform(-2, 2)}, n_trials=10**15, seed=3)
    check_points(run(enqueue=enqueue, n_trials=5), None)

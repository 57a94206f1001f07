"""Points that a run is given beforehand: the cases of a sweep, and those to try first."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, check_distribution_compatibility

import seedwise as sw
from seedwise.errors import OptionError
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.points import (
    Cases,
    checked_point,
    first_points,
    refined_space,
    require_names,
    with_overrides,
)
from seedwise.model.sources import grid, manual, random
from seedwise.model.sources.distributions import uniform
from seedwise.model.space import ParameterSpace, SearchParam, checked_space, search_param
from seedwise.study.samplers import distributions

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


# Spaces made of others: what is held has one value, what is refined is smaller and in the old.

FACTORS = st.floats(1e-9, 1 - 1e-9)
EVERY_KIND = checked_space(
    {
        "x": (-2.0, 2.0),
        "rate": search_param(range=(1e-3, 1.0), dtype="log"),
        "n": search_param(range=(1, 9), dtype="int"),
        "kind": search_param(allowed=["plain", "fancy"]),
        "flip": search_param(dtype="bool"),
    }
)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    return distribution._contains(distribution.to_internal_repr(value))


@st.composite
def ranges(draw: st.DrawFn) -> tuple[SearchParam, float]:
    """Draw a parameter that is continuous, and a value of it."""
    log = draw(st.booleans())
    bounds = st.floats(1e-300, 1e300) if log else st.floats(-1e300, 1e300)
    low, best, high = sorted(draw(st.tuples(bounds, bounds, bounds)))
    return search_param(range=(low, high), log=log), best


@st.composite
def stepped(draw: st.DrawFn) -> tuple[SearchParam, float]:
    """Draw a parameter that has steps, and a value of it as Optuna would give it."""
    n_steps = draw(st.integers(1, 10**6))
    index = draw(st.integers(0, n_steps))
    if draw(st.booleans()):
        low, step = draw(st.integers(-(2**53), 2**53)), draw(st.integers(1, 10**6))
        high = low + n_steps * step + draw(st.integers(0, step - 1))
        assume(high <= 2**53)
        return search_param(range=(low, high), dtype="int", step=step), low + index * step
    # As people write them: of a few digits.
    low = draw(st.integers(-(10**6), 10**6)) / 10**3
    step = draw(st.integers(1, 10**6)) / 10 ** draw(st.integers(0, 5))
    over = draw(st.sampled_from([0.0, 0.25, 0.75]))
    high = low + (n_steps + over) * step
    assume(high - low >= step)
    param = search_param(range=(low, high), step=step)
    return param, min(low + index * step, high)


@st.composite
def whole(draw: st.DrawFn) -> tuple[SearchParam, int]:
    """Draw a parameter of whole numbers, and a value of it."""
    log = draw(st.booleans())
    bounds = st.integers(1 if log else -(2**53), 2**53)
    low, best, high = sorted(draw(st.tuples(bounds, bounds, bounds)))
    return search_param(range=(low, high), dtype="int", log=log), best


PARAMS = st.one_of(ranges(), stepped(), whole())


# Refined spaces.


@given(drawn=PARAMS, factor=FACTORS)
def test_a_refined_range_lies_in_the_old_one_and_holds_the_best_point(drawn, factor):
    param, best = drawn
    refined = refined_space({"x": param}, {"x": best}, factor)["x"]
    (low, high), (new_low, new_high) = param.range, refined.range
    assert low <= new_low <= best <= new_high <= high
    assert (refined.dtype, refined.log, refined.allowed) == (param.dtype, param.log, None)
    kind = int if param.dtype == "int" else float
    assert {type(new_low), type(new_high)} == {kind}


@given(drawn=PARAMS, factors=st.lists(FACTORS, min_size=1, max_size=4))
def test_refined_again_and_again_it_stays_a_space_that_optuna_can_search(drawn, factors):
    param, best = drawn
    space, old = {"x": param}, distributions({"x": param})["x"]
    for factor in factors:
        space = refined_space(space, {"x": best}, factor)
        distribution = distributions(space)["x"]
        if param.dtype == "float" and space["x"].step is not None:
            # Optuna counts steps as they are written: 3 * 0.1 is 0.3, though not in binary.
            n_steps = round((best - distribution.low) / distribution.step)
            nearest = distribution.low + n_steps * distribution.step
            assert contains(distribution, min(nearest, distribution.high))
            assert nearest == pytest.approx(best, rel=1e-12, abs=1e-9 * distribution.step)
        else:
            assert contains(distribution, best)
        check_distribution_compatibility(old, distribution)
        # As the run's folder holds it.
        assert search_param_of(json.loads(json.dumps(attrs.asdict(space["x"])))) == space["x"]


def search_param_of(fields: dict[str, Any]) -> SearchParam:
    return SearchParam(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    )


@given(drawn=ranges(), factor=FACTORS)
def test_a_refined_range_has_this_much_of_the_width_on_its_own_scale(drawn, factor):
    param, best = drawn
    to = math.log if param.log else float
    low, high = map(to, param.range)
    half = (high - low) * factor / 2
    expected = max(low, to(best) - half), min(high, to(best) + half)
    refined = refined_space({"x": param}, {"x": best}, factor)["x"]
    near = 1e-9 * max(abs(low), abs(high), 1e-300)
    assert tuple(map(to, refined.range)) == pytest.approx(expected, rel=1e-9, abs=near)
    assert refined.step is None


@pytest.mark.parametrize(
    ("param", "best", "factor", "range_"),
    [
        (search_param(range=(0, 10)), 4.0, 0.5, (1.5, 6.5)),
        (search_param(range=(0, 10)), 0.0, 0.5, (0.0, 2.5)),
        (search_param(range=(0, 10)), 10.0, 0.2, (9.0, 10.0)),
        (search_param(range=(1e-4, 1.0), log=True), 1e-2, 0.5, (1e-3, 1e-1)),
        (search_param(range=(1e-4, 1.0), log=True), 1.0, 0.5, (1e-1, 1.0)),
        (search_param(range=(0, 100), dtype="int"), 50, 0.1, (45, 55)),
        (search_param(range=(0, 100), dtype="int"), 50, 0.01, (50, 50)),
        (search_param(range=(1, 10_000), dtype="int", log=True), 100, 0.5, (10, 1000)),
        (search_param(range=(0, 100), dtype="int", step=10), 50, 0.5, (30, 70)),
        (search_param(range=(0, 100), dtype="int", step=10), 50, 0.1, (50, 50)),
        (search_param(range=(3, 17), dtype="int", step=4), 15, 0.99, (11, 15)),
        (search_param(range=(0.0, 1.0), step=0.25), 0.5, 0.5, (0.25, 0.75)),
        (search_param(range=(0.0, 0.3), step=0.1), 0.3, 0.7, (0.2, 0.3)),
        (search_param(range=(5, 5)), 5.0, 0.5, (5.0, 5.0)),
    ],
)
def test_refined_ranges(param, best, factor, range_):
    refined = refined_space({"x": param}, {"x": best}, factor)["x"]
    assert refined.range == pytest.approx(range_, rel=1e-12)


@given(drawn=stepped(), factor=FACTORS)
def test_of_a_range_of_steps_the_same_steps_are_left_that_lie_near_enough(drawn, factor):
    param, best = drawn
    refined = refined_space({"x": param}, {"x": best}, factor)["x"]
    (low, high), step = param.range, param.step
    half = (high - low) * factor / 2
    first, last = ((bound - low) / step for bound in refined.range)
    assert first == pytest.approx(round(first), abs=1e-6)
    assert last == pytest.approx(round(last), abs=1e-6)
    # All that is left is near enough, and what comes next is not.
    slack = 1e-6 * step
    assert refined.range[0] >= best - half - slack
    assert refined.range[1] <= best + half + slack
    assert refined.range[0] - step < max(low, best - half) + slack
    assert refined.range[1] + step > min(high, best + half) - slack
    if refined.range[0] < refined.range[1]:
        assert refined.step == step
    else:
        assert refined.step is None


def test_lists_of_values_are_as_they_were():
    best = {"x": 0.0, "rate": 0.1, "n": 4, "kind": "fancy", "flip": True}
    refined = refined_space(EVERY_KIND, best, 0.5)
    assert list(refined) == list(EVERY_KIND)
    assert refined["kind"] is EVERY_KIND["kind"]
    assert refined["flip"] is EVERY_KIND["flip"]
    assert all(refined[name] != EVERY_KIND[name] for name in ("x", "rate", "n"))


def test_what_is_held_at_a_value_stays_there():
    held = with_overrides(EVERY_KIND, {"x": 7.0, "n": 20})
    best = {"x": 7.0, "rate": 0.1, "n": 20, "kind": "fancy", "flip": True}
    refined = refined_space(held, best, 0.5)
    assert (refined["x"], refined["n"]) == (held["x"], held["n"])


# Held values.


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("x", 0.5, 0.5),
        ("x", 7, 7.0),
        ("x", np.float64(0.5), 0.5),
        ("rate", -1.0, -1.0),
        ("n", 20, 20),
        ("n", 4.0, 4),
        ("n", np.int64(4), 4),
        ("kind", "plain", "plain"),
        ("kind", "odd", "odd"),
        ("flip", True, True),
        ("flip", np.bool_(False), False),
    ],
)
def test_what_is_held_has_one_value_of_its_type_which_may_lie_outside(name, value, held):
    space = with_overrides(EVERY_KIND, {name: value})
    assert {other: space[other] for other in EVERY_KIND if other != name} == {
        other: EVERY_KIND[other] for other in EVERY_KIND if other != name
    }
    distribution = distributions(space)[name]
    assert distribution.single()
    read = distribution.to_external_repr(distribution.to_internal_repr(held))
    assert (read, type(read)) == (held, type(held))
    assert contains(distribution, held)
    assert space[name].dtype == EVERY_KIND[name].dtype


@pytest.mark.parametrize("overrides", [None, {}])
def test_without_overrides_a_space_is_as_it_was(overrides):
    assert with_overrides(EVERY_KIND, overrides) == EVERY_KIND


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "0.5"),
        ("x", math.nan),
        ("x", -math.inf),
        ("x", True),
        ("x", None),
        ("n", 2.5),
        ("n", "3"),
        ("n", False),
        ("n", math.inf),
        ("kind", 3),
        ("flip", 1),
        ("flip", "yes"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value):
    dtype = EVERY_KIND[name].dtype
    for keyword, call in (
        (f"overrides[{name!r}]", lambda: with_overrides(EVERY_KIND, {name: value})),
        (f"zero[{name!r}]", lambda: checked_point("zero", {name: value}, EVERY_KIND)),
    ):
        with pytest.raises(OptionError, match=f"of type {dtype}, as the loss's") as caught:
            call()
        assert caught.value.name == keyword
        assert caught.value.value is value


def test_a_name_that_is_not_the_losss_is_refused_with_those_that_are():
    names = "names of the loss's parameters: x, rate, n, kind, flip"
    for keyword, call in (
        ("overrides", lambda point: with_overrides(EVERY_KIND, point)),
        ("zero", lambda point: checked_point("zero", point, EVERY_KIND)),
        ("source", lambda point: require_names(point, EVERY_KIND, None)),
    ):
        with pytest.raises(OptionError, match=names) as caught:
            call({"y": 3, "x": 0.5, "a": 1})
        assert (caught.value.name, caught.value.value) == (keyword, ["a", "y"])


# Points.


def typed(point: dict[str, Any]) -> list[tuple[str, Any, type]]:
    return [(name, value, type(value)) for name, value in point.items()]


def test_a_point_has_the_types_of_its_parameters():
    point = {"n": 3.0, "x": np.float32(0.5), "flip": np.bool_(True), "kind": np.str_("plain")}
    assert typed(checked_point("zero", point, EVERY_KIND)) == typed(
        {"n": 3, "x": 0.5, "flip": True, "kind": "plain"}
    )
    assert checked_point("zero", {}, EVERY_KIND) == {}


@given(drawn=PARAMS)
def test_a_point_of_the_space_is_taken_as_it_is(drawn):
    param, value = drawn
    assume(param.range[0] < param.range[1])
    assert typed(checked_point("zero", {"x": value}, {"x": param})) == typed({"x": value})
    # The upper bound need not be a whole number of steps away.
    for bound in param.range if param.step is None else param.range[:1]:
        assert checked_point("zero", {"x": bound}, {"x": param}) == {"x": bound}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("x", 2.1, "within the range from -2.0 to 2.0"),
        ("x", -3, "within the range from -2.0 to 2.0"),
        ("rate", 1e-4, "within the range from 0.001 to 1.0"),
        ("n", 0, "within the range from 1 to 9"),
        ("kind", "odd", "one of ['plain', 'fancy']"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(name, value, allowed):
    with pytest.raises(OptionError) as caught:
        checked_point("enqueue[3]", {"flip": True, name: value}, EVERY_KIND)
    assert caught.value.name == f"enqueue[3][{name!r}]"
    assert (caught.value.value, caught.value.allowed) == (value, allowed)


def test_of_what_is_held_a_point_says_nothing():
    held = with_overrides(EVERY_KIND, {"x": 7.0, "kind": "odd"})
    point = {"x": 0.5, "kind": "plain", "n": 3}
    assert checked_point("zero", point, held) == {"n": 3}
    single: ParameterSpace = checked_space({"x": (3, 3)})
    assert checked_point("zero", {"x": 9}, single) == {}


# Names.


@pytest.mark.parametrize("overrides", [None, {}, {"x": 3.0}, {"x": 3.0, "n": 4}])
def test_a_source_names_all_that_is_not_held(overrides):
    require_names(EVERY_KIND, EVERY_KIND, overrides)
    left = [name for name in EVERY_KIND if name not in (overrides or {})]
    require_names(left, EVERY_KIND, overrides)
    with pytest.raises(OptionError, match=r"missing: \['rate'\]\.") as caught:
        require_names([name for name in left if name != "rate"], EVERY_KIND, overrides)
    assert caught.value.name == "source"
    assert "hold them at a value with overrides" in str(caught.value)


def test_the_keyword_is_the_one_that_names_them():
    with pytest.raises(
        OptionError, match=r"^trial_zero=\['x'\]: must be .*missing: \['flip', 'kind'"
    ):
        require_names(["x"], EVERY_KIND, None, "trial_zero")


@pytest.mark.parametrize(("value", "fine"), [(0.25, True), (0.3, False), (1.0, True)])
def test_a_point_between_two_steps_is_refused(value, fine):
    space = checked_space({"x": search_param(range=(0.0, 1.0), step=0.25)})
    if fine:
        assert checked_point("zero", {"x": value}, space) == {"x": value}
        return
    with pytest.raises(OptionError, match=r"whole number of steps of 0.25 from 0.0"):
        checked_point("zero", {"x": value}, space)

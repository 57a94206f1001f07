from __future__ import annotations

import json
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seedwise.errors import SpaceError
from seedwise.model.space import (
    SearchParam,
    checked_space,
    search_param,
    space_from_json,
    space_to_json,
)

finite = st.floats(-1e300, 1e300)
text = st.text("ab Z9.-'\"\\\n\0é中")


@st.composite
def params(draw: st.DrawFn) -> SearchParam:
    kind = draw(st.sampled_from(["float", "log", "int", "step", "choice"]))
    if kind == "choice":
        values = st.one_of(
            *(st.lists(v, min_size=1, unique=True) for v in (text, finite, st.booleans()))
        )
        return search_param(allowed=draw(values))
    if kind == "int":
        low, high = sorted(draw(st.tuples(*[st.integers(-(2**53), 2**53)] * 2)))
        return search_param(range=(low, high), dtype="int")
    low, high = sorted(draw(st.tuples(finite, finite)))
    if kind == "float":
        return search_param(range=(low, high))
    if kind == "log":
        assume(low > 0)
        return search_param(range=(low, high), log=True)
    assume(math.isfinite(high - low) and high > low)
    return search_param(range=(low, high), step=high - low)


@given(params())
def test_a_param_survives_pickling(param):
    again = pickle.loads(pickle.dumps(param))
    assert again == param
    assert hash(again) == hash(param)


@given(st.dictionaries(text.filter(bool), params()))
def test_a_checked_space_is_the_same_when_checked_again(space):
    checked = checked_space(space)
    assert list(checked.items()) == list(space.items())
    assert checked_space(checked) == checked


@given(finite, finite)
def test_a_tuple_is_a_float_range(one, other):
    low, high = sorted((one, other))
    assert checked_space({"x": (low, high)})["x"] == search_param(range=[low, high], dtype="float")


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"range": (0, 1)}, SearchParam("float", (0.0, 1.0))),
        ({"range": (2, 2)}, SearchParam("float", (2.0, 2.0))),
        ({"range": [0, 1], "dtype": "float"}, SearchParam("float", (0.0, 1.0))),
        ({"range": (1e-4, 1), "dtype": "log"}, SearchParam("float", (1e-4, 1.0), log=True)),
        ({"range": (1e-4, 1), "log": True}, SearchParam("float", (1e-4, 1.0), log=True)),
        ({"range": (1e-4, 1), "log": np.True_}, SearchParam("float", (1e-4, 1.0), log=True)),
        ({"range": (0, 1), "step": 0.3}, SearchParam("float", (0.0, 1.0), step=0.3)),
        ({"range": (0, 4), "step": 2}, SearchParam("float", (0.0, 4.0), step=2.0)),
        ({"range": (1.0, 9.0), "dtype": "int"}, SearchParam("int", (1, 9))),
        ({"range": (1, 9), "dtype": "int", "step": 2.0}, SearchParam("int", (1, 9), step=2)),
        ({"range": (1, 9), "dtype": "int", "log": True}, SearchParam("int", (1, 9), log=True)),
        ({"range": (np.float32(0), np.int64(3))}, SearchParam("float", (0.0, 3.0))),
        ({"allowed": ["a", "b"]}, SearchParam("str", allowed=("a", "b"))),
        ({"allowed": [3, 1]}, SearchParam("int", allowed=(3, 1))),
        ({"allowed": [1, 2.5]}, SearchParam("float", allowed=(1.0, 2.5))),
        ({"allowed": [1, 2], "dtype": "float"}, SearchParam("float", allowed=(1.0, 2.0))),
        ({"allowed": [True]}, SearchParam("bool", allowed=(True,))),
        ({"dtype": "bool"}, SearchParam("bool", allowed=(False, True))),
        ({"range": (1, 9), "dtype": int}, SearchParam("int", (1, 9))),
        ({"range": (1, 9), "dtype": float}, SearchParam("float", (1.0, 9.0))),
        ({"allowed": ["a"], "dtype": str}, SearchParam("str", allowed=("a",))),
        ({"dtype": bool}, SearchParam("bool", allowed=(False, True))),
        ({"allowed": range(3)}, SearchParam("int", allowed=(0, 1, 2))),
    ],
)
def test_descriptions_and_what_they_become(keywords, expected):
    param = search_param(**keywords)
    assert param == expected
    # 1 == 1.0 == True: the types matter, too, for they reach the loss and the study file.
    for one, other in ((param.range, expected.range), (param.allowed, expected.allowed)):
        assert [type(value) for value in one or ()] == [type(value) for value in other or ()]
    assert type(param.step) is type(expected.step)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.int64(3), int), (np.float32(0.5), float), (np.bool_(True), bool), (np.str_("a"), str)],
)
def test_numpy_scalars_become_plain_values(value, kind):
    (plain,) = search_param(allowed=[value]).allowed
    assert type(plain) is kind
    assert plain == value


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({}, "give exactly one of range and allowed; neither was given"),
        ({"range": (0, 1), "allowed": [1]}, "exactly one of range and allowed; both was given"),
        ({"range": (0, 1), "dtype": "real"}, "dtype='real': must be 'float', 'int', 'log'"),
        ({"range": (0, 1), "dtype": complex}, "dtype=<class 'complex'>: must be 'float'"),
        (
            {"range": ("a", "b")},
            "'a' is not a number; for a choice: search_param(allowed=['a', 'b",
        ),
        ({"range": (1, 2, 3)}, "(low, high); for a choice: search_param(allowed=[1, 2, 3])"),
        ({"range": (0, 1), "dtype": "str"}, "dtype='str' needs allowed=[...]"),
        ({"range": (0, 1), "dtype": "bool"}, "dtype='bool' needs allowed=[...]"),
        ({"range": (0, 1, 2)}, "range=(0, 1, 2): must be two numbers (low, high)"),
        ({"range": "01"}, "range='01': must be two numbers"),
        ({"range": 3}, "range=3: must be two numbers"),
        ({"range": ("a", 1)}, "'a' is not a number"),
        ({"range": (False, True)}, "False is not a number"),
        ({"range": (0, math.inf)}, "bounds must be finite; inf is not"),
        ({"range": (math.nan, 1)}, "bounds must be finite; nan is not"),
        ({"range": (2, 1)}, "range=(2, 1): low must not be above high"),
        ({"range": (0, 1), "log": True}, "low=0: a log range must lie above 0"),
        ({"range": (-1, 1), "dtype": "log"}, "low=-1: a log range must lie above 0"),
        ({"range": (1, 2), "log": True, "step": 1}, "step=1 with log"),
        ({"range": (0, 1), "step": 0}, "step=0: must be a finite number above 0"),
        ({"range": (0, 1), "step": -0.1}, "step=-0.1: must be a finite number above 0"),
        ({"range": (0, 1), "step": math.nan}, "step=nan: must be a finite number above 0"),
        ({"range": (0, 1), "step": "a"}, "step='a': must be a finite number above 0"),
        ({"range": (0, 1), "step": 2}, "step=2: exceeds the range from 0 to 1"),
        ({"range": (0.5, 2), "dtype": "int"}, "must be whole numbers of at most 2**53; 0.5"),
        ({"range": (0, 2**53 + 1), "dtype": "int"}, "at most 2**53; 9007199254740993 is not"),
        (
            {"range": (0, 9), "dtype": "int", "step": 1.5},
            "step=1.5: the step of an int range must be a",
        ),
        ({"range": (0, 9), "dtype": "int", "step": 0}, "step=0: the step of an int range must be"),
        (
            {"range": (0, 9), "dtype": "int", "step": True},
            "step=True: the step of an int range must",
        ),
        ({"range": (0, 9), "dtype": "int", "step": 10}, "step=10: exceeds the range from 0 to 9"),
        ({"allowed": []}, "allowed is empty; give at least one value"),
        ({"allowed": "abc"}, "allowed='abc': must be a list of values"),
        ({"allowed": {1, 2}}, "allowed={1, 2}: must be a list of values"),
        ({"allowed": [1, "a"]}, "allowed=[1, 'a']: mixes types"),
        ({"allowed": [0, False]}, "allowed=[0, False]: mixes types"),
        ({"allowed": [None]}, "is not float, int, str or bool"),
        ({"allowed": [1, 2, 1]}, "allowed=[1, 2, 1]: holds a value twice"),
        ({"allowed": [1, 1.0]}, "holds a value twice"),
        ({"allowed": [1.0, math.nan]}, "must be finite"),
        ({"allowed": ["a"], "dtype": "int"}, "these are of type str, not int"),
        ({"allowed": [1.5], "dtype": "int"}, "these are of type float, not int"),
        ({"allowed": [1, 2], "log": True}, "log and step belong to a range"),
        ({"allowed": [1, 2], "step": 1}, "log and step belong to a range"),
        ({"allowed": [1, 2], "dtype": "log"}, "log and step belong to a range"),
    ],
)
def test_nonsense_is_refused(keywords, problem):
    with pytest.raises(SpaceError, match=f"^search_param: .*{re.escape(problem)}") as caught:
        search_param(**keywords)
    assert caught.value.parameter is None


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ({"x": (2, 1)}, r"parameter 'x': range=\(2, 1\): low must not be above high"),
        ({"ok": (0, 1), "y": (0,)}, r"parameter 'y': range=\(0,\): must be two numbers"),
        ({"x": [0, 1]}, r"parameter 'x': got \[0, 1\]; give a tuple \(low, high\), or search"),
        ({"x": ["a", "b"]}, r"; for a choice: search_param\(allowed=\['a', 'b'\]\)$"),
        ({"x": ["a", 1]}, r"distribution such as uniform\(low, high\)$"),
        ({3: (0, 1)}, "parameter names are non-empty strings; got 3"),
        ({"": (0, 1)}, "parameter names are non-empty strings; got ''"),
    ],
)
def test_a_wrong_space_names_its_parameter(specs, sentence):
    with pytest.raises(SpaceError, match=sentence):
        checked_space(specs)


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"range": (0, 9), "dtype": "int", "step": float("nan")}, "a whole number above 0"),
        ({"range": (0, 10**400)}, "bounds must be finite"),
        ({"range": (-1e308, 1e308)}, "wider than a float can say"),
        ({"allowed": [np.array([1, 2])]}, "mixes types"),
    ],
)
def test_numbers_that_are_none(keywords, problem):
    with pytest.raises(SpaceError, match=problem):
        search_param(**keywords)


def test_a_step_as_wide_as_the_range_is_written():
    assert search_param(range=(0.1, 0.3), step=0.2).step == 0.2


def test_a_search_param_made_by_hand_is_checked():
    with pytest.raises(SpaceError, match="parameter 'x': give exactly one"):
        checked_space({"x": SearchParam("float")})


def test_a_space_as_json_is_what_json_reads_again():
    """Drivers compare the two: whether a phase was in the same space."""
    space = {
        "x": search_param(range=(0.5, 2.0), log=True),
        "n": search_param(range=(0, 8), step=2),
        "kind": search_param(allowed=["a", "b"]),
    }
    content = space_to_json(space)
    assert json.loads(json.dumps(content)) == content
    assert space_from_json(content) == space

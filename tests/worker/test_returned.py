from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import LossValueError
from seedwise.worker.returned import (
    check_finite,
    read_array,
    read_arrays,
    read_loss,
    read_returned,
)

finite = st.floats(-1e100, 1e100)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (1.5, 1.5),
        (-3, -3.0),
        (True, 1.0),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3.0),
        (np.array(1.5), 1.5),
        ({"a": 1.0, "b": 3.0}, 2.0),
        ({"a": np.float32(1), "b": np.array(3)}, 2.0),
        ({"total_loss": 7, "components": {"a": 1.0}}, 7.0),
        ({"total_loss": np.array(7.0), "a": "of no matter"}, 7.0),
        ([1.0, 3.0], 2.0),
        ((1.0, 3.0), 2.0),
        ([[1.0, 2.0], [3.0]], 2.25),  # a mean of means
        ([1, {"total_loss": 2.0}, {"a": 2.0, "b": 4.0}], 2.0),
    ],
)
def test_what_is_a_loss(returned, expected):
    value = read_loss(returned)
    assert value == expected
    assert type(value) is float


@given(st.lists(finite, min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_a_dict_and_of_a_list_is_of_no_matter(values, random):
    shuffled = random.sample(values, len(values))
    expected = (math.fsum(values) / len(values)).hex()
    assert read_loss(shuffled).hex() == expected
    assert read_loss({str(i): value for i, value in enumerate(shuffled)}).hex() == expected


@pytest.mark.parametrize(
    ("returned", "value", "problem"),
    [
        (math.nan, math.nan, "nan: not finite"),
        (-math.inf, -math.inf, "-inf: not finite"),
        (np.float32("inf"), math.inf, "inf: not finite"),
        (None, None, "None: NoneType is not a number"),
        ("1.0", "1.0", "'1.0': str is not a number"),
        (b"1.0", b"1.0", "b'1.0': bytes is not a number"),
        (1 + 2j, 1 + 2j, "(1+2j): complex is not a number"),
        ({}, {}, "{}: an empty dict has no mean"),
        ([], [], "[]: an empty list has no mean"),
        ((), (), "(): an empty list has no mean"),
        ({1.0}, {1.0}, "{1.0}: set is not a number"),
        ({"a": 1.0, "b": math.nan}, math.nan, "nan: not finite"),
        ({"a": 1.0, "b": "x"}, "x", "'x': str is not a number"),
        ({"a": [1.0]}, [1.0], "[1.0]: list is not a number"),
        ({"total_loss": None, "a": 1.0}, None, "None: NoneType is not a number"),
        ([1.0, [2.0, []]], [], "[]: an empty list has no mean"),
        ([1.0, math.inf], math.inf, "inf: not finite"),
    ],
)
def test_what_is_no_loss(returned, value, problem):
    sentence = re.escape(f"the loss returned {problem}. Return a finite number, a dict of")
    with pytest.raises(LossValueError, match=f"^{sentence}") as caught:
        read_loss(returned)
    assert repr(caught.value.value) == repr(value) or caught.value.value == value


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 2)])
def test_an_array_is_no_loss(shape):
    with pytest.raises(LossValueError, match=re.escape(f"an array of shape {shape} is not a num")):
        read_loss(np.zeros(shape))


def test_a_long_value_is_shown_in_part():
    with pytest.raises(LossValueError, match=r"\.\.\.: str is not a number") as caught:
        read_loss("x" * 10_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "returned",
    [
        [1.0, 2.0],
        (1, 2),
        np.array([1, 2]),
        np.array([1, 2], dtype=np.float32),
        [np.array(1), np.float32(2)],
    ],
)
def test_what_is_an_array_of_losses(returned):
    losses = read_array(returned, 2)
    assert losses.tolist() == [1.0, 2.0]
    assert losses.dtype == np.float64


def test_an_array_that_the_loss_keeps_is_copied():
    kept = np.array([1.0, 2.0])
    losses = read_array(kept, 2)
    kept[:] = 9
    assert losses.tolist() == [1.0, 2.0]


def test_an_array_may_hold_what_is_not_finite():
    assert np.isnan(read_array([math.nan, 1.0], 2)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (1.0, "shape (), but there are 2 seeds: it must be (2,)"),
        ([1.0], "shape (1,), but there are 2 seeds"),
        (np.zeros((2, 1)), "shape (2, 1), but there are 2 seeds"),
        (np.zeros((1, 2)), "shape (1, 2), but there are 2 seeds"),
        ([], "shape (0,), but there are 2 seeds"),
        (None, "not an array of numbers"),
        (["a", "b"], "not an array of numbers"),
        ([[1.0], [1.0, 2.0]], "not an array of numbers"),
        ({"a": 1.0}, "not an array of numbers"),
    ],
)
def test_what_is_no_array_of_losses(returned, problem):
    with pytest.raises(LossValueError, match=re.escape(problem)) as caught:
        read_array(returned, 2)
    assert caught.value.value is returned


def test_check_finite():
    assert check_finite(5e-324) == 5e-324
    with pytest.raises(LossValueError, match="the loss returned inf: not finite"):
        check_finite(math.inf)


class Sulky:
    """Something of the user's that refuses to be looked at."""

    def __float__(self):
        raise RuntimeError("not now")

    def __array__(self, *_, **__):
        raise RuntimeError("not now")


@pytest.mark.parametrize("returned", [1.5, 2, np.float64(3), [1.0, 2.0], ({"a": 1.0}, 3.0)])
def test_a_number_and_a_list_have_no_components(returned):
    loss, components = read_returned(returned)
    assert loss == read_loss(returned)
    assert components == {}
    assert components is read_returned(0.0)[1]  # none is made for each seed


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ({"a": 1, "b": np.float32(3)}, (2.0, {"a": 1.0, "b": 3.0})),
        ({7: True, None: 3.0}, (2.0, {"7": 1.0, "None": 3.0})),
        ({1: 1.0, "1": 3.0}, (2.0, {"1": 3.0})),
        ({"total_loss": 7}, (7.0, {})),
        ({"total_loss": 7, "a": 1.0}, (7.0, {})),
        ({"total_loss": 7, "components": {}}, (7.0, {})),
        ({"total_loss": 7, "components": None}, (7.0, {})),
        ({"total_loss": 7, "components": [1.0]}, (7.0, {})),
        ({"total_loss": 7, "components": {"a": 1.0}}, (7.0, {"a": 1.0})),
    ],
)
def test_the_components_of_a_dict(returned, expected):
    loss, components = read_returned(returned)
    assert (loss, components) == expected
    assert all(type(part) is float for part in components.values())


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (1, 1.0),
        (2.5, 2.5),
        (False, 0.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (np.int8(3), 3.0),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),
        (np.array(4), 4.0),
        (np.float64("-inf"), -math.inf),
    ],
)
def test_a_component_is_any_number(part, expected):
    _, components = read_returned({"total_loss": 1.0, "components": {"a": part}})
    assert components == {"a": expected}
    assert type(components["a"]) is float


@pytest.mark.parametrize("nan", [math.nan, np.float32("nan"), np.array(math.nan)])
def test_a_component_may_be_nan(nan):
    _, components = read_returned({"total_loss": 1.0, "components": {"a": nan}})
    assert math.isnan(components["a"])


@pytest.mark.parametrize(
    "part",
    [
        None,
        "1.0",
        b"1",
        1j,
        np.complex128(1),
        np.str_("x"),
        np.zeros(1),
        np.zeros((2, 2)),
        np.array("x"),
        np.array(None),
        [1.0],
        {"b": 1.0},
        10**400,
        Sulky(),
    ],
)
def test_what_is_no_number_is_left_out_and_costs_nothing(part):
    returned = {"total_loss": 1.0, "components": {"a": part, "b": 2.0}}
    assert read_returned(returned) == (1.0, {"b": 2.0})


def test_arrays_of_a_vectorized_loss():
    kept = np.array([3.0, np.nan])
    returned = {
        "total_loss": [1, 2],
        "components": {"a": kept, 5: (True, False), "c": np.array([1, 2], dtype=np.int8)},
    }
    losses, components = read_arrays(returned, 2)
    kept[:] = 9
    assert losses.tolist() == [1.0, 2.0]
    assert list(components) == ["a", "5", "c"]
    np.testing.assert_array_equal(components["a"], [3.0, np.nan])
    assert components["5"].tolist() == [1.0, 0.0]
    assert {column.dtype for column in components.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    "returned",
    [
        [1.0, 2.0],
        {"total_loss": [1.0, 2.0]},
        {"total_loss": [1.0, 2.0], "components": None},
        {"total_loss": [1.0, 2.0], "a": [1.0, 2.0]},
    ],
)
def test_arrays_without_components(returned):
    losses, components = read_arrays(returned, 2)
    assert losses.tolist() == [1.0, 2.0]
    assert components == {}


@pytest.mark.parametrize(
    "part", [None, "ab", ["a", "b"], [[1.0], [1.0, 2.0]], [None, 1.0], [1j, 2j], Sulky()]
)
def test_what_is_no_array_of_numbers_is_left_out(part):
    returned = {"total_loss": [1.0, 2.0], "components": {"a": part, "b": [3, 4]}}
    _, components = read_arrays(returned, 2)
    assert {name: column.tolist() for name, column in components.items()} == {"b": [3.0, 4.0]}


@pytest.mark.parametrize("part", [1.0, [1.0], [1, 2, 3], np.zeros((2, 1)), []])
def test_a_component_of_a_wrong_shape_is_refused(part):
    problem = re.escape(f"component 'a' has shape {np.shape(part)}, but there are 2 seeds")
    with pytest.raises(LossValueError, match=problem) as caught:
        read_arrays({"total_loss": [1.0, 2.0], "components": {"a": part}}, 2)
    assert caught.value.value is part


@pytest.mark.parametrize("total", [None, 1.0, [1.0], ["a", "b"]])
def test_a_total_loss_is_checked_as_an_array_is(total):
    with pytest.raises(LossValueError) as caught:
        read_arrays({"total_loss": total, "components": {"a": [1.0, 2.0]}}, 2)
    assert caught.value.value is total

from __future__ import annotations

import datetime
import math
import re
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import LossValueError
from seedwise.worker.returned import check_finite, read_arrays, read_returned

finite = st.floats(-1e100, 1e100)


class Pair(NamedTuple):
    loss: float
    stderr: float


class Tensor:
    """Stands in for an array of JAX or PyTorch, which are not installed where tests run."""

    def __init__(self, data, *, requires_grad=False):
        self._data = np.asarray(data)
        self._requires_grad = requires_grad

    @property
    def ndim(self):
        return self._data.ndim

    @property
    def shape(self):
        return self._data.shape

    @property
    def dtype(self):
        return f"torch.{self._data.dtype}"

    def item(self):
        return self._data.item()

    def __float__(self):  # of one element in any number of dimensions, and complex ones, too
        if self._requires_grad:
            warnings.warn("to a scalar may lead to unexpected behavior", stacklevel=2)
        return float(self._data.real.reshape(()))

    def __array__(self, dtype=None, copy=None):
        if self._requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.array(self._data, dtype=dtype, copy=copy)


class Sulky:
    """Something of the user's that refuses to be looked at."""

    def __float__(self):
        raise RuntimeError("not now")

    def __array__(self, *_, **__):
        raise RuntimeError("not now")


MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (1.5, 1.5),
        (-3, -3.0),
        (True, 1.0),
        (np.bool_(True), 1.0),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int8(-3), -3.0),
        (np.array(1.5), 1.5),
        (np.array(Decimal(2), dtype=object), 2.0),
        (MASKED[0], 1.0),
        (MASKED.mean(), 1.0),
        (np.ma.array(3), 3.0),
        (pd.Series([1.0, 2.0]).mean(), 1.5),
        (Tensor(1.5), 1.5),
        (Tensor(np.float32(0.5), requires_grad=True), 0.5),
        (Tensor(True), 1.0),
        ({"a": 1.0, "b": 3.0}, 2.0),
        ({"a": np.float32(1), "b": Tensor(3)}, 2.0),
        ({"total_loss": 7, "components": {"a": 1.0}}, 7.0),
        ({"total_loss": np.array(7.0)}, 7.0),
        ([1.0, 3.0], 2.0),
        ([1, Tensor(3.0)], 2.0),
        ([[1.0, 2.0], [3.0]], 2.25),  # a mean of means
        ([{"a": 2.0, "b": 4.0}, {"a": 1.0}], 2.0),
        ([{"total_loss": 2.0}, {"total_loss": 4.0, "components": {"a": 1}}], 3.0),
    ],
)
def test_what_is_a_loss(returned, expected):
    value, _ = read_returned(returned)
    assert value == expected
    assert type(value) is float


@given(st.lists(finite, min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_a_dict_and_of_a_list_is_of_no_matter(values, random):
    shuffled = random.sample(values, len(values))
    expected = (math.fsum(values) / len(values)).hex()
    assert read_returned(shuffled)[0].hex() == expected
    named = {str(i): value for i, value in enumerate(shuffled)}
    assert read_returned(named)[0].hex() == expected


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (math.nan, "nan: not finite"),
        (-math.inf, "-inf: not finite"),
        (np.float32("inf"), "inf: not finite"),
        (Decimal("nan"), "nan: not finite"),
        (np.ma.masked, "nan: not finite"),
        (MASKED[1], "nan: not finite"),
        (np.ma.array(1.0, mask=True), "nan: not finite"),
        ({"a": 1.0, "b": np.ma.masked}, "nan: not finite"),
        ({"total_loss": np.ma.masked}, "nan: not finite"),
        ([1.0, np.ma.masked], "nan: not finite"),
        ({"a": 1.0, "b": math.nan}, "nan: not finite"),
        ([1.0, math.inf], "inf: not finite"),
        (None, "None: a return is missing"),
        ("1.0", "'1.0': str is not a number"),
        (b"1.0", "b'1.0': bytes is not a number"),
        (1 + 2j, "(1+2j): complex is not a number"),
        (np.complex128(1), f"{np.complex128(1)!r}: complex128 is not a number"),
        (np.str_("1"), f"{np.str_('1')!r}: <U1 is not a number"),
        (np.array("1"), f"{np.array('1')!r}: <U1 is not a number"),
        (np.array(None), "array(None, dtype=object): ndarray is not a number"),
        (np.timedelta64(5, "ns"), "np.timedelta64(5,'ns'): timedelta64[ns] is not a number"),
        (datetime.timedelta(1), "datetime.timedelta(days=1): timedelta is not a number"),
        (pd.NA, "<NA>: NAType is not a number"),
        (pd.NaT, "NaT: NaTType is not a number"),
        (10**400, "1000"),
        (Decimal("snan"), "Decimal('sNaN'): not a number: cannot convert signaling NaN"),
        ({}, "{}: an empty dict has no mean"),
        ([], "[]: an empty list has no mean"),
        ({1.0}, "{1.0}: set is not a number"),
        ({"a": 1.0, "b": "x"}, "'x': str is not a number"),
        ({"a": [1.0]}, "[1.0]: list is not a number"),
        ({"a": None}, "None: NoneType is not a number"),
        ({1: 1.0, "1": 3.0}, "{1: 1.0, '1': 3.0}: two keys are the same as text"),
        ({"total_loss": None}, "None: NoneType is not a number"),
        ([[1.0], []], "[]: an empty list has no mean"),
        ([1.0, None], "None: a return is missing"),
        ((1.0, 0.1), "(1.0, 0.1): of a tuple it is not known what counts"),
        ((), "(): of a tuple it is not known what counts"),
        (Pair(1.0, 0.1), "Pair(loss=1.0, stderr=0.1): of a tuple it is not known what counts"),
        ([(1.0, 0.1)], "(1.0, 0.1): of a tuple it is not known what counts"),
        ({"a": (1.0, 0.1)}, "(1.0, 0.1): of a tuple it is not known what counts"),
        ({"total_loss": (1.0, 2.0)}, "(1.0, 2.0): of a tuple it is not known what counts"),
        ([1.0, {"a": 1.0}], "[1.0, {'a': 1.0}]: a list must hold numbers only, or dicts of one"),
        ([1.0, [1.0]], "[1.0, [1.0]]: a list must hold numbers only"),
        ([{"a": 1.0}, {"total_loss": 1.0}], "[{'a': 1.0}, {'total_loss': 1.0}]: a list must"),
        (
            {"total_loss": 1.0, "a": 2.0, 3: 4.0, "components": {}},
            "beside 'total_loss' it may have only 'components': put 'a', 3 there",
        ),
        ({"total_loss": 1.0, "components": [2.0]}, "[2.0]: 'components' must be a dict"),
        (Tensor(1 + 2j), "Tensor is not a number"),
        (Sulky(), "not a number: not now"),
    ],
)
def test_what_is_no_loss(returned, problem):
    with pytest.raises(LossValueError, match=r"^the loss returned ") as caught:
        read_returned(returned)
    assert problem in str(caught.value)
    assert "Return a finite number, a dict of numbers" in str(caught.value)


@pytest.mark.parametrize(
    "kind", [np.zeros, Tensor, pd.array, np.ma.zeros, pytest.param(pd.Series, id="series")]
)
def test_an_array_is_no_loss(kind):
    for shape in [(0,), (1,), (3,)]:
        array = kind(np.zeros(shape)) if kind not in (np.zeros, np.ma.zeros) else kind(shape)
        for returned in (array, [array], {"a": array}, {"total_loss": array}):
            problem = re.escape(f"an array of shape {shape} is not a number: take its mean")
            with pytest.raises(LossValueError, match=problem) as caught:
                read_returned(returned)
            assert caught.value.value is array


def test_a_long_value_is_shown_in_part():
    with pytest.raises(LossValueError, match=r"\.\.\.: str is not a number") as caught:
        read_returned("x" * 10_000)
    assert len(str(caught.value)) < 500


def test_check_finite():
    assert check_finite(5e-324) == 5e-324
    with pytest.raises(LossValueError, match="the loss returned inf: not finite"):
        check_finite(math.inf)


@pytest.mark.parametrize("returned", [1.5, 2, np.float64(3), [1.0, 2.0], [{"a": 1.0}]])
def test_a_number_and_a_list_have_no_components(returned):
    _, components = read_returned(returned)
    assert components == {}
    assert components is read_returned(0.0)[1]  # none is made for each seed


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ({"a": 1, "b": np.float32(3)}, (2.0, {"a": 1.0, "b": 3.0})),
        ({7: True, None: 3.0}, (2.0, {"7": 1.0, "None": 3.0})),
        ({"total_loss": 7}, (7.0, {})),
        ({"total_loss": 7, "components": {}}, (7.0, {})),
        ({"total_loss": 7, "components": None}, (7.0, {})),
        ({"total_loss": 7, "components": {"a": 1.0, 2: True}}, (7.0, {"a": 1.0, "2": 1.0})),
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
        (Tensor(4), 4.0),
    ],
)
def test_a_component_is_any_number(part, expected):
    _, components = read_returned({"total_loss": 1.0, "components": {"a": part}})
    assert components == {"a": expected}
    assert type(components["a"]) is float


@pytest.mark.parametrize("nan", [math.nan, np.float32("nan"), np.array(math.nan), np.ma.masked])
def test_a_component_may_be_nan(nan):
    _, components = read_returned({"total_loss": 1.0, "components": {"a": nan}})
    assert math.isnan(components["a"])


@pytest.mark.parametrize(
    "part",
    [
        None,
        "fast",
        b"1",
        1j,
        np.complex128(1),
        np.str_("x"),
        np.zeros(1),
        np.zeros((2, 2)),
        np.array(None),
        [1.0],
        (1.0, 2.0),
        {"b": 1.0},
        10**400,
        Sulky(),
        pd.NA,
    ],
)
def test_a_component_that_is_no_number_is_refused_by_its_name(part):
    returned = {"total_loss": 1.0, "components": {"b": 2.0, "model": part}}
    with pytest.raises(LossValueError, match="component 'model': ") as caught:
        read_returned(returned)
    assert "leave it out, or write it to a file in context['trial_dir']" in str(caught.value)
    assert caught.value.value is part


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0]),
        (np.array([1, 2]), [1.0, 2.0]),
        (np.array([1, 2], dtype=np.float32), [1.0, 2.0]),
        (np.array([True, False]), [1.0, 0.0]),
        ([np.array(1), np.float32(2)], [1.0, 2.0]),
        (Tensor([1.0, 2.0]), [1.0, 2.0]),
        ([Tensor(1), Tensor(2.0, requires_grad=True)], [1.0, 2.0]),
        (pd.Series([1, 2]), [1.0, 2.0]),
        ([math.nan, math.inf], [math.nan, math.inf]),
        (MASKED, [1.0, math.nan]),
        (np.ma.array([1, 2], mask=[True, False]), [math.nan, 2.0]),
        ([1.0, np.ma.masked], [1.0, math.nan]),
        ([np.ma.array(1.0, mask=True), 2], [math.nan, 2.0]),
    ],
)
def test_what_is_an_array_of_losses(returned, expected):
    wholes = read_arrays(returned, 2), read_arrays({"total_loss": returned}, 2)
    part = read_arrays({"total_loss": [0, 0], "components": {"a": returned}}, 2)[1]["a"]
    for array in (*(losses for losses, _ in wholes), part):
        np.testing.assert_array_equal(array, expected)
        assert (array.dtype, type(array)) == (np.float64, np.ndarray)
    assert [components for _, components in wholes] == [{}, {}]


NO_ARRAYS = [
    (1.0, "shape (), but there are 2 seeds: it must be (2,)"),
    ([1.0], "shape (1,), but there are 2 seeds"),
    (np.zeros((2, 1)), "shape (2, 1), but there are 2 seeds"),
    (np.zeros((1, 2)), "shape (1, 2), but there are 2 seeds"),
    ([], "shape (0,), but there are 2 seeds"),
    ("ab", "not an array of numbers, but of <U2"),
    (["a", "b"], "str is not a number"),
    ([[1.0], [1.0, 2.0]], "list is not a number"),
    ([None, 1.0], "NoneType is not a number"),
    ([1j, 2j], "complex is not a number"),
    (np.array([1j, 2]), "not an array of numbers, but of complex128"),
    (np.array([1, 2], dtype="m8[s]"), "not an array of numbers, but of timedelta64[s]"),
    ({"a": 1.0}, "not an array of numbers, but of object"),
    ((1.0, 2.0), "of a tuple it is not known what counts"),
    ((np.zeros(2), np.zeros(2)), "of a tuple it is not known what counts"),
    (Tensor([1.0, 2.0], requires_grad=True), "not an array of numbers: Can't call numpy()"),
    (Sulky(), "not an array of numbers: not now"),
]


@pytest.mark.parametrize(("part", "problem"), [(None, "a return is missing"), *NO_ARRAYS])
def test_what_is_no_array_of_losses(part, problem):
    with pytest.raises(LossValueError, match=re.escape(problem)):
        read_arrays(part, 2)
    if part is not None:
        with pytest.raises(LossValueError, match=re.escape(problem)):
            read_arrays({"total_loss": part, "components": {"a": [1.0, 2.0]}}, 2)


@pytest.mark.parametrize(("part", "problem"), [(None, "not an array of numb"), *NO_ARRAYS])
def test_a_component_that_is_no_array_is_refused_by_its_name(part, problem):
    with pytest.raises(LossValueError, match=re.escape(f"component 'a': {problem}")) as caught:
        read_arrays({"total_loss": [1.0, 2.0], "components": {"a": part}}, 2)
    assert caught.value.value is part


@pytest.mark.parametrize("components", [[1.0], "ab", 1.0])
def test_components_of_arrays_are_a_dict_and_nothing_is_beside_them(components):
    with pytest.raises(LossValueError, match="'components' must be a dict"):
        read_arrays({"total_loss": [1.0, 2.0], "components": components}, 2)
    with pytest.raises(LossValueError, match="put 'a' there"):
        read_arrays({"total_loss": [1.0, 2.0], "a": components}, 2)


def test_arrays_that_the_loss_keeps_are_copied():
    kept = np.array([1.0, 2.0])
    losses, components = read_arrays({"total_loss": kept, "components": {"a": kept, 5: kept}}, 2)
    kept[:] = 9
    assert list(components) == ["a", "5"]
    for array in (losses, *components.values()):
        assert array.tolist() == [1.0, 2.0]

from __future__ import annotations

import warnings

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from seedwise.model.space import checked_space, search_param
from seedwise.study.distributions import distributions


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ({"range": (0, 1)}, FloatDistribution(0.0, 1.0)),
        ({"range": (2, 2)}, FloatDistribution(2.0, 2.0)),
        ({"range": (1e-4, 1), "dtype": "log"}, FloatDistribution(1e-4, 1.0, log=True)),
        ({"range": (0, 1), "step": 0.25}, FloatDistribution(0.0, 1.0, step=0.25)),
        ({"range": (1, 9), "dtype": "int"}, IntDistribution(1, 9)),
        ({"range": (1, 9), "dtype": "int", "log": True}, IntDistribution(1, 9, log=True)),
        ({"range": (1, 9), "dtype": "int", "step": 4}, IntDistribution(1, 9, step=4)),
        ({"allowed": ["a", "b"]}, CategoricalDistribution(("a", "b"))),
        ({"allowed": [3, 1]}, CategoricalDistribution((3, 1))),
        ({"allowed": [0.5]}, CategoricalDistribution((0.5,))),
        ({"dtype": "bool"}, CategoricalDistribution((False, True))),
    ],
)
def test_each_kind_has_its_distribution(param, expected):
    made = distributions({"x": search_param(**param)})["x"]
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("param", "last"),
    [
        ({"range": (0, 1), "step": 0.3}, 0.9),
        ({"range": (0, 10), "dtype": "int", "step": 4}, 8),
    ],
)
def test_a_step_that_does_not_divide_the_range_ends_at_the_last_that_fits(param, last):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = distributions({"x": search_param(**param)})["x"]
    assert caught == []
    assert made.high == pytest.approx(last)
    assert made.step == param["step"]


def test_the_order_of_the_space_is_kept():
    space = checked_space(dict.fromkeys("qbxa", (0, 1)))
    assert list(distributions(space)) == ["q", "b", "x", "a"]


@given(st.integers(-1000, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_every_value_of_an_int_range_lies_on_its_steps(low, width, step):
    step = min(step, width)
    param = search_param(range=(low, low + width), dtype="int", step=step)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    value = study.ask(distributions({"x": param})).params["x"]
    assert low <= value <= low + width
    assert (value - low) % step == 0
    assert type(value) is int

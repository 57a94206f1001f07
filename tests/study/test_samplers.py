from __future__ import annotations

import importlib.metadata
import sys
import warnings
from types import ModuleType

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from seedwise.errors import MissingExtraError
from seedwise.model.options.checks import SAMPLERS
from seedwise.model.space import checked_space, search_param
from seedwise.study.samplers import _MAKERS, distributions, make_sampler
from seedwise.study.smoothed import SmoothedTPESampler

CLASSES = {
    "auto": SmoothedTPESampler,
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "qmc": optuna.samplers.QMCSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "gp": optuna.samplers.GPSampler,
    "nsgaii": optuna.samplers.NSGAIISampler,
}
NEEDS = [("cmaes", "cmaes", "cmaes"), ("gp", "gp", "torch"), ("smoothed gp", "gp", "torch")]

SPACE = {
    "x": optuna.distributions.FloatDistribution(-1, 1),
    "y": optuna.distributions.FloatDistribution(1e-3, 1, log=True),
}


def points(name: str, seed: int):
    study = optuna.create_study(sampler=make_sampler(name, seed))
    for _ in range(15):  # more than TPE's ten random ones
        trial = study.ask(SPACE)
        study.tell(trial, trial.params["x"] ** 2 + trial.params["y"])
    return [trial.params for trial in study.trials]


def test_every_allowed_name_is_tried_here():
    assert set(CLASSES) == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_name_makes_its_sampler(name, monkeypatch):
    if name == "gp":  # torch is large: here it need only be found
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert type(make_sampler(name, 1)) is CLASSES[name]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])
def test_the_seed_decides_the_points(name):
    first = points(name, 1)
    assert points(name, 1) == first
    assert points(name, 2) != first
    assert len({params["x"] for params in first}) > 10


def test_a_sampler_that_is_passed_stays_as_it_was():
    """It is a copy that is asked: the same call gives the same points twice."""
    sampler = optuna.samplers.RandomSampler(seed=5)
    study = optuna.create_study(sampler=make_sampler(sampler, 1))
    again = optuna.create_study(sampler=make_sampler(sampler, 2))
    first, second = (s.ask().suggest_float("x", 0, 1) for s in (study, again))
    assert first == second


def test_every_name_that_is_allowed_has_a_sampler():
    assert set(_MAKERS) == {*SAMPLERS, "smoothed gp"}


@pytest.mark.parametrize(("name", "extra", "module"), NEEDS)
def test_a_missing_package_is_named_by_its_extra(name, extra, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    sentence = rf"^sampler='{extra}' needs packages .*: pip install 'seedwise\[{extra}\]'$"
    with pytest.raises(MissingExtraError, match=sentence) as caught:
        make_sampler(name, 1)
    assert caught.value.extra == extra


@pytest.mark.parametrize(("name", "module"), [needs[1:] for needs in NEEDS[:2]])
def test_the_extra_is_there_and_brings_the_package(name, module):
    metadata = importlib.metadata.metadata("seedwise")
    assert name in metadata.get_all("Provides-Extra")
    requires = importlib.metadata.requires("seedwise")
    wanted = [line for line in requires if line.startswith(module)]
    assert any(f"extra == '{name}'" in line.replace('"', "'") for line in wanted)


# The distributions of a space.


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

"""Trials of any result as Optuna has them, and the importance of their parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.trial import TrialState

from seedwise.model.space import checked_space, search_param
from seedwise.study.importance import importances, optuna_trials
from tests.builders import trial

SPACE = checked_space(
    {
        "x": (-1, 1),
        "rate": search_param(range=(1e-3, 1.0), log=True),
        "kind": search_param(allowed=["plain", "fancy"]),
    }
)


def some(n=60):
    rng = np.random.default_rng(1)
    for number in range(n):
        x, kind = rng.uniform(-1, 1), ["plain", "fancy"][number % 2]
        params = {"x": x, "rate": 10 ** rng.uniform(-3, 0), "kind": kind}
        yield trial(number, x, params)


def test_complete_trials_keep_numbers_params_values_and_noise():
    trials = [trial(0, None), trial(3, 2.0, {"x": 0.5, "kind": "fancy"}, stderr=None)]
    (one,) = optuna_trials(trials, SPACE)
    assert (one.number, one.value, one.state) == (3, 2.0, TrialState.COMPLETE)
    assert one.params == {"x": 0.5, "kind": "fancy"}
    assert one.distributions.keys() == one.params.keys()
    assert one.user_attrs == {"n_seeds": 4, "stderr": None}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_matters_is_important_and_it_is_the_same_each_time(direction):
    told = optuna_trials(some(), SPACE)
    shares = importances(told, list(SPACE), direction)
    assert max(shares, key=lambda name: shares[name]) == "x"
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert importances(told, list(SPACE)[::-1], direction) == shares


def test_a_parameter_that_one_trial_has_is_of_no_weight():
    trials = list(some())
    for one in trials[1:]:
        del one.params["kind"]
    assert importances(optuna_trials(trials, SPACE), list(SPACE), "minimize")["kind"] == 0

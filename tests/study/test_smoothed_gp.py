from __future__ import annotations

import pickle

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler
from optuna.trial import create_trial

from seedwise.study.samplers import make_sampler
from seedwise.study.smoothed import SmoothedGPSampler
from tests.study.test_smoothed import optimized, params

LINE = {"x": FloatDistribution(-1, 1)}
MIXED = {
    "x": FloatDistribution(-1, 1, step=0.25),
    "rate": FloatDistribution(1e-3, 1, log=True),
    "n": IntDistribution(1, 9),
    "kind": CategoricalDistribution(("plain", "fancy")),
}


def trial(x: float, value: float, stderr: float, n_seeds: int):
    attributes = {"stderr": stderr, "n_seeds": n_seeds}
    return create_trial(params={"x": x}, distributions=LINE, value=value, user_attrs=attributes)


def two_groups(sign: int = 1):
    """Return trials of (x + 0.5)², exact ones and noisy ones, of which one seems the best."""
    points = np.linspace(-1, 1, 12)
    exact = [trial(x, sign * (x + 0.5) ** 2, 1e-4, 4096) for x in points]
    errors = np.where(np.arange(12) % 2, 0.4, -0.4)
    means = (points + 0.5) ** 2 + errors
    noisy = [trial(x, sign * mean, 0.5, 8) for x, mean in zip(points, means, strict=True)]
    return exact, [*noisy, trial(0.3, sign * -0.6, 0.5, 8)]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_it_is_shown_trusts_exact_values_and_not_noisy_ones(direction, monkeypatch):
    def see(self, study, *_):
        shown.extend(study._get_trials(deepcopy=False))
        return {}

    shown: list[optuna.trial.FrozenTrial] = []
    monkeypatch.setattr(GPSampler, "sample_relative", see)  # so that it needs no torch
    sign = 1 if direction == "minimize" else -1
    exact, noisy = two_groups(sign)
    study = optuna.create_study(sampler=SmoothedGPSampler(seed=1), direction=direction)
    study.add_trials([*exact, *noisy])
    study.ask(LINE)
    complete = [each for each in shown if each.state.is_finished()]
    told = [
        sign * each.value for each in study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    ]
    seen = [sign * each.value for each in complete]
    true = np.array([(each.params["x"] + 0.5) ** 2 for each in complete])
    assert complete[np.argmin(told)].params["x"] == 0.3
    assert abs(complete[np.argmin(seen)].params["x"] + 0.5) < 0.1
    np.testing.assert_allclose(seen[: len(exact)], true[: len(exact)], atol=0.02)
    assert np.std((seen - true)[len(exact) :]) < 0.2 * np.std((told - true)[len(exact) :])


# With torch, which is large, so that few have it.


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.usefixtures("torch")
def test_it_searches_where_the_exact_values_are_best(direction):
    exact, noisy = two_groups(1 if direction == "minimize" else -1)
    study = optuna.create_study(sampler=SmoothedGPSampler(seed=1), direction=direction)
    study.add_trials([*exact, *noisy])
    assert abs(study.ask(LINE).params["x"] + 0.5) < 0.2


@pytest.mark.usefixtures("torch")
def test_exact_losses_are_searched_as_optuna_does():
    one, other = (
        params(optimized(sampler, n=14, lag=2, noise=0.0))
        for sampler in (SmoothedGPSampler(seed=1), GPSampler(seed=1))
    )
    assert one == other


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.usefixtures("torch")
def test_a_sampler_that_was_pickled_goes_on_as_if_it_had_not(lag):
    def points(pickled):
        study = optuna.create_study(sampler=make_sampler("smoothed gp", 4))
        waiting = []
        for _ in range(18):
            waiting.append(study.ask(MIXED))
            if len(waiting) == lag:
                told = waiting.pop(0)
                value = told.params["x"] ** 2 + np.random.default_rng(told.number).normal(0, 0.3)
                told.set_user_attr("stderr", 0.3)
                told.set_user_attr("n_seeds", 16)
                study.tell(told, value)
            if pickled:
                study.sampler = pickle.loads(pickle.dumps(study.sampler))
        assert study.sampler._gprs_cache_list
        return params(study)

    assert points(True) == points(False)

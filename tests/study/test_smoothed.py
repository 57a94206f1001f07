from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from seedwise.model.statistics import Estimate
from seedwise.study.smoothed import (
    N_SEEDS,
    SmoothedTPESampler,
    smoothed_at,
    smoothed_study,
    told_trials,
)

SPACE = {
    "x": FloatDistribution(-1, 1),
    "rate": FloatDistribution(1e-3, 1, log=True),
    "n": IntDistribution(1, 9),
    "kind": CategoricalDistribution(("plain", "fancy")),
}
MINIMIZE, MAXIMIZE = "minimize", "maximize"


def loss(params) -> float:
    distance = (
        params["x"] ** 2 + (math.log10(params["rate"]) + 1) ** 2 + (params["n"] - 4) ** 2 / 9
    )
    return distance + (params["kind"] == "plain")


def ask(study):
    return study.ask(SPACE)


def tell(study, trial, noise=0.3, sign=1, attributes=True, of=lambda number: number):
    """Tell the mean of 16 seeds, whose noise depends on the trial's number alone."""
    rng = np.random.default_rng(of(trial.number))
    seeds = sign * loss(trial.params) + 4 * noise * rng.normal(size=16)
    if attributes:
        trial.set_user_attr("stderr", float(seeds.std(ddof=1)) / 4)
        trial.set_user_attr("n_seeds", 16)
    study.tell(trial, float(seeds.mean()))


def optimized(sampler, n=40, direction=MINIMIZE, lag=1, **more) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction=direction)
    sign = 1 if direction == MINIMIZE else -1
    waiting = []
    for _ in range(n):
        waiting.append(ask(study))
        if len(waiting) == lag:
            tell(study, waiting.pop(0), sign=sign, **more)
    return study


def params(study):
    return [trial.params for trial in study.trials]


def test_it_is_tpe_until_there_is_something_to_smooth():
    smoothed, plain = (
        params(optimized(each(seed=1))) for each in (SmoothedTPESampler, TPESampler)
    )
    assert smoothed[:10] == plain[:10]  # at random
    assert smoothed != plain


def test_exact_losses_are_searched_as_tpe_does():
    """The same draws, the same constant liar, and values as they are."""
    smoothed, plain = (
        params(optimized(each(seed=1), lag=3, noise=0.0))
        for each in (SmoothedTPESampler, TPESampler)
    )
    assert smoothed == plain


def test_it_finds_better_points_than_tpe_does():
    def median(sampler, seed):
        study = optimized(sampler(seed=seed), n=60)
        return np.median([loss(trial.params) for trial in study.trials[-20:]])

    better = [median(TPESampler, seed) - median(SmoothedTPESampler, seed) for seed in range(12)]
    assert np.mean(better) > 0
    assert sum(each > 0 for each in better) >= 8


def test_the_study_holds_what_was_told():
    study = optimized(SmoothedTPESampler(seed=1))
    for trial in study.trials:
        rng = np.random.default_rng(trial.number)
        assert trial.value == (loss(trial.params) + 1.2 * rng.normal(size=16)).mean()


def test_what_tpe_is_shown_is_nearer_to_the_truth():
    study = optimized(SmoothedTPESampler(seed=2), n=60)
    shown = study.sampler.smoothed(study.trials, maximize=False)
    assert [trial.number for trial in shown] == list(range(60))
    true = np.array([loss(trial.params) for trial in study.trials])
    errors = [np.std([t.value for t in trials] - true) for trials in (shown, study.trials)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("lag", [1, 4])
def test_maximizing_is_minimizing_the_negative(lag):
    # Each trial's noise has the other sign, too.
    def points(direction):
        sampler = SmoothedTPESampler(seed=3)
        study = optuna.create_study(sampler=sampler, direction=direction)
        sign = 1 if direction == MINIMIZE else -1
        waiting = []
        for _ in range(40):
            waiting.append(ask(study))
            if len(waiting) == lag:
                trial = waiting.pop(0)
                noise = np.random.default_rng(trial.number).normal(0, 0.3)
                trial.set_user_attr("stderr", 0.3)
                trial.set_user_attr("n_seeds", 16)
                study.tell(trial, sign * (loss(trial.params) + noise))
        return params(study)

    assert points(MAXIMIZE) == points(MINIMIZE)


@pytest.mark.parametrize("lag", [1, 3])
def test_a_sampler_that_was_pickled_goes_on_as_if_it_had_not(lag):
    expected = params(optimized(SmoothedTPESampler(seed=4), lag=lag))
    study = optuna.create_study(sampler=SmoothedTPESampler(seed=4))
    waiting = []
    for number in range(40):
        waiting.append(ask(study))
        if len(waiting) == lag:
            tell(study, waiting.pop(0))
        if number % 3 == 0:
            study.sampler = pickle.loads(pickle.dumps(study.sampler))
    assert params(study) == expected


def test_its_state_is_as_small_as_that_of_tpe():
    plain = optimized(TPESampler(seed=1), n=120)
    study = optimized(SmoothedTPESampler(seed=1), n=120)
    assert study.sampler._surrogate.explains
    assert len(pickle.dumps(study.sampler)) < len(pickle.dumps(plain.sampler)) + 200
    assert copy.deepcopy(study.sampler)._surrogate is None


def test_trials_of_a_single_seed_are_smoothed():
    study = optimized(SmoothedTPESampler(seed=5), n=60, attributes=False)
    assert study.sampler._surrogate.explains


def test_a_loss_that_does_not_depend_on_the_params_is_shown_as_it_is():
    study = optuna.create_study(sampler=SmoothedTPESampler(seed=6))
    for _ in range(60):
        trial = ask(study)
        trial.set_user_attr("stderr", 1.0)
        trial.set_user_attr("n_seeds", 16)
        study.tell(trial, np.random.default_rng(trial.number).normal())
    assert not study.sampler._surrogate.explains
    assert study.sampler.smoothed(study.trials, maximize=False) == study.trials


# How trials are encoded.


def complete(values, space=SPACE, value=1.0, **attributes):
    return create_trial(params=values, distributions=space, value=value, user_attrs=attributes)


def test_parameters_are_encoded_as_optuna_transforms_them():
    space = {
        "a": FloatDistribution(-2, 2),
        "b": FloatDistribution(0.01, 100, log=True),
        "c": IntDistribution(0, 10, step=5),
        "d": IntDistribution(1, 3, log=True),
        "e": FloatDistribution(0, 1, step=0.5),
        "f": CategoricalDistribution(("u", "v", 3)),
    }
    rows = [
        {"a": -2.0, "b": 0.01, "c": 0, "d": 1, "e": 0.0, "f": "u"},
        {"a": 1.0, "b": 1.0, "c": 10, "d": 3, "e": 1.0, "f": 3},
    ]
    _, told = told_trials([complete(row, space, value=2.0) for row in rows], maximize=False)
    d = [math.log(n / 0.5) / math.log(7) for n in (1, 3)]
    half = math.sqrt(0.5)
    known = [
        [0, 0, 1 / 6, d[0], 1 / 6, half, 0, 0],
        [0.75, 0.5, 5 / 6, d[1], 5 / 6, 0, 0, half],
    ]
    np.testing.assert_allclose(told.points, known, atol=1e-12)
    assert told.parameters.tolist() == [0, 1, 2, 3, 4, 5, 5, 5]


def test_trials_of_one_part_of_the_plan_have_seeds_in_common():
    trials = optimized(TPESampler(seed=1), n=6).trials
    own, parts, uneven = (
        told_trials(trials, maximize=False, n_plan=n_plan)[1].firsts for n_plan in (0, 64, 40)
    )
    assert own.tolist() == [0, 16, 32, 48, 64, 80]
    assert parts.tolist() == [0, 16, 32, 48, 0, 16]
    assert uneven.tolist() == [0, 16, 32, 8, 24, 0]


def test_candidates_of_tpe_are_compared_by_what_the_model_expects_of_them():
    study = optimized(SmoothedTPESampler(seed=2), n=60)
    sampler, best = study.sampler, min(study.trials, key=lambda each: loss(each.params))
    sampler.smoothed(study.trials, maximize=False)
    candidates = [best.params, {"x": 1.0, "rate": 1e-3, "n": 9, "kind": "plain"}]
    samples = {
        name: np.array([each.to_internal_repr(params[name]) for params in candidates])
        for name, each in SPACE.items()
    }
    good, bad = sampler._compute_acquisition_func(samples, None, None)
    assert good > bad + 3


def estimates(numbers, means, stderr, n_seeds=64):
    return {n: Estimate(mean, stderr, n_seeds) for n, mean in zip(numbers, means, strict=True)}


@pytest.mark.parametrize("sign", [1, -1])
def test_what_fresh_seeds_say_of_trials_is_pooled_with_the_search(sign):
    direction = MINIMIZE if sign == 1 else MAXIMIZE
    study = optimized(SmoothedTPESampler(seed=2), n=60, direction=direction)
    smoothed = smoothed_study(study)
    shown, numbers = smoothed.values(), [50, 3, 7]
    assert list(shown) == list(range(60))
    means = [shown[number] + 0.3 for number in numbers]
    vague, sure = (
        list(smoothed.values(estimates(numbers, means, *each)).values())
        for each in ((9.0, 64), (1e-3, 6400))
    )
    assert vague == pytest.approx([shown[number] for number in numbers], abs=0.1)
    assert sure == pytest.approx(means, abs=0.02)
    (between,) = smoothed.values(estimates([3], [means[1]], 0.3)).values()
    assert vague[1] + 0.02 < between < sure[1] - 0.02
    assert smoothed.values(estimates([3, 60], [1.0, 1.0], 0.1)) == {}  # it does not know them all


def test_fresh_values_have_the_noise_of_their_seeds_in_common():
    """So their differences count for more."""
    study = optimized(SmoothedTPESampler(seed=2), n=60, of=lambda number: number % 4)
    apart = smoothed_study(study)
    study.set_user_attr(N_SEEDS, 64)
    common = smoothed_study(study)
    assert common.surrogate.process.noise_model.shared > 0.5
    numbers, moves = range(40, 48), 0.1 * np.array([1, -1] * 4)
    differences = []
    for smoothed in (apart, common):
        shown = np.array([smoothed.values()[number] for number in numbers])
        fresh = estimates(numbers, (shown + moves).tolist(), 0.3)
        found = np.array(list(smoothed.values(fresh).values()))
        differences.append(np.mean((found - shown) * np.sign(moves)))
    assert differences[1] > 2 * differences[0]


FULL = {"x": 0.5, "rate": 0.1, "n": 3, "kind": "plain"}
LESS = {name: SPACE[name] for name in ("x", "rate")}


def test_what_is_told_of_trials():
    trials = [
        complete(FULL, value=2.0, stderr=0.5, n_seeds=8),
        complete({"x": 0.0, "rate": 0.1}, LESS),
        create_trial(state=TrialState.FAIL, params=FULL, distributions=SPACE),
        create_trial(state=TrialState.PRUNED, params=FULL, distributions=SPACE),
        create_trial(state=TrialState.RUNNING, params=FULL, distributions=SPACE),
        complete(FULL, value=math.inf),
        complete(FULL, value=3.0, stderr=None, n_seeds=1),
        complete(FULL, value=4.0),
    ]
    rows, told = told_trials(trials, maximize=False)
    assert rows == [0, 6, 7]
    assert told.values.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(told.stderrs, [0.5, math.nan, math.nan])
    assert told.n_seeds.tolist() == [8, 1, 1]
    assert told_trials(trials, maximize=True)[1].values.tolist() == [-2, -3, -4]


def test_the_parameters_of_the_newest_trial_count():
    narrow = SPACE | {"x": FloatDistribution(0, 0.5), "n": IntDistribution(3, 3)}
    trials = [complete(FULL | {"x": 1.0}), complete(FULL, narrow)]
    rows, told = told_trials(trials, maximize=False)
    assert rows == [0, 1]
    assert told.parameters.tolist() == [0, 0, 1, 2]  # kind, rate and x; n has a single value
    assert told.points[:, 3].tolist() == [2.0, 1.0]
    rows, told = told_trials([*trials, complete({"x": 0.0, "rate": 0.1}, LESS)], maximize=False)
    assert rows == [0, 1, 2]
    assert told.parameters.tolist() == [0, 1]


@pytest.mark.parametrize("trials", [[], [complete({}, {})]])
def test_without_trials_or_parameters_nothing_is_smoothed(trials):
    assert SmoothedTPESampler(seed=1).smoothed(trials, maximize=False) == trials


def test_after_a_change_of_ranges_it_goes_on():
    study = optimized(SmoothedTPESampler(seed=7), n=30)
    narrow = SPACE | {"x": FloatDistribution(-0.3, 0.3), "n": IntDistribution(3, 5)}
    for _ in range(10):
        trial = study.ask(narrow)
        assert abs(trial.params["x"]) <= 0.3
        tell(study, trial)
    assert study.sampler._surrogate.explains


# At other points than those of trials.


@pytest.mark.parametrize(("direction", "sign"), [(MINIMIZE, 1), (MAXIMIZE, -1)])
def test_the_loss_at_any_point_is_about_its_mean(direction, sign):
    trials = optimized(optuna.samplers.RandomSampler(1), 200, direction, noise=0.05).trials
    points = [{"x": x, "rate": 0.1, "n": 4, "kind": "fancy"} for x in (0.0, 0.5, 1.0)]
    at = {name: [point[name] for point in points] for name in SPACE}
    means = smoothed_at(trials, at, direction == MAXIMIZE)
    assert sign * means == pytest.approx([loss(point) for point in points], abs=0.25)


@pytest.mark.parametrize("n", [0, 9])
def test_the_loss_at_a_point_is_unknown_with_few_trials(n):
    trials = optimized(optuna.samplers.RandomSampler(1), n).trials
    at = {"x": [0.0], "rate": [0.1], "n": [4], "kind": ["fancy"]}
    assert smoothed_at(trials, at, maximize=False) is None


def test_the_loss_at_a_point_is_known_without_noise():
    trials = optimized(optuna.samplers.RandomSampler(1), 200, noise=0.0).trials
    point = {"x": 0.5, "rate": 0.1, "n": 4, "kind": "fancy"}
    means = smoothed_at(trials, {name: [value] for name, value in point.items()}, maximize=False)
    assert means == pytest.approx([loss(point)], abs=0.15)

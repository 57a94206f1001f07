from __future__ import annotations

import itertools
import math
import pickle

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from seedwise.model.surrogate import (
    _FOR_FIT,
    _FOR_POSTERIOR,
    Scale,
    Surrogate,
    Told,
    _rows,
    fit_surrogate,
    fitted_at,
)


def told(points, values, stderrs, n_seeds=16) -> Told:
    n, d = points.shape
    return Told(
        points,
        np.arange(d),
        np.array(values, float),
        np.broadcast_to(np.array(stderrs, float), (n,)),
        np.full(n, n_seeds),
        n_seeds * np.arange(n),
    )


def bowl(seed, n=80, noise=0.1, d=3) -> tuple[Told, np.ndarray]:
    """Trials on a noisy bowl, and their true losses."""
    rng = np.random.default_rng(seed)
    points = rng.random((n, d))
    true = ((points - 0.3) ** 2).sum(1)
    # The standard errors are those of 16 seeds: noisy themselves.
    stderrs = noise * np.sqrt(rng.chisquare(15, n) / 15)
    return told(points, true + rng.normal(0, noise, n), stderrs), true


def in_parts(trials: Told, seed: int, n_parts: int = 4, noise: float = 0.3) -> Told:
    """Of a part of the seeds each, the next trial of the next part, with the noise of the part."""
    parts = np.arange(len(trials)) % n_parts
    shared = np.random.default_rng((seed, 1)).normal(0, noise, n_parts)[parts]
    stderrs = np.hypot(trials.stderrs, noise)
    return attrs.evolve(trials, values=trials.values + shared, stderrs=stderrs, firsts=16 * parts)


def smoothed(trials: Told) -> np.ndarray:
    return fit_surrogate(trials).smoothed(trials)


# What it is for.


@pytest.mark.parametrize("seed", range(5))
def test_smoothed_values_of_a_bowl_err_less_than_the_means(seed):
    trials, true = bowl(seed)
    surrogate = fit_surrogate(trials)
    assert surrogate.explains

    def error(values):
        return np.sqrt(np.mean((values - true) ** 2))

    assert error(surrogate.smoothed(trials)) < 0.6 * error(trials.values)


def test_noise_that_common_seeds_share_cancels_out():
    def spread(trials, true):
        return np.std(smoothed(trials) - true)

    ratios = []
    for seed in range(6):
        trials, true = bowl(seed, noise=0.03)
        trials = in_parts(trials, seed)
        others = attrs.evolve(trials, firsts=16 * np.arange(80))  # of each its own
        ratios.append(spread(trials, true) / spread(others, true))
    assert np.median(ratios) < 0.6


def test_the_share_of_common_seeds():
    trials = attrs.evolve(bowl(1, n=4)[0], firsts=np.array([0, 16, 8, 0]))
    trials = attrs.evolve(trials, n_seeds=np.array([16, 16, 16, 64]))
    everyone = np.arange(4)
    known = [[1, 0, 0.5, 0.5], [0, 1, 0.5, 0.5], [0.5, 0.5, 1, 0.5], [0.5, 0.5, 0.5, 1]]
    np.testing.assert_allclose(trials.common(everyone, everyone), known)
    np.testing.assert_allclose(trials.common(everyone[1:3], everyone[:1]), [[0], [0.5]])


def test_on_noise_alone_it_steps_back():
    """In two cases of three; in the others, the values are drawn together."""
    steps_back = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n, d = rng.integers(12, 120), rng.integers(1, 7)
        trials = told(rng.random((n, d)), rng.normal(0, 1, n), 1.0)
        surrogate = fit_surrogate(trials)
        steps_back += not surrogate.explains
        if surrogate.explains:
            assert np.std(surrogate.smoothed(trials)) < 0.8 * np.std(trials.values)
        else:
            assert surrogate.smoothed(trials) is trials.values
    assert steps_back >= 24


def test_without_standard_errors_the_noise_is_found():
    trials, true = bowl(1, n=120, noise=0.2)
    blind = attrs.evolve(trials, stderrs=np.full(120, np.nan), n_seeds=np.ones(120, int))
    values = smoothed(blind)
    assert np.std(values - true) < 0.6 * np.std(trials.values - true)


def test_a_trial_of_a_single_seed_has_the_variance_of_all():
    trials, _ = bowl(2, n=40)
    few = attrs.evolve(
        trials,
        stderrs=np.where(np.arange(40) < 5, np.nan, trials.stderrs),
        n_seeds=np.where(np.arange(40) < 5, 1, 16),
    )
    scale = Scale.of(few.values)
    pooled = scale.pooled(few)
    np.testing.assert_allclose(scale.noise(few, pooled)[:5], pooled)


def test_exact_values_stay_as_they_are():
    trials, true = bowl(3, noise=0.0)
    surrogate = fit_surrogate(attrs.evolve(trials, values=true))
    assert not surrogate.explains
    assert surrogate.smoothed(trials) is trials.values


# A pure function of what was told.


def test_the_same_trials_give_the_same_bits():
    trials, _ = bowl(4)
    first = smoothed(trials)
    again = pickle.loads(pickle.dumps(trials))
    assert smoothed(again).tobytes() == first.tobytes()


def test_the_fit_depends_on_the_first_trials_only():
    trials, _ = bowl(5)
    at = fitted_at(80)
    assert at < 80
    surrogate = fit_surrogate(trials.first(at))
    for n in range(at, 81):
        early = surrogate.smoothed(trials.first(n))
        assert early.tobytes() == smoothed(trials.first(n)).tobytes()


@given(st.integers(0, 20_000))
@settings(max_examples=50)
def test_a_fit_lasts_a_while(n):
    at = fitted_at(n)
    assert at <= n
    assert fitted_at(at) == at
    assert n - at <= min(0.15 * at, 100)
    assert (at == 0) == (n < 10)


def whole_posterior(surrogate, trials):
    """Weights and covariance, of all trials at once."""
    process = surrogate.process
    everyone = np.arange(len(trials))
    noise = process.noise_model.covariance(
        process.scale.noise(trials, process.pooled), trials.common(everyone, everyone)
    )
    return np.linalg.inv(process.kernel(trials.points, trials.points) + noise)


PARTS = pytest.mark.parametrize("parts", [False, True])


def extended(parts) -> tuple[Told, Surrogate]:
    trials, _ = bowl(6, n=90)
    if parts:
        trials = in_parts(trials, 6)
    surrogate = fit_surrogate(trials)
    assert 0 < len(surrogate.told) < 90
    assert (surrogate.process.noise_model.shared > 0) == parts
    return trials, surrogate


@PARTS
def test_a_fit_is_extended_to_what_a_whole_one_gives(parts):
    """Block by block, the posterior is that of all trials at once."""
    trials, surrogate = extended(parts)
    scale = surrogate.process.scale
    values = scale.forward(trials.values)[0]
    prior = surrogate.process.kernel(trials.points, trials.points)
    means = scale.forward(surrogate.smoothed(trials, kappa=0))[0]
    known = prior @ whole_posterior(surrogate, trials) @ values
    np.testing.assert_allclose(means, known, atol=1e-6)


@PARTS
def test_the_means_at_points_of_trials_are_those_of_the_trials(parts):
    trials, surrogate = extended(parts)
    means = surrogate.posterior(trials).at(trials.points)
    np.testing.assert_allclose(means, surrogate.smoothed(trials, kappa=0), rtol=1e-5)


@PARTS
def test_the_expected_improvement_is_that_of_the_posterior(parts):
    trials, surrogate = extended(parts)
    kernel = surrogate.process.kernel
    points = np.random.default_rng(1).random((50, 3))
    found = surrogate.posterior(trials).log_expected_improvement(points)
    values = surrogate.process.scale.forward(trials.values)[0]
    inverse, across = whole_posterior(surrogate, trials), kernel(points, trials.points)
    means = across @ inverse @ values
    variances = np.diag(kernel(points, points) - across @ inverse @ across.T)
    best = (kernel(trials.points, trials.points) @ inverse @ values).min()
    for one, mean, sd in zip(found, means, np.sqrt(variances), strict=True):
        draws = stats.norm(mean, sd)
        improvement = draws.expect(lambda y: best - y, ub=best, epsabs=1e-14, epsrel=1e-9)
        if improvement > 1e-9:
            assert one == pytest.approx(np.log(improvement), abs=1e-3)
    assert np.isfinite(found).all()
    assert len(set(found)) == 50


# Algebra.

whole = st.integers(-(2**30), 2**30)


@given(st.integers(0, 3), whole, st.integers(-40, 40))
@settings(max_examples=15, deadline=None)
def test_neither_shift_nor_scale_changes_the_ranks(seed, shift, exponent):
    trials, _ = bowl(seed, n=40)
    # Whole numbers, so that shift and scale are exact.
    values = np.round(2**20 * trials.values)
    trials = attrs.evolve(trials, values=values, stderrs=2**20 * trials.stderrs)
    factor = 2.0**exponent
    other = attrs.evolve(trials, values=(values + shift) * factor, stderrs=trials.stderrs * factor)
    one, two = smoothed(trials), smoothed(other)
    assert np.array_equal(np.argsort(one, kind="stable"), np.argsort(two, kind="stable"))
    np.testing.assert_allclose(two / factor - shift, one, rtol=1e-6, atol=1)


@given(st.integers(0, 3), st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_trials_of_a_fit_is_of_no_matter(seed, random):
    trials, _ = bowl(seed, n=fitted_at(50))
    order = np.array(random.sample(range(len(trials)), len(trials)))
    other = trials.of(order)
    np.testing.assert_allclose(smoothed(other), smoothed(trials)[order], atol=2e-3)


@given(st.integers(0, 3), st.integers(0, 39))
@settings(max_examples=15, deadline=None)
def test_a_point_that_is_told_twice_counts_twice(seed, i):
    trials, _ = bowl(seed, n=40)
    twice = [*range(40), i]
    double = attrs.evolve(trials.of(twice), firsts=16 * np.arange(41))
    surrogate = fit_surrogate(trials)
    once, means = surrogate.smoothed(trials, kappa=0), surrogate.smoothed(double, kappa=0)
    assert means[i] == pytest.approx(means[40], abs=1e-6)
    assert abs(means[i] - trials.values[i]) < abs(once[i] - trials.values[i])


losses = st.floats(-1.7e308, 1.7e308)


@given(st.lists(losses, min_size=2, max_size=40))
def test_the_scale_keeps_the_order_and_leads_back(values):
    values = np.array(values)
    scale = Scale.of(values)
    if scale is None:
        return
    warped, slopes = scale.forward(values)
    assert np.isfinite(warped).all()
    assert (slopes >= 0).all()
    assert (np.diff(warped[np.argsort(values)]) >= 0).all()
    assert np.isfinite(scale.back(warped)).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.floats(-3, 3))
def test_the_slope_is_that_of_the_scale(values, z):
    scale = Scale.of(np.array(values))
    if scale is None or scale.unit < 1e-200:  # slopes are kept finite
        return
    here = scale.back(np.array([z * 0.5]))
    step = 1e-6 * 4 * scale.unit
    up, down = (scale.forward(here + s)[0][0] for s in (step, -step))
    slope = scale.forward(here)[1][0]
    assert (up - down) / (2 * step) == pytest.approx(slope, rel=1e-2) or abs(here[0]) > 1e8 * step


def test_the_scale_is_linear_below_the_median_and_compresses_above():
    scale = Scale.of(np.arange(101.0))  # the median is 50, the 10 % quantile 10
    values = np.array([10.0, 30.0, 50.0, 90.0, 1e9, 1e12])
    warped = scale.forward(values)[0] * scale.sd + scale.mean
    np.testing.assert_allclose(warped, [-1, -0.5, 0, math.log(2), 5, 5])
    np.testing.assert_allclose(scale.back(scale.forward(values)[0])[:4], values[:4], atol=1e-9)


# The edges.

EDGES = {
    "none": [],
    "one": [1.0],
    "two": [1.0, 2.0],
    "three": [1.0, 2.0, 0.5],
    "all the same": [0.7] * 30,
    "all but one the same": [0.7] * 29 + [0.1],
    "a plateau below": [0.7] * 20 + [float(i) for i in range(1, 11)],
    "a plateau above": [0.7] * 20 + [-float(i) for i in range(1, 11)],
    "huge": [(-1) ** i * 1e300 * (i + 1) / 30 for i in range(30)],
    "the largest": [(-1) ** i * 1.7e308 for i in range(30)],
    "a penalty": [*np.linspace(0, 1, 29), 1e300],
    "one far below": [*np.linspace(0, 1, 29), -1e300],
    "tiny": [5e-324 * i for i in range(30)],
}


@pytest.mark.parametrize("stderr", [0.0, 0.1, 1e300, math.nan])
@pytest.mark.parametrize("name", EDGES)
def test_edges(name, stderr):
    values = EDGES[name]
    points = np.random.default_rng(0).random((len(values), 2))
    trials = told(points, values, stderr, 1 if math.isnan(stderr) else 8)
    surrogate = fit_surrogate(trials)
    assert np.isfinite(surrogate.smoothed(trials)).all()
    if len(set(values)) < 2 or len(values) < 10:
        assert not surrogate.explains


def test_a_penalty_leaves_the_others_to_be_smoothed():
    trials, true = bowl(7)
    values = np.where(np.arange(80) % 20 == 0, 1e300, trials.values)
    stderrs = np.where(np.arange(80) % 20 == 0, 3e299, trials.stderrs)
    found = smoothed(attrs.evolve(trials, values=values, stderrs=stderrs))
    best = np.argsort(true)[:20]
    best = best[best % 20 != 0]
    error, raw = found[best] - true[best], trials.values[best] - true[best]
    assert np.sqrt(np.mean(error**2)) < np.sqrt(np.mean(raw**2))


def test_points_that_are_all_the_same():
    rng = np.random.default_rng(0)
    trials = told(np.full((30, 2), 0.5), rng.normal(0, 1, 30), 1.0)
    surrogate = fit_surrogate(trials)
    assert np.isfinite(surrogate.smoothed(trials)).all()


def test_without_parameters_there_are_no_neighbours():
    trials = told(np.empty((30, 0)), np.arange(30.0), 1.0)
    assert not fit_surrogate(trials).explains


# Many trials.


@pytest.mark.parametrize("n", [5, 20, 21])
def test_of_many_trials_the_lowest_count_and_some_of_the_others(n):
    values = np.random.default_rng(0).random(100)
    rows = _rows(values, n)
    assert len(set(rows)) == n
    assert (np.diff(rows) > 0).all()
    assert set(np.argsort(values)[: n // 2]) <= set(rows)
    assert values[rows].max() > 0.7
    assert _rows(values, 100).tolist() == list(range(100))


def test_more_trials_than_it_learns_from():
    trials, true = bowl(8, n=_FOR_POSTERIOR + 300, d=2)
    surrogate = fit_surrogate(trials)
    process = surrogate.process
    assert _FOR_FIT < len(process.rows) == _FOR_POSTERIOR < len(surrogate.told) < len(trials)
    errors, raw = np.abs(surrogate.smoothed(trials) - true), np.abs(trials.values - true)
    for rows in (process.rows, process.left_out, range(len(surrogate.told), len(trials))):
        assert np.mean(errors[rows]) < 0.5 * np.mean(raw[rows])


def test_trials_are_the_same_only_with_all_of_them():
    trials, _ = bowl(9, n=12)
    assert trials.same(pickle.loads(pickle.dumps(trials)))
    blind = attrs.evolve(trials, stderrs=np.full(12, np.nan))
    assert blind.same(attrs.evolve(trials, stderrs=np.full(12, np.nan)))
    others = [
        blind,
        trials.first(11),
        attrs.evolve(trials, values=trials.values + 1e-12),
        attrs.evolve(trials, points=trials.points[::-1]),
        attrs.evolve(trials, n_seeds=trials.n_seeds + 1),
        attrs.evolve(trials, firsts=trials.firsts + 1),
    ]
    for one, other in itertools.product([trials], others):
        assert not one.same(other)

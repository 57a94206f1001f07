from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seedwise.model import gaussian_process as gp
from seedwise.model.gaussian_process import JITTER, Kernel, NoiseModel, Sample

PARAMETERS = np.array([0, 1, 2, 2, 2])  # the last is a category of three


def sample(n=25, noise=0.3, guessed=False, n_parts=0) -> Sample:
    parts = np.arange(n) % n_parts if n_parts else np.arange(n)
    common = (parts[:, None] == parts).astype(float)
    rng = np.random.default_rng(1)
    points = np.hstack([rng.random((n, 2)), np.eye(3)[rng.integers(0, 3, n)] / np.sqrt(2)])
    values = np.sin(5 * points[:, 0]) + points[:, 3] + rng.normal(0, noise, n)
    values = (values - values.mean()) / values.std()
    variances = rng.uniform(0.5, 1.5, n) * noise**2
    return Sample(points, PARAMETERS, values, variances, common, guessed)


def squares(points):
    apart = points[:, None] - points[None]
    return np.stack([(apart[:, :, j == PARAMETERS] ** 2).sum(-1) for j in range(3)])


THETA = np.array([-0.5, 0.3, 0.1, 0.2, -0.3])


@pytest.mark.parametrize(("n_parts", "theta"), [(0, THETA), (4, [*THETA, -0.7])])
def test_the_gradient_is_that_of_the_likelihood(n_parts, theta):
    one, theta = sample(n_parts=n_parts), np.array(theta)

    def likelihood(theta):
        return gp._negative_log_likelihood(theta, squares(one.points), one)

    _, gradient = likelihood(theta)
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        slope = (likelihood(theta + step)[0] - likelihood(theta - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_the_likelihood_is_that_of_a_normal_distribution(shared):
    one = sample(n_parts=4)
    theta = np.array([*THETA, np.log(shared)] if shared else THETA)
    kernel = Kernel(np.exp(theta)[PARAMETERS], np.exp(0.2))
    # The mean of the trials that have a part has the same noise in all of them.
    noise = np.sqrt(np.outer(one.noise, one.noise)) * (shared * one.common)
    noise += (1 - shared) * np.diag(one.noise)
    covariance = kernel(one.points, one.points) + np.exp(-0.3) * noise + JITTER * np.eye(25)
    normal = stats.multivariate_normal(np.zeros(25), covariance)
    found = gp._negative_log_likelihood(theta, squares(one.points), one)[0]
    assert found + 12.5 * np.log(2 * np.pi) == pytest.approx(-normal.logpdf(one.values))


def test_the_kernel_is_matern_five_halves_plus_a_constant():
    kernel = Kernel(np.array([0.5]), 2.0)
    scaled = np.sqrt(5) * 0.3 / 0.5
    known = 1 + 2 * (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    np.testing.assert_allclose(kernel(np.array([[0.1]]), np.array([[0.4], [0.1]])), [[known, 3.0]])


def test_points_far_away_are_as_far_from_one_another():
    """Those of a wider range that was searched before."""
    kernel, points = Kernel(np.array([0.5]), 2.0), np.array([[0.0], [0.3], [0.3]])
    far = kernel(points + 1e6, points + 1e6)
    np.testing.assert_allclose(far, kernel(points, points), atol=1e-8)
    assert (far == far.T).all()


def test_the_gain_is_that_of_leaving_one_out():
    one, kernel = sample(12), Kernel(np.array([0.3, 0.8, 1.0, 1.0, 1.0]), 0.9)
    noise = 1.3 * one.noise + JITTER
    gains = gp.gain(one, kernel, NoiseModel(1.3))

    def density(i, covariance):
        others = np.arange(12) != i
        weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, i])
        mean = weights @ one.values[others]
        variance = covariance[i, i] - weights @ covariance[others, i]
        return stats.norm(mean, np.sqrt(variance)).logpdf(one.values[i])

    process = kernel(one.points, one.points) + np.diag(noise)
    means = [np.ones((12, 12)) + np.diag(noise + tau) for tau in np.geomspace(1e-3, 3, 16)]
    best = max(means, key=lambda each: sum(density(i, each) for i in range(12)))
    known = [density(i, process) - density(i, best) for i in range(12)]
    np.testing.assert_allclose(gains, known)


@pytest.mark.parametrize("guessed", [False, True])
def test_the_length_of_a_parameter_without_effect_is_the_longest(guessed):
    kernel, noise = gp.fit(sample(80, guessed=guessed))
    assert kernel.lengths[1] > 3 * kernel.lengths[0]
    assert len(set(kernel.lengths[2:])) == 1
    assert 0.5 < noise.factor < 2


def test_noise_that_is_not_known_is_found():
    rng = np.random.default_rng(2)
    points = rng.random((120, 1))
    values = np.sin(6 * points[:, 0]) + rng.normal(0, 0.5, 120)
    values = (values - values.mean()) / values.std()
    one = Sample(points, np.array([0]), values, np.full(120, 0.1), np.eye(120), True)
    _, noise = gp.fit(one)
    assert 0.1 * noise.factor == pytest.approx(0.25 / (0.25 + 0.5), rel=0.35)


@pytest.mark.parametrize(("shared", "low", "high"), [(0.8, 0.5, 0.95), (0.0, 0.0, 0.2)])
def test_noise_that_common_seeds_share_is_found(shared, low, high):
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        n, parts = 96, np.arange(96) % 8
        points = rng.random((n, 2))
        noise = np.sqrt(shared) * rng.normal(0, 1, 8)[parts]
        noise += np.sqrt(1 - shared) * rng.normal(0, 1, n)
        values = np.sin(5 * points[:, 0]) + 0.4 * noise
        variances = np.full(n, 0.16 / values.var())
        values = (values - values.mean()) / values.std()
        common = (parts[:, None] == parts).astype(float)
        _, model = gp.fit(Sample(points, np.arange(2), values, variances, common, False))
        found.append(model.shared)
    assert low <= np.median(found) <= high

"""A Gaussian process with known noise: its kernel, its hyperparameters, and how well it predicts.

Source: Rasmussen and Williams, Gaussian processes for machine learning, 2006: the kernel is their
equation 4.17, the likelihood and its gradient 5.8 and 5.9, leaving one out 5.10 to 5.12. The noise
of trials on common seeds: Chen, Ankenman and Nelson, ACM TOMACS 22(2), 2012.
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROOT_5 = math.sqrt(5)

# Values have mean 0 and variance 1. Their common level is a constant with a prior of variance 1.
LEVEL = 1.0

# Added to each noise variance, so that points that are there twice can be told without noise.
JITTER = 1e-6

# Priors of the logarithms, and their bounds: mean, standard deviation, lowest, highest. The
# lengths' mean grows with the number of parameters d, as the distance of two points does.
_LENGTH = (math.log(0.3), 0.6, -4.0, 3.0)
_AMPLITUDE = (0.0, 1.5, -6.0, 4.0)
_NOISE = (0.0, 0.4, -3.0, 0.7)
# Where no trial has a standard error, the noise is found from the values alone.
_FREE_NOISE = (0.0, 2.0, -7.0, 2.3)
# How much of the noise of two values is the same where they have all their seeds in common.
_SHARED = (math.log(0.2), 1.5, math.log(0.01), math.log(0.95))

# BLAS differs in the last bits between CPUs; decimals beyond these could carry that further.
_DECIMALS = 3
_ITERATIONS = 30


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have BLAS use a single thread: small matrices are faster, and their bits always the same."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  # it has a BLAS of its own, which is to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@attrs.frozen(eq=False)
class Kernel:
    """Matérn 5/2 with a length for each parameter, plus a constant for the common level."""

    #: Length of each column of the points; columns of one category share theirs.
    lengths: Floats
    amplitude: float

    def __call__(self, one: Floats, other: Floats) -> Floats:
        """Return the covariances of points, (n, d) and (m, d), as (n, m)."""
        from scipy.spatial.distance import cdist

        squares = cdist(one / self.lengths, other / self.lengths, "sqeuclidean")
        covariances: Floats = self.amplitude * _matern(squares)[0] + LEVEL
        return covariances


def _matern(squares: Floats) -> tuple[Floats, Floats]:
    """Return the correlations at squared distances, and the factor of their derivatives."""
    scaled = _ROOT_5 * np.sqrt(squares)
    decay = np.exp(-scaled)
    slope = (1 + scaled) * decay
    return slope + (5 / 3) * squares * decay, (5 / 3) * slope


def lower_factor(matrix: Floats) -> Floats:
    """Return the lower Cholesky factor of a matrix."""
    from scipy.linalg import cholesky

    lower: Floats = cholesky(matrix, lower=True, check_finite=False)
    return lower


def solve_lower(lower: Floats, right: Floats, transposed: bool = False) -> Floats:
    """Solve a lower triangular system, or that of its transpose."""
    from scipy.linalg import solve_triangular

    if not right.size:  # SciPy 1.13 refuses it
        return right
    solved: Floats = solve_triangular(
        lower, right, lower=True, trans=int(transposed), check_finite=False
    )
    return solved


def inverse(lower: Floats) -> Floats:
    """Return the inverse of the matrix of a lower Cholesky factor."""
    from scipy.linalg.lapack import dpotri

    found: Floats = np.tril(dpotri(lower, lower=1)[0])
    return found + np.tril(found, -1).T


@attrs.frozen
class NoiseModel:
    """How the noise of values follows from the variances that are known of it."""

    factor: float
    #: The correlation of the noise of two values that have all their seeds in common.
    shared: float = 0.0

    def covariance(self, variances: Floats, common: Floats) -> Floats:
        """Return the covariance of the noise of values; `common` is that of a `Sample`."""
        covariance = self.between(variances, variances, common)
        np.fill_diagonal(covariance, self.factor * variances + JITTER)
        return covariance

    def between(self, one: Floats, other: Floats, common: Floats) -> Floats:
        """Return the covariance of the noise of values with that of others."""
        if not self.shared:
            return np.zeros((len(one), len(other)))
        scale: Floats = self.factor * self.shared * np.sqrt(np.outer(one, other)) * common
        return scale


@attrs.frozen(eq=False)
class Sample:
    """What hyperparameters are fitted to: points and their noisy values."""

    points: Floats  # (n, number of columns)
    #: Number of the parameter that a column of the points belongs to.
    parameters: NDArray[np.intp]
    #: Of mean 0 and variance 1.
    values: Floats
    #: Noise variance of each value.
    noise: Floats
    #: The share of their seeds that two have in common, (n, n).
    common: Floats
    #: Whether the noise is a guess; its factor is free then.
    noise_is_guessed: bool


def fit(sample: Sample) -> tuple[Kernel, NoiseModel]:
    """Return the most probable kernel and model of the noise."""
    from scipy.optimize import minimize
    from scipy.spatial.distance import cdist

    n_parameters = int(sample.parameters.max()) + 1
    has_common = bool(np.any(sample.common - np.diag(np.diag(sample.common))))
    mean, *spread = _LENGTH
    length = (mean + 0.5 * math.log(n_parameters), *spread)
    noise = _FREE_NOISE if sample.noise_is_guessed else _NOISE
    priors = np.array([*[length] * n_parameters, _AMPLITUDE, noise, *[_SHARED] * has_common])
    means, sds = priors[:, :2].T
    columns = [sample.points[:, sample.parameters == j] for j in range(n_parameters)]
    squares = np.stack([cdist(each, each, "sqeuclidean") for each in columns])

    def loss(theta: Floats) -> tuple[float, Floats]:
        value, gradient = _negative_log_likelihood(theta, squares, sample)
        offsets = (theta - means) / sds
        return value + 0.5 * float(offsets @ offsets), gradient + offsets / sds

    def found(length: float) -> Any:
        start = np.concatenate([np.full(n_parameters, math.log(length)), means[n_parameters:]])
        limits = {"bounds": priors[:, 2:].tolist(), "options": {"maxiter": _ITERATIONS}}
        return minimize(loss, start, jac=True, method="L-BFGS-B", **limits)

    lengths = (0.5, 0.2) if len(sample.values) <= 60 else (0.5,)
    best = min(map(found, lengths), key=lambda result: float(result.fun))
    theta = np.exp(np.round(best.x, _DECIMALS))
    kernel = Kernel(theta[:n_parameters][sample.parameters], float(theta[n_parameters]))
    return kernel, NoiseModel(*theta[n_parameters + 1 :].tolist())


def _negative_log_likelihood(
    theta: Floats, squares: Floats, sample: Sample
) -> tuple[float, Floats]:
    """Return it (without its constant) and its gradient in the logarithms of the parameters."""
    n_parameters = len(squares)
    weights = np.exp(-2 * theta[:n_parameters])
    amplitude = np.exp(theta[n_parameters])
    model = NoiseModel(*np.exp(theta[n_parameters + 1 :]).tolist())
    correlations, slopes = _matern(np.tensordot(weights, squares, 1))
    covariance = amplitude * correlations
    noise = model.covariance(sample.noise, sample.common)
    lower = lower_factor(covariance + LEVEL + noise)
    precision = inverse(lower)
    solved = precision @ sample.values
    value = 0.5 * float(sample.values @ solved) + float(np.log(np.diag(lower)).sum())
    outer = precision - np.outer(solved, solved)
    of_lengths = weights * np.tensordot(squares, outer * (amplitude * slopes), 2)
    of_own = model.factor * (np.diag(outer) @ sample.noise)
    np.fill_diagonal(noise, 0.0)
    of_shared = np.vdot(outer, noise)
    others = [np.vdot(outer, covariance), of_own + of_shared, of_shared]
    gradient = 0.5 * np.concatenate([of_lengths, others])
    return value, gradient[: len(theta)]  # without what is shared where nothing is


def gain(sample: Sample, kernel: Kernel, model: NoiseModel) -> Floats:
    """Return by how much each value is better predicted from the others than by their mean.

    In log density. By the mean, the trials differ, but neighbours are no more alike than others.
    """
    covariance = model.covariance(sample.noise, sample.common)
    noise = np.diag(covariance)
    precision = inverse(lower_factor(kernel(sample.points, sample.points) + covariance))
    variances = 1 / np.diag(precision)
    by_process = _log_density(variances * (precision @ sample.values), variances)
    by_mean = max(
        (_by_mean(sample.values, noise + spread) for spread in np.geomspace(1e-3, 3, 16)),
        key=lambda densities: float(densities.sum()),
    )
    return by_process - by_mean


def _by_mean(values: Floats, variances: Floats) -> Floats:
    """Return the log density of each value, given the others, if only their level is common."""
    weights = 1 / variances
    others = 1 / LEVEL + weights.sum() - weights
    means = ((weights * values).sum() - weights * values) / others
    return _log_density(values - means, variances + 1 / others)


def _log_density(residuals: Floats, variances: Floats) -> Floats:
    return -0.5 * (np.log(variances) + residuals**2 / variances)

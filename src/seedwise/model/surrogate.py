"""The smoothed values of trials: what a trial's neighbours say of its mean, beside its own seeds.

Each trial's value is a noisy mean with a standard error. A Gaussian process over all told trials
(`gaussian_process`) takes neighbours as replicates of one another, as kriging with noise does
(Picheny et al., Technometrics 55, 2013). All of it is a pure function of the told trials.
"""

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model import gaussian_process as gp
from seedwise.model.gaussian_process import Floats, Kernel, NoiseModel, Sample

#: The share of a value's distance from the posterior mean that is left to it. What the kernel
#: can't follow, such as a step, is not lost altogether.
KAPPA = 0.02

#: With fewer trials, values stay as they are.
FEWEST_SMOOTHED = 10
_GROWTH, _LONGEST = 0.15, 100  # a new fit after so many more trials, as a share and at most
_FOR_FIT, _FOR_POSTERIOR = 300, 1000  # trials to learn from, at most
# A trial's variance over seeds is mixed with that of all, as if these were so many seeds.
_POOLED_SEEDS = 10
_GUESSED_NOISE = 0.1  # of the variance of the values, where no trial has a standard error
# Far below the median values are compressed, and far above they are all alike.
_LINEAR, _TOP = 5.0, 5.0
_LARGEST = 1e300
_LARGEST_STDERR = 10  # on the scale of the model
_STANDARDIZED = (-100.0, 30.0)  # there the expected improvement has digits, and no overflow
# The posterior mean has some twelve digits. Equal trials are equal on every CPU.
_DECIMALS = 9


@attrs.frozen(eq=False)
class Told:
    """Trials that were told, in their order."""

    #: A row for each trial, in [0, 1]: a column for a number, and for a category one for each
    #: choice, which is √½ where it was chosen.
    points: Floats
    #: Number of the parameter that a column of the points belongs to.
    parameters: NDArray[np.intp]
    #: To be minimised, and finite.
    values: Floats
    #: Standard errors of the values; NaN for a single seed.
    stderrs: Floats
    n_seeds: NDArray[np.intp]
    #: Number of each one's first seed, which its others follow: trials may have some in common.
    firsts: NDArray[np.intp]

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.values)

    def first(self, n: int) -> "Told":
        """Return the first n trials."""
        return self.of(np.arange(n))

    def of(self, rows: NDArray[np.intp]) -> "Told":
        """Return some of the trials, by number."""
        points, parameters, *others = attrs.astuple(self)
        return Told(points[rows], parameters, *(each[rows] for each in others))

    def and_then(self, later: "Told") -> "Told":
        """Return these trials, and others that were told later."""
        pairs = zip(attrs.astuple(self), attrs.astuple(later), strict=True)
        points, _, *others = (np.concatenate(pair) for pair in pairs)
        return Told(points, self.parameters, *others)

    def common(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> Floats:
        """Return the share of their seeds that some have in common with others, by number."""
        begin, end = self.firsts, self.firsts + self.n_seeds
        both = np.minimum.outer(end[one], end[other]) - np.maximum.outer(begin[one], begin[other])
        sizes = np.multiply.outer(self.n_seeds[one], self.n_seeds[other])
        share: Floats = np.maximum(both, 0) / np.sqrt(sizes)
        return share

    def same(self, other: "Told") -> bool:
        """Return whether another has the same trials."""
        return all(
            np.array_equal(one, two, equal_nan=True)
            for one, two in zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        )


@attrs.frozen(eq=False)
class Scale:
    """The model's scale, linear below the median and logarithmic above: mean 0, variance 1."""

    center: float
    unit: float
    mean: float
    sd: float

    @classmethod
    def of(cls, values: Floats) -> "Scale | None":
        """Return the scale of some values; None if all are the same."""
        # A quarter of the values, whose differences are finite even of 1e308.
        q = np.quantile(values / 4, [0, 0.1, 0.5, 0.9, 1])
        unit = next((u for u in (q[2] - q[1], q[2] - q[0], q[3] - q[2], q[4] - q[2]) if u > 0), 0)
        if not unit:
            return None
        bare = cls(float(q[2]), float(unit), 0.0, 1.0)
        warped, _ = bare.forward(values)
        sd = float(warped.std())
        return attrs.evolve(bare, mean=float(warped.mean()), sd=sd) if sd > 0 else None

    def forward(self, values: Floats) -> tuple[Floats, Floats]:
        """Return values on this scale, and the slope there: the factor of a standard error."""
        with np.errstate(over="ignore"):
            z = np.clip((values / 4 - self.center) / self.unit, -_LARGEST, _LARGEST)
            below, above = np.maximum(-z - _LINEAR, 0), np.maximum(z, 0)
            slopes = 1 / (1 + below) / (1 + above) / self.sd / self.unit / 4
        warped = np.clip(z, -_LINEAR, 0) - np.log1p(below) + np.minimum(np.log1p(above), _TOP)
        return (warped - self.mean) / self.sd, np.minimum(slopes, _LARGEST)

    def back(self, warped: Floats) -> Floats:
        """Return values of this scale as losses."""
        w = warped * self.sd + self.mean
        limit = np.log(_LARGEST)
        below = np.expm1(np.clip(-w - _LINEAR, 0, limit))
        above = np.expm1(np.clip(w, 0, limit))
        z = np.clip(w, -_LINEAR, 0) - below + above
        with np.errstate(over="ignore"):
            losses: Floats = np.nan_to_num(4 * (self.center + self.unit * z))
        return losses

    def pooled(self, told: Told) -> float | None:
        """Return the variance over seeds of all trials; None if none has a standard error."""
        variances, freedom = self._variances_over_seeds(told)
        return float((freedom * variances).sum() / freedom.sum()) if freedom.any() else None

    def noise(self, told: Told, pooled: float | None) -> Floats:
        """Return the variance of each trial's value, given that over the seeds of all trials."""
        if pooled is None:
            return np.full(len(told), _GUESSED_NOISE)
        own, freedom = self._variances_over_seeds(told)
        mixed: Floats = (_POOLED_SEEDS * pooled + freedom * own) / (_POOLED_SEEDS + freedom)
        return mixed / told.n_seeds

    def _variances_over_seeds(self, told: Told) -> tuple[Floats, NDArray[np.intp]]:
        """Return the variance over seeds of each trial's loss, and its degrees of freedom."""
        with np.errstate(over="ignore"):
            stderrs = told.stderrs * self.forward(told.values)[1]
        variances = np.minimum(stderrs, _LARGEST_STDERR) ** 2 * told.n_seeds
        return np.nan_to_num(variances), np.where(np.isnan(variances), 0, told.n_seeds - 1)


@attrs.frozen(eq=False)
class Process:
    """A Gaussian process that was fitted to trials, before it knows the trials told since."""

    kernel: Kernel
    scale: Scale
    #: Variance over seeds, on that scale, as `Scale.pooled` has it.
    pooled: float | None
    noise_model: NoiseModel
    #: Numbers of the trials that it learns from; the others are left out to bound the cost.
    rows: NDArray[np.intp]
    #: Covariance of the noise of their values, and Cholesky factor of that of the values.
    noise_covariance: Floats
    lower: Floats
    left_out: NDArray[np.intp]
    left_out_means: Floats


@attrs.frozen(eq=False)
class Surrogate:
    """What smooths the values of trials, fitted to the first of them."""

    told: Told
    #: None if neighbours predict a value no better than the mean; values then stay as they are.
    process: Process | None

    @property
    def explains(self) -> bool:
        """Whether a trial's neighbours predict its value better than the mean does."""
        return self.process is not None

    def smoothed(self, told: Told, kappa: float = KAPPA) -> Floats:
        """Return the smoothed values of trials, of which the first are those of the fit."""
        return told.values if self.process is None else self.posterior(told).smoothed(kappa)

    @gp.one_blas_thread()
    def posterior(self, told: Told) -> "Posterior":
        """Return what is known of trials, of which the first are those of the fit."""
        process = self.process
        assert process is not None
        kernel, model, lower = process.kernel, process.noise_model, process.lower
        values = process.scale.forward(told.values)[0]
        variances = process.scale.noise(told, process.pooled)
        rows, since = process.rows, np.arange(len(self.told), len(told))
        across = model.between(variances[rows], variances[since], told.common(rows, since))
        own = model.covariance(variances[since], told.common(since, since))
        points = told.points[since]
        edge = gp.solve_lower(lower, kernel(told.points[rows], points) + across).T
        corner = gp.lower_factor(kernel(points, points) + own - edge @ edge.T)
        first = gp.solve_lower(lower, values[rows])
        later = gp.solve_lower(corner, values[since] - edge @ first)
        later = gp.solve_lower(corner, later, transposed=True)
        first = gp.solve_lower(lower, first - edge.T @ later, transposed=True)
        means = values.copy()
        # The covariance with a trial is that of its value less the noise: no kernel is needed.
        means[rows] -= process.noise_covariance @ first + across @ later
        means[since] -= across.T @ first + own @ later
        means[process.left_out] = process.left_out_means
        points = np.concatenate([told.points[rows], points])
        solved = np.concatenate([first, later])
        return Posterior(process, values, means, points, edge, corner, solved)


def fitted_at(n: int) -> int:
    """Return to how many of n told trials a surrogate is fitted; 0 if they are too few."""
    at = 0
    while (then := max(FEWEST_SMOOTHED, at + 1 + min(int(_GROWTH * at), _LONGEST))) <= n:
        at = then
    return at


@gp.one_blas_thread()
def fit_surrogate(told: Told) -> Surrogate:
    """Fit a surrogate to the first `fitted_at` of some trials."""
    first = told.first(fitted_at(len(told)))
    scale = Scale.of(first.values) if first.points.size else None
    pooled = scale.pooled(first) if scale is not None else None
    if scale is None or pooled == 0:  # exact values need no smoothing
        return Surrogate(first, None)
    values, variances = scale.forward(first.values)[0], scale.noise(first, pooled)

    def sample(rows: NDArray[np.intp]) -> Sample:
        own = first.points[rows], first.parameters, values[rows], variances[rows]
        return Sample(*own, first.common(rows, rows), noise_is_guessed=pooled is None)

    few = sample(_rows(values, _FOR_FIT))
    kernel, model = gp.fit(few)
    # To be surer costs more than it saves: smoothed noise is still noise, but a weak dependence on
    # the params is what a search with few seeds lives on.
    if gp.gain(few, kernel, model).sum() <= 0:
        return Surrogate(first, None)
    rows = _rows(values, _FOR_POSTERIOR)
    many = sample(rows)
    covariance = model.covariance(many.noise, many.common)
    lower = gp.lower_factor(kernel(many.points, many.points) + covariance)
    left_out = np.setdiff1d(np.arange(len(first)), rows)
    solved = gp.solve_lower(lower, gp.solve_lower(lower, many.values), transposed=True)
    means = kernel(first.points[left_out], many.points) @ solved
    process = Process(kernel, scale, pooled, model, rows, covariance, lower, left_out, means)
    return Surrogate(first, process)


def _rows(values: Floats, n: int) -> NDArray[np.intp]:
    """Return the numbers of at most n trials: the lowest, and as many, evenly, of the others."""
    if len(values) <= n:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    others = np.sort(order[n // 2 :])
    spread = others[np.linspace(0, len(others) - 1, n - n // 2).round().astype(int)]
    return np.sort(np.concatenate([order[: n // 2], spread]))


@attrs.frozen(eq=False)
class Posterior:
    """What a fitted process says, once it knows the trials told since, too."""

    process: Process
    #: Values and posterior means of all trials, on the scale of the model.
    values: Floats
    means: Floats
    #: Points of the trials that it knows: of the fit, and told since.
    points: Floats
    #: The Cholesky factor in blocks: that of the process, and these two below it.
    edge: Floats
    corner: Floats
    #: The inverse of the covariance times the values.
    solved: Floats

    def smoothed(self, kappa: float = KAPPA) -> Floats:
        """Return the smoothed values of the trials."""
        smoothed = self.means + kappa * (self.values - self.means)
        return self.process.scale.back(np.round(smoothed, _DECIMALS))

    @gp.one_blas_thread()
    def at(self, points: Floats) -> Floats:
        """Return the mean losses at points."""
        return self.process.scale.back(self.process.kernel(points, self.points) @ self.solved)

    @gp.one_blas_thread()
    def log_expected_improvement(self, points: Floats) -> Floats:
        """Return the logarithm of by how much each point is expected to be better than all trials.

        Their posterior means count. Source: Jones, Schonlau and Welch, Journal of Global
        Optimization 13, 1998, equation 15.
        """
        from scipy.special import log_ndtr

        kernel, n = self.process.kernel, len(self.process.rows)
        covariance = kernel(self.points, points)
        first = gp.solve_lower(self.process.lower, covariance[:n])
        later = gp.solve_lower(self.corner, covariance[n:] - self.edge @ first)
        variances = kernel.amplitude + gp.LEVEL - (first**2).sum(0) - (later**2).sum(0)
        sds = np.sqrt(np.maximum(variances, gp.JITTER))
        z = np.clip((self.means.min() - covariance.T @ self.solved) / sds, *_STANDARDIZED)
        log_density = -0.5 * (z**2 + np.log(2 * np.pi))
        ratio = np.exp(log_ndtr(z) - log_density)
        found: Floats = np.log(sds) + log_density + np.log1p(z * ratio)
        return np.round(found, _DECIMALS)

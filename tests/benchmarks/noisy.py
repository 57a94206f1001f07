"""Noisy problems of different shapes, whose true loss is known: for `bench_racing`.

Seeds are 0 to `N_SEEDS` - 1. A loss of a point and a seed is its true loss plus noise, which has a
part that all points share at the seed (common random numbers) and a part of the point's own.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

import seedwise as sw
from seedwise.model.space import ParameterSpace

N_SEEDS = 8192
N_TRUE_SEEDS = 16384

Array = NDArray[np.float64]
Point = dict[str, float]


def floats(n: int) -> ParameterSpace:
    return {f"x{i}": sw.search_param(range=(0.0, 1.0)) for i in range(n)}


def point_key(point: Point) -> int:
    return zlib.crc32(repr(sorted(point.items())).encode())


@attrs.frozen(eq=False)
class Shape:
    """A function with noise of a stated kind added.

    `spread` is the standard deviation of the noise where the loss is lowest, and `growth` how fast
    it grows with the loss. `shared` is the share of its variance that all points have in common.
    """

    name: str
    space: ParameterSpace
    function: Callable[[Array], float]
    lowest: float
    spread: float
    shared: float = 0.0
    growth: float = 0.0
    tail: str = "normal"

    def true_loss(self, point: Point) -> float:
        return self.function(np.array(list(point.values()), dtype=float))

    def losses(self, point: Point, seeds: NDArray[np.int64], repetition: int) -> Array:
        mean = self.true_loss(point)
        spread = self.spread * (1 + self.growth * (mean - self.lowest))
        noise = np.sqrt(1 - self.shared) * draws(self.tail, (repetition, point_key(point)))[seeds]
        if self.shared:
            noise = noise + np.sqrt(self.shared) * draws(self.tail, (repetition,))[seeds]
        return mean + spread * noise


@functools.lru_cache(maxsize=512)
def draws(tail: str, key: tuple[int, ...]) -> Array:
    """Return noise of mean 0 and variance 1 for each seed."""
    rng = np.random.default_rng((20251, *key))
    if tail == "t3":
        return rng.standard_t(3, N_SEEDS) / np.sqrt(3)
    if tail == "lognormal":
        e = np.exp(1.0)
        return (rng.lognormal(size=N_SEEDS) - np.sqrt(e)) / np.sqrt((e - 1) * e)
    return rng.standard_normal(N_SEEDS)


@attrs.define(eq=False, slots=False)
class Simulator:
    """A simulator whose summary statistics are compared with those of known params."""

    name: str
    space: ParameterSpace
    #: Takes a point and uniform draws, shape (n, n_draws); returns statistics, shape (n, k).
    simulate: Callable[[Array, Array], Array]
    n_draws: int
    #: The params that made the statistics; the lowest loss is elsewhere, where they vary less.
    optimum: tuple[float, ...]
    #: Found by Nelder and Mead's method on the true loss, from three points.
    lowest: float

    @functools.cached_property
    def target(self) -> tuple[Array, Array]:
        found = self.simulate(np.array(self.optimum), uniforms(1, 20_000, self.n_draws))
        return found.mean(axis=0), found.std(axis=0) + 1e-9

    def distances(self, point: Point, uniform: Array) -> Array:
        found = self.simulate(np.array(list(point.values()), dtype=float), uniform)
        mean, spread = self.target
        return (((found - mean) / spread) ** 2).mean(axis=1)

    def true_loss(self, point: Point) -> float:
        return float(self.distances(point, uniforms(2, N_TRUE_SEEDS, self.n_draws)).mean())

    def losses(self, point: Point, seeds: NDArray[np.int64], repetition: int) -> Array:
        return self.distances(point, uniforms(10 + repetition, N_SEEDS, self.n_draws)[seeds])


@functools.lru_cache(maxsize=8)
def uniforms(key: int, n: int, n_draws: int) -> Array:
    return np.random.default_rng((20252, key)).random((n, n_draws), dtype=np.float32)


def bowl(x: Array) -> float:
    return float(np.sum((x - 0.3) ** 2))


def uneven_bowl(x: Array) -> float:
    weights = np.array([4, 2, 1, 1, 0.5, 0.5, 0.25, 0.25])
    return float(weights @ (x - 0.35) ** 2)


def branin(x: Array) -> float:
    a, b = 15 * x[0] - 5, 15 * x[1]
    valley = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return float(valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10 - 0.397887)


_HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_HARTMANN_P = np.array(
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
)


def hartmann(x: Array) -> float:
    heights = np.array([1, 1.2, 3, 3.2])
    return float(3.32237 - heights @ np.exp(-np.sum(_HARTMANN_A * (x - _HARTMANN_P) ** 2, axis=1)))


def rosenbrock(x: Array) -> float:
    y = 4 * x - 2
    return float(np.sum(100 * (y[1:] - y[:-1] ** 2) ** 2 + (1 - y[:-1]) ** 2) / 100)


def ackley(x: Array) -> float:
    y = 20 * (x - 0.37)
    wide, waves = np.exp(-0.2 * np.sqrt(np.mean(y**2))), np.exp(np.mean(np.cos(2 * np.pi * y)))
    return float(20 + np.e - 20 * wide - waves)


def steps(x: Array) -> float:
    weights = np.array([0.5, 0.5, 1, 1, 2, 2])
    return float(weights @ np.floor(20 * np.abs(x - 0.43)) / 20)


def mixed(x: Array) -> float:
    costs = np.array([[0, 0.6, 0.9, 0.3], [0.5, 0, 0.25, 0.8]])
    kind = costs[0, int(x[3])]
    smooth = 2 * (x[0] - 0.3) ** 2 + 2 * (x[1] - 0.6) ** 2 + ((x[2] - 7) / 10) ** 2
    return float(smooth + kind + costs[1, int(x[4])] + 0.5 * abs(x[0] - 0.3) * kind)


MIXED_SPACE = {
    **floats(2),
    "n": sw.search_param(range=(1, 20), dtype="int"),
    "first": sw.search_param(allowed=(0, 1, 2, 3)),
    "second": sw.search_param(allowed=(0, 1, 2, 3)),
}


def learner(x: Array, uniform: Array) -> Array:
    """Simulate an agent that learns which of two options pays, which changes halfway.

    Params are two learning rates (gains, losses), sensitivity, stickiness and forgetting.
    Statistics are how often it took the first option in each tenth, and how often it stayed.
    """
    gain, loss, sensitivity, sticky, forget = x[0], x[1], 12 * x[2], 3 * x[3] - 0.9, x[4] / 2
    n, n_steps = len(uniform), uniform.shape[1] // 2
    values, last = np.full((n, 2), 0.5), np.zeros(n)
    taken = np.empty((n_steps, n), dtype=bool)
    for step in range(n_steps):
        urge = sensitivity * (values[:, 0] - values[:, 1]) + sticky * last
        first = uniform[:, 2 * step] < 1 / (1 + np.exp(-urge))
        pays = 0.75 if step < n_steps // 2 else 0.25
        reward = uniform[:, 2 * step + 1] < np.where(first, pays, 1 - pays)
        index = np.where(first, 0, 1)
        surprise = reward - values[np.arange(n), index]
        values[np.arange(n), index] += np.where(surprise > 0, gain, loss) * surprise
        values[np.arange(n), 1 - index] += forget * (0.5 - values[np.arange(n), 1 - index])
        last = np.where(first, 1.0, -1.0)
        taken[step] = first
    rates = taken.reshape(10, -1, n).mean(axis=1)
    stayed = (taken[1:] == taken[:-1]).mean(axis=0)
    return np.column_stack([*rates, stayed])


def epidemic(x: Array, uniform: Array) -> Array:
    """Simulate an epidemic in steps of a day, with binomial noise by normal approximation.

    Params are contagion, recovery, the number infected at first, and the share that is reported.
    Statistics are the square roots of the reported cases, every third day.
    """
    from scipy.special import ndtri

    recovery, reported, people = 0.1 + 0.4 * x[1], 0.1 + 0.8 * x[3], 5000.0
    contagion = (1.1 + 3 * x[0]) * recovery
    infected = np.full(len(uniform), 5 + 60 * x[2])
    healthy = people - infected
    normal = ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
    cases = []
    for day in range(uniform.shape[1] // 2):
        p = 1 - np.exp(-contagion * infected / people)
        caught = healthy * p + np.sqrt(healthy * p * (1 - p)) * normal[:, 2 * day]
        caught = np.clip(caught, 0, healthy)
        healed = infected * recovery
        healed = healed + np.sqrt(healed * (1 - recovery)) * normal[:, 2 * day + 1]
        healed = np.clip(healed, 0, infected)
        healthy, infected = healthy - caught, infected + caught - healed
        cases.append(np.sqrt(reported * caught))
    return np.column_stack(cases[::3])


PROBLEMS: dict[str, Shape | Simulator] = {
    problem.name: problem
    for problem in (
        Shape("bowl 4", floats(4), bowl, 0, 0.1),
        Shape("bowl 4, shared", floats(4), bowl, 0, 0.3, shared=0.9),
        Shape("bowl 4, loud", floats(4), bowl, 0, 1.0, shared=0.5),
        Shape("bowl 8", floats(8), uneven_bowl, 0, 1.0, shared=0.5),
        Shape("Branin, growing", floats(2), branin, 0, 1.0, shared=0.5, growth=0.2),
        Shape("Hartmann 6", floats(6), hartmann, 0, 1.5),
        Shape("Hartmann 6, t3", floats(6), hartmann, 0, 1.5, shared=0.5, tail="t3"),
        Shape("Rosenbrock 4, growing", floats(4), rosenbrock, 0, 0.5, growth=1.0),
        Shape("Ackley 4", floats(4), ackley, 0, 6.0, shared=0.5),
        Shape("steps 6", floats(6), steps, 0, 1.0, shared=0.5),
        Shape("mixed 5, lognormal", MIXED_SPACE, mixed, 0, 1.0, shared=0.5, tail="lognormal"),
        Simulator("learner 5", floats(5), learner, 160, (0.45, 0.3, 0.35, 0.55, 0.2), 0.736),
        Simulator("epidemic 4", floats(4), epidemic, 120, (0.4, 0.5, 0.3, 0.6), 0.944),
    )
}

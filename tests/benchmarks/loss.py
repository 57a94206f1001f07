"""The loss of the benchmarks: about 0.1 ms a seed, in pure Python."""

from __future__ import annotations

import random

import seedwise as sw

N_DRAWS = 340


@sw.loss(
    name="walk",
    description="distance of a noisy walk from its goal",
    parameter_space={"drift": (-1.0, 1.0), "pull": (0.0, 1.0)},
)
def walk(params, seed):
    gauss = random.Random(seed).gauss
    x = 0.0
    for _ in range(N_DRAWS):
        x += params["drift"] - params["pull"] * x + gauss(0.0, 0.1)
    return (x - 0.5) ** 2

"""The loss of the benchmarks as a plain function: about 0.1 ms a seed, in pure Python.

It imports nothing of seedwise, so that other programs' workers need not load it.
"""

from __future__ import annotations

import random

NAME = "walk"
DESCRIPTION = "distance of a noisy walk from its goal"
SPACE = {"drift": (-1.0, 1.0), "pull": (0.0, 1.0)}
N_DRAWS = 340


def plain_walk(params, seed):
    gauss = random.Random(seed).gauss
    x = 0.0
    for _ in range(N_DRAWS):
        x += params["drift"] - params["pull"] * x + gauss(0.0, 0.1)
    return (x - 0.5) ** 2


def mean_loss(params, seeds):
    losses = [plain_walk(params, seed) for seed in seeds]
    return sum(losses) / len(losses)

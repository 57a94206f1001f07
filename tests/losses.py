"""Losses for the tests: small, noisy, and sensitive to any change of a bit.

Each worker imports the module of a loss for each run, so one of its own is quicker than a test's.
"""

from __future__ import annotations

import random

import numpy as np

import seedwise as sw

SPACE = {
    "x": (-2.0, 2.0),
    "rate": sw.search_param(range=(1e-3, 1.0), dtype="log"),
    "n": sw.search_param(range=(1, 9), dtype="int"),
    "kind": sw.search_param(allowed=["plain", "fancy"]),
    "flip": sw.search_param(dtype="bool"),
}


@sw.loss(name="bowl", description="a noisy bowl", parameter_space=SPACE)
def bowl(params, seed):
    noise = random.Random(seed).gauss(0.0, 1.0)
    height = (params["x"] - 0.5) ** 2 + abs(params["rate"] - 0.1) + abs(params["n"] - 4) / 7
    return height + noise * (1.1 if params["kind"] == "fancy" else 0.9) + 0.3 * params["flip"]


@sw.loss(
    name="bowls", description="the same, a chunk at a time", parameter_space=SPACE, vectorized=True
)
def bowls(params, seeds):
    return np.array([bowl(params, seed) for seed in seeds.tolist()])


@sw.loss(name="picky", description="fails on seed 7 for x > 0", parameter_space={"x": (-1, 1)})
def picky(params, seed):
    if seed == 7 and params["x"] > 0:
        raise ZeroDivisionError(f"x={params['x']!r} is too much for seed {seed}")
    return params["x"] + random.Random(seed).random()


@sw.loss(name="lonely", description="noise of its own at each point", parameter_space=SPACE)
def lonely(params, seed):
    noise = random.Random(f"{sorted(params.items())} {seed}").gauss(0.0, 1.0)
    return (params["x"] - 0.5) ** 2 + abs(params["n"] - 4) / 7 + noise


@sw.loss(name="own bowl", description="a bowl for each entry", parameter_space=SPACE)
def own_bowl(params, seed, context):
    shift = random.Random(context["entry_id"]).uniform(-1, 1)
    return bowl({**params, "x": params["x"] - shift}, seed)


@sw.loss(name="bad ben", description="fails for ben", parameter_space=SPACE)
def bad_ben(params, seed, context):
    if context["entry_id"] == "ben" and context["trial_number"] == 2:
        raise ValueError(f"ben does not like {params['kind']}")
    return own_bowl(params, seed, context)


@sw.loss(name="parted", description="fails for ben", parameter_space={"x": (0, 1), "n": (0, 1)})
def parted(params, seed, context):
    if context["entry_id"] == "ben" and context["trial_number"] == 1:
        raise ValueError("could not convert ben")
    value = params["x"] + 0.1 * seed
    return {"total_loss": value, "components": {"half": value / 2}}


@sw.loss(name="cliff", description="fails beyond 0", parameter_space={"x": (-1.0, 1.0)})
def cliff(params, seed):
    if params["x"] > 0:
        raise ArithmeticError("diverged")
    return -params["x"] + seed


# Functions for losses of one name: the code of one, and what it is corrected to.


def wrong(params, seed):
    if params["x"] > 0.4 and seed == 4:
        raise ArithmeticError("diverged")
    return right(params, seed)


def right(params, seed):
    return (params["x"] - 0.3) ** 2 + params["y"] + random.Random(seed).random()

"""The loss of ``seedwise demo``; a copy of this file is a beginning of your own."""

import math
import random

import seedwise as sw

TARGET_M = 30.0
GUSTS_M_PER_S = 2.0
EFFORT = 0.05


@sw.loss(
    name="demo",
    description="how far a throw in gusty wind lands from its target, and the effort it takes",
    parameter_space={"speed": (5.0, 32.5), "angle": (7.5, 80.0)},
)
def throw(params, seed):  # type: ignore[no-untyped-def]
    """Return the loss of one throw; the seed decides the wind."""
    wind = random.Random(seed).gauss(0, GUSTS_M_PER_S)
    speed, angle = params["speed"], math.radians(params["angle"])
    flight_s = 2 * speed * math.sin(angle) / 9.81
    lands_m = (speed * math.cos(angle) + wind) * flight_s
    return (lands_m - TARGET_M) ** 2 + EFFORT * speed**2


def exact_mean(speed: float, angle: float) -> float:
    """Return the mean loss over all winds, which few losses have a formula for."""
    flight_s = 2 * speed * math.sin(math.radians(angle)) / 9.81
    miss_m = speed * math.cos(math.radians(angle)) * flight_s - TARGET_M
    return miss_m**2 + (GUSTS_M_PER_S * flight_s) ** 2 + EFFORT * speed**2

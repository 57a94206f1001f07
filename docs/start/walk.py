"""A random walk that is to end at 10."""

import random

import seedwise as sw


@sw.loss(
    name="walk",
    description="squared distance of a random walk from its goal",
    parameter_space={
        "drift": (-1.0, 1.0),
        "noise": sw.search_param(range=(1e-3, 1.0), log=True),
    },
)
def walk(params, seed):
    rng = random.Random(seed)
    x = sum(params["drift"] + rng.gauss(0, params["noise"]) for _ in range(20))
    return (x - 10) ** 2


if __name__ == "__main__":  # workers import this file
    result = sw.optimize_run(walk, n_trials=40, n_seeds=256)
    print(result.validated_params)
    print(result.validated_value, "±", result.validated_stderr)

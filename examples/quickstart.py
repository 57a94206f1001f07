"""Fit a learning agent to its world: a noisy loss, averaged over up to 400 seeds.

    python examples/quickstart.py

An agent learns by trial and error which of four slot machines pays best. How well it does depends
on luck as much as on its two parameters, so each pair of parameters is judged by the mean over
many lives. Takes a few seconds on a laptop.
"""

import math
import random

import seedwise as sw


@sw.loss(
    name="bandit",
    description="reward that a Q-learning agent misses in 60 pulls of four slot machines",
    parameter_space={
        "learning_rate": sw.search_param(range=(0.01, 1.0), log=True),
        "temperature": sw.search_param(range=(0.02, 5.0), log=True),
    },
)
def bandit(params, seed):
    rng = random.Random(seed)
    payout = [rng.random() for _ in range(4)]
    value = [0.5] * 4
    missed = 0.0
    for _ in range(60):
        weights = [math.exp(v / params["temperature"]) for v in value]
        arm = rng.choices(range(4), weights)[0]
        reward = float(rng.random() < payout[arm])
        value[arm] += params["learning_rate"] * (reward - value[arm])
        missed += max(payout) - payout[arm]
    return missed


if __name__ == "__main__":
    result = sw.optimize_run(bandit, n_trials=30, n_seeds=400)
    # Of seeds that the search did not see: the best of its own values is too good to be true.
    print(f"best parameters: {result.validated_params}")
    print(f"missed reward:   {result.validated_value:.2f} ± {result.validated_stderr:.2f}")
    print(f"run folder:      {result.run_dir}")

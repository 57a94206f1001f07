"""The benchmarks' loss as slurptuna has it; its workers import this file."""

from __future__ import annotations

from slurptuna import loss

from tests.benchmarks.loss import walk

slurptuna_walk = loss(
    name="walk",
    description="distance of a noisy walk from its goal",
    parameter_space={"drift": (-1.0, 1.0), "pull": (0.0, 1.0)},
)(walk.function)

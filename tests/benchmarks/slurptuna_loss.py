"""The benchmarks' loss as slurptuna has it; its workers import this file."""

from __future__ import annotations

from slurptuna import loss

from tests.benchmarks.plain import DESCRIPTION, NAME, SPACE, plain_walk

slurptuna_walk = loss(name=NAME, description=DESCRIPTION, parameter_space=SPACE)(plain_walk)

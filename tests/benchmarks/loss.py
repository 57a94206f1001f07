"""The loss of the benchmarks: about 0.1 ms a seed, in pure Python."""

from __future__ import annotations

import seedwise as sw
from tests.benchmarks.plain import DESCRIPTION, NAME, SPACE, plain_walk


@sw.loss(name=NAME, description=DESCRIPTION, parameter_space=SPACE)
def walk(params, seed):
    return plain_walk(params, seed)

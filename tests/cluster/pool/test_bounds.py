"""How many workers options allow, here and on Slurm."""

from __future__ import annotations

import pytest
from dask.system import CPU_COUNT

from seedwise.cluster.place import Demand
from seedwise.cluster.pool.size import worker_bounds
from seedwise.model.options.study import RunOptions


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ({}, (40, 40)),
        ({"array_parallelism_limit": 3}, (3, 3)),
        ({"workers": 7}, (7, 7)),
        ({"workers": 7, "array_parallelism_limit": 3}, (3, 3)),
        ({"workers": (2, 9)}, (2, 9)),
        ({"workers": (2, 9), "array_parallelism_limit": 5}, (2, 5)),
        ({"workers": (60, 900)}, (60, 900)),
    ],
)
def test_on_slurm(options, bounds):
    made = RunOptions.from_keywords({"cluster": "slurm", **options})
    assert worker_bounds(made, Demand(40, 1)) == bounds


def test_without_a_word_there_are_no_more_than_a_hundred_jobs():
    made = RunOptions.from_keywords({"cluster": "slurm"})
    assert worker_bounds(made, Demand(4000, 1)) == (100, 100)
    assert worker_bounds(made, Demand(40, 4)) == (10, 10)


def test_on_this_machine():
    def bounds(**options):
        return worker_bounds(RunOptions.from_keywords(options), Demand(4000, 1))

    assert bounds() == (CPU_COUNT, CPU_COUNT)
    assert bounds(worker_parallelism=CPU_COUNT) == (1, 1)
    assert bounds(workers=(1, 500)) == (1, 500)
    assert bounds(workers=3, array_parallelism_limit=2) == (3, 3)

"""Losses that sleep, so that one machine can have any number of slots."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
from distributed import Client, LocalCluster

import seedwise as sw
from seedwise.cluster.local import _spawned_without_script

SPACE = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
N_WORKERS = 2


def sleeping(name: str, seed_s: float) -> sw.LossDefinition:
    """Return a loss that sleeps for so long a seed; it is the same wherever it is made."""

    @sw.loss(name=name, description="sleeps", parameter_space=SPACE, vectorized=True)
    def sleeps(params, seeds):
        time.sleep(seed_s * len(seeds))
        return (params["x"] - 0.3) ** 2 + (params["y"] - 0.7) ** 2 + noise(seeds)

    return sleeps


def noise(seeds: np.ndarray) -> np.ndarray:
    """Return numbers of spread 0.5, one for each seed."""
    return np.sin(seeds * 12.9898) / np.sqrt(2)


@contextlib.contextmanager
def slots(n_slots: int) -> Iterator[Client]:
    """Open two workers with so many threads together, as bare as those of a job.

    Workers that import the script hold its modules already, and each slot gets a process of its
    own for the snapshot's.
    """
    threads = n_slots // N_WORKERS
    settings = {"n_workers": N_WORKERS, "threads_per_worker": threads, "dashboard_address": ":0"}
    with (
        _spawned_without_script(),
        LocalCluster(**settings) as cluster,
        Client(cluster) as client,
    ):
        yield client

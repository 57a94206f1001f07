"""How many workers there were over time, and how fast they evaluated seeds."""

from __future__ import annotations

import time

from seedwise.model.events import Event, Progress, TrialFinished
from seedwise.model.status import RunStatus

_MOST = 2000
_RATE_OVER_S = 60.0


class Workers:
    """Samples of a run at work; it is a listener, too, and takes one with each progress."""

    def __init__(self, *, is_live: bool) -> None:
        #: Whether it gets the events of the run; if not, who reads the run's folder takes samples.
        self.is_live = is_live
        #: The time, workers at work and pending, and seeds evaluated, at each sample.
        self.samples: list[tuple[float, int, int, int]] = []
        self._n_seeds = 0

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        if isinstance(event, TrialFinished):
            self._n_seeds += event.trial.n_seeds
        elif isinstance(event, Progress):
            self.take(event.status, self._n_seeds)

    def take(self, status: RunStatus, n_seeds: int) -> None:
        """Take a sample; `n_seeds` are those of the trials that are told."""
        n_seeds += status.running_seeds_done + status.validation_seeds_done
        pool = status.pool
        joined, pending = (0, 0) if pool is None else (pool.joined, pool.pending)
        samples = [*self.samples, (time.time(), joined, pending, n_seeds)]
        self.samples = samples if len(samples) <= _MOST else samples[::2]

    @property
    def seeds_per_s(self) -> float | None:
        """Seeds a second in the last minute; None if unknown."""
        samples = self.samples
        if len(samples) < 2:
            return None
        end_s, _, _, n_seeds = samples[-1]
        begin_s, _, _, n_before = next(
            (one for one in samples[:-1] if end_s - one[0] <= _RATE_OVER_S), samples[-2]
        )
        return (n_seeds - n_before) / (end_s - begin_s) if n_seeds > n_before else None

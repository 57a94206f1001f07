"""How many workers there were over time, and how fast they evaluated seeds."""

from __future__ import annotations

import time

from seedwise.model.events import Event, Progress, TrialFinished
from seedwise.model.status import RunStatus

_MOST = 2000
_RATE_OVER_S = 60.0


class Workers:
    """Samples of a run; as a listener of one that is at work here it takes them by itself."""

    def __init__(self, *, is_live: bool) -> None:
        #: Whether it is a listener; if not, who reads the run's folder takes samples.
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
        joined, pending = (status.pool.joined, status.pool.pending) if status.pool else (0, 0)
        samples = [*self.samples, (time.time(), joined, pending, n_seeds)]
        self.samples = samples if len(samples) <= _MOST else samples[::2]

    @property
    def seeds_per_s(self) -> float | None:
        """Seeds a second in the last minute; None if unknown."""
        recent = [one for one in self.samples if self.samples[-1][0] - one[0] <= _RATE_OVER_S]
        if len(recent) < 2 or recent[-1][3] <= recent[0][3]:
            return None
        return (recent[-1][3] - recent[0][3]) / (recent[-1][0] - recent[0][0])

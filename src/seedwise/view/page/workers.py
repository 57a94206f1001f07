"""How many workers there were over time."""

import time

from seedwise.model.events import Event, Progress
from seedwise.model.status import RunStatus

_MOST = 2000


class Workers:
    """Samples of a run; as a listener of one that is at work here it takes them by itself."""

    def __init__(self, *, is_live: bool) -> None:
        #: Whether it is a listener; if not, who reads the run's folder takes samples.
        self.is_live = is_live
        #: The time, and the workers at work and pending, at each sample.
        self.samples: list[tuple[float, int, int]] = []

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        if isinstance(event, Progress):
            self.take(event.status)

    def take(self, status: RunStatus) -> None:
        """Take a sample."""
        joined, pending = (status.pool.joined, status.pool.pending) if status.pool else (0, 0)
        samples = [*self.samples, (time.time(), joined, pending)]
        self.samples = samples if len(samples) <= _MOST else samples[::2]

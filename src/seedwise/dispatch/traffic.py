"""The settings of a dispatcher."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from seedwise.dispatch.clock import TrialKey


@attrs.frozen
class Traffic:
    """How a dispatcher sends chunks out."""

    #: Time between two looks for trials that have run for too long.
    tick_s: float
    #: How long a trial may run; None means no limit.
    running_limit_s: float | None = None
    #: Whether a trial that runs for longer is ended, and its chunks have failed.
    ends_late_trials: bool = True
    #: Takes each trial that is ended so; if none is, takes those that run for longer at each look.
    on_late: Callable[[TrialKey], None] = lambda _: None
    #: Whether short chunks of several trials share a Dask task, which then takes 0.25 s.
    packs: bool = False
    #: Returns how many chunks all workers together can evaluate at once now.
    slots: Callable[[], int] = lambda: 1
    #: How long the jobs of the workers last; None means no limit.
    walltime_s: float | None = None
    #: See `Blame`.
    fault: Callable[[str], str | None] = lambda _: ""
    #: Time between two looks at the cluster, unless `tick_s` is shorter.
    check_s: float = 1.0

    @property
    def pause_s(self) -> float:
        """How long `DaskDispatcher.wait` waits for a result."""
        return min(self.tick_s, self.check_s)

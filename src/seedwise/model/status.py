"""How far a run is."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class RunStatus:
    """How far a run is, as `run_status` reads it from the run's folder.

    Attributes
    ----------
    kind : {"run", "entries", "sweep"}
        What began it: `optimize_run`, `optimize_entries` or `run_sweep`.
    state : {"running", "finished", "stopped"}
        Whether a driver works on it. Stopped is what can be gone on with.
    n_trials : int
        How many trials there are to be in all, those of all entries together.
    pending, running, done, failed, pruned : int
        How many trials are not begun, are in flight, are complete, failed, and were pruned.
    trials_per_s : float or None
        Trials told in a second by the driver that works on it, or did last; None before the first.
    expected_end_utc : str or None
        When the last trial will be told at that rate, in ISO 8601; None if nobody can know.
    started_at_utc, updated_at_utc : str
        When the run began, and when a driver last said how far it is, in ISO 8601.
    best_value : float or None
        Mean loss of the best trial so far; None of entries, which have one each.
    entries : dict of str to int or None
        Of entries, how many are ``pending``, ``running``, ``done`` and ``failed``.
    driver : str or None
        Who works on it; None if nobody does.
    pool : PoolStatus or None
        How many workers it has and wants; None if no driver works on it, or if nobody knows, as of
        a cluster that was passed.
    """

    kind: str
    state: str
    n_trials: int
    pending: int
    running: int
    done: int
    failed: int
    pruned: int
    trials_per_s: float | None = None
    expected_end_utc: str | None = None
    started_at_utc: str
    updated_at_utc: str
    best_value: float | None = None
    entries: dict[str, int] | None = None
    driver: str | None = None
    pool: PoolStatus | None = None

    @property
    def n_told(self) -> int:
        """How many trials are told."""
        return self.done + self.failed + self.pruned


@attrs.frozen(kw_only=True)
class PoolStatus:
    """How many workers a run has, and wants.

    Attributes
    ----------
    least, most : int
        Bounds of the number of workers; ``seedwise scale`` changes them.
    wanted : int
        How many the work can keep busy, between the bounds.
    joined : int
        How many are at work, or ready for it.
    pending : int
        How many are asked for and have not joined.
    lost : int
        How many were lost, and replaced or not, since this driver began.
    waiting : str or None
        Why those that are pending wait, in words, and what could be done about it.
    expected_start_utc : str or None
        When the next of them will start, as far as Slurm knows, in ISO 8601.
    """

    least: int
    most: int
    wanted: int
    joined: int
    pending: int
    lost: int = 0
    waiting: str | None = None
    expected_start_utc: str | None = None


@attrs.frozen(kw_only=True)
class PoolNews:
    """Something that happened to the workers of a run."""

    #: One of ``submitted``, ``joined``, ``lost``, ``left``, ``refused``, ``scaled``, ``unknown``
    #: and ``known`` (again).
    kind: str
    #: What happened, in a sentence without a full stop.
    text: str
    #: The Slurm job that it happened to.
    job_id: str | None = None
    #: Whether whoever watches the run should see it.
    warns: bool = False

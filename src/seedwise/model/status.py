"""The progress of a run and the state of its workers."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class RunStatus:
    """The progress of a run, as `run_status` reads it from the run's folder.

    Attributes
    ----------
    kind : {"run", "entries", "sweep"}
        Which function began it: `optimize_run`, `optimize_entries` or `run_sweep`.
    state : {"running", "finished", "stopped"}
        Whether a driver works on it. A stopped run can be resumed.
    n_trials : int
        How many trials the run is to have, those of all entries together; of a finished run, how
        many it has. Until then there may be fewer, by `max_total_seeds`.
    pending, running, done, failed, pruned : int
        How many trials have not begun, are in flight, are complete, have failed, and were pruned.
    running_seeds, running_seeds_done : int
        How many seeds the trials in flight get at most, and how many are evaluated.
    trials_per_s : float or None
        Trials that the current or last driver told in a second; None before the first.
    expected_end_utc : str or None
        When the last trial will be told at that rate, or, when all are told, the validation be
        done, in ISO 8601; None if unknown, as with `max_total_seeds`.
    started_at_utc, updated_at_utc : str
        When the run began, and when a driver last reported its progress, in ISO 8601.
    best_value : float or None
        Mean loss of the best trial so far; None if there is none, and for a run of entries, which
        has one for each entry. As the best of many noisy means it is biased towards the better
        side.
    validation_seeds, validation_seeds_done : int
        How many evaluations of fresh seeds the validation of the best trials takes, and how many
        of these are done; 0 while there is none, and after it.
    validated_value, validated_stderr : float or None
        Mean loss of the validation's winner on fresh seeds that had no part in choosing it, and
        its standard error; None without a validation or before its end, and for a run of entries.
    entries : dict of str to int or None
        How many entries are ``pending``, ``running``, ``done`` and ``failed``; None for a run
        without entries.
    driver : str or None
        The driver that works on it, in words; None if there is none.
    pool : PoolStatus or None
        How many workers it has and wants; None if no driver works on it, or if that is unknown, as
        for a cluster that was passed.
    """

    kind: str
    state: str
    n_trials: int
    pending: int
    running: int
    done: int
    failed: int
    pruned: int
    running_seeds: int = 0
    running_seeds_done: int = 0
    trials_per_s: float | None = None
    expected_end_utc: str | None = None
    started_at_utc: str
    updated_at_utc: str
    best_value: float | None = None
    validation_seeds: int = 0
    validation_seeds_done: int = 0
    validated_value: float | None = None
    validated_stderr: float | None = None
    entries: dict[str, int] | None = None
    driver: str | None = None
    pool: PoolStatus | None = None

    @property
    def n_told(self) -> int:
        """How many trials are told."""
        return self.done + self.failed + self.pruned


@attrs.frozen(kw_only=True)
class PoolStatus:
    """How many workers a run has and wants.

    Attributes
    ----------
    least, most : int
        Bounds of the number of workers; ``seedwise scale`` changes them.
    wanted : int
        How many workers the work can keep busy, within the bounds.
    joined : int
        How many are working or ready to work.
    pending : int
        How many were asked for and have not joined yet.
    lost : int
        How many were lost since this driver began, whether they were replaced or not.
    waiting : str or None
        Why the pending ones wait, in words, and what could be done about it; None if
        none is pending, or if unknown.
    expected_start_utc : str or None
        When the next of them will start, as Slurm expects, in ISO 8601; None if unknown.
    excluded_nodes : dict of str to str
        Nodes that no further jobs go to, as jobs ended there before their worker joined; by name,
        each with the reason.
    """

    least: int
    most: int
    wanted: int
    joined: int
    pending: int
    lost: int = 0
    waiting: str | None = None
    expected_start_utc: str | None = None
    excluded_nodes: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class PoolNews:
    """Something that happened to the workers of a run."""

    #: submitted, joined, lost, alike, left, refused, excluded, scaled, unknown, or known (again).
    kind: str
    #: What happened, in a sentence without a full stop.
    text: str
    #: The Slurm job that it happened to, if one.
    job_id: str | None = None
    #: Whether to show it to whoever watches the run.
    warns: bool = False

"""The events of a run, which listeners see."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import attrs

from seedwise.model.status import PoolNews, PoolStatus, RunStatus
from seedwise.model.trials import SeedFailure, TrialResult


@attrs.frozen
class RunStarted:
    """The workers are asked for and the first trial is about to be."""

    #: The run's folder.
    run_dir: Path
    #: Trials that were told before, of a run that is resumed.
    n_told: int
    #: Where the work runs, in words.
    place: str
    #: Link to the Dask dashboard; None if there is none.
    dashboard: str | None
    #: Command that makes the link work from a laptop; None if it needs none.
    tunnel: str | None


@attrs.frozen
class TrialFinished:
    """The study was told a trial."""

    #: The trial.
    trial: TrialResult
    #: The first failure, in the order of the seeds; None if the trial is complete.
    failure: SeedFailure | None
    #: The best trial told so far.
    best: TrialResult | None
    #: How many trials the run is to have.
    n_trials: int
    #: The entry that the trial is for, of a run of several.
    entry_id: str | None = None


@attrs.frozen
class Progress:
    """How far the run is; it comes every few seconds, whether trials are told or not."""

    #: How far the run is.
    status: RunStatus


@attrs.frozen
class EntryFinished:
    """An entry is at its end."""

    #: The entry.
    entry_id: str
    #: Its best trial; None if it failed.
    best: TrialResult | None
    #: Why it failed, in one line.
    error: str | None
    #: Entries that are at their end.
    n_ended: int
    #: How many there are.
    n_entries: int


@attrs.frozen
class ChunkLost:
    """A chunk's worker was lost; the chunk is run again, which costs nothing."""

    #: The trial's number.
    trial: int
    #: First seed of the chunk.
    chunk_start: int
    #: The worker's address.
    worker: str


@attrs.frozen
class RunFinished:
    """The last trial was told."""

    #: The run's folder.
    run_dir: Path
    #: The best trial; None if none was completed.
    best: TrialResult | None
    #: Seconds since the first trial was asked for.
    duration_s: float


@attrs.frozen
class RunInterrupted:
    """The run ends before its last trial; what was evaluated is kept."""

    #: The run's folder.
    run_dir: Path
    #: Trials that are told.
    n_told: int
    #: How many trials the run is to have.
    n_trials: int


@attrs.frozen
class PoolChanged:
    """Something happened to the workers that whoever watches the run should see."""

    #: What happened.
    news: PoolNews
    #: How many workers there are now; None where that is not known.
    pool: PoolStatus | None = None


Event: TypeAlias = (
    RunStarted
    | TrialFinished
    | Progress
    | EntryFinished
    | ChunkLost
    | PoolChanged
    | RunInterrupted
    | RunFinished
)

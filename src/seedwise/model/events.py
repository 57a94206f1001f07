"""The events of a run, which listeners see."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import attrs

from seedwise.model.status import PoolNews, PoolStatus, RunStatus
from seedwise.model.trials import SeedFailure, TrialResult

__all__ = [
    "ChunkLost",
    "EntryFinished",
    "Event",
    "PoolChanged",
    "Progress",
    "RunFinished",
    "RunInterrupted",
    "RunStarted",
    "TrialFinished",
]


@attrs.frozen
class RunStarted:
    """The workers are asked for and the first trial is about to be.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    n_told : int
        Trials that were told before, of a run that is resumed.
    place : str
        Where the work runs, in words.
    dashboard : str or None
        Link to the Dask dashboard; None if there is none.
    tunnel : str or None
        Command that makes the link work from a laptop; None if it needs none.
    """

    run_dir: Path
    n_told: int
    place: str
    dashboard: str | None
    tunnel: str | None


@attrs.frozen
class TrialFinished:
    """The study was told a trial.

    Attributes
    ----------
    trial : TrialResult
        The trial.
    failure : SeedFailure or None
        The first failure, in the order of the seeds; None if the trial is complete.
    best : TrialResult or None
        The best trial told so far.
    n_trials : int
        How many trials the run is to have.
    entry_id : str or None
        The entry that the trial is for, of a run of several.
    """

    trial: TrialResult
    failure: SeedFailure | None
    best: TrialResult | None
    n_trials: int
    entry_id: str | None = None


@attrs.frozen
class Progress:
    """How far the run is; it comes every few seconds, whether trials are told or not.

    Attributes
    ----------
    status : RunStatus
        How far the run is.
    """

    status: RunStatus


@attrs.frozen
class EntryFinished:
    """An entry is at its end.

    Attributes
    ----------
    entry_id : str
        The entry.
    best : TrialResult or None
        Its best trial; None if it failed.
    error : str or None
        Why it failed, in one line.
    n_ended : int
        Entries that are at their end.
    n_entries : int
        How many there are.
    """

    entry_id: str
    best: TrialResult | None
    error: str | None
    n_ended: int
    n_entries: int


@attrs.frozen
class ChunkLost:
    """A chunk's worker was lost; the chunk is run again, which costs nothing.

    Attributes
    ----------
    trial : int
        The trial's number.
    chunk_start : int
        First seed of the chunk.
    worker : str
        The worker's address.
    """

    trial: int
    chunk_start: int
    worker: str


@attrs.frozen
class RunFinished:
    """The last trial was told.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    best : TrialResult or None
        The best trial; None if none was completed.
    duration_s : float
        Seconds since the first trial was asked for.
    """

    run_dir: Path
    best: TrialResult | None
    duration_s: float


@attrs.frozen
class RunInterrupted:
    """The run ends before its last trial; what was evaluated is kept.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    n_told : int
        Trials that are told.
    n_trials : int
        How many trials the run is to have.
    """

    run_dir: Path
    n_told: int
    n_trials: int


@attrs.frozen
class PoolChanged:
    """Something happened to the workers that whoever watches the run should see.

    Attributes
    ----------
    news : PoolNews
        What happened.
    pool : PoolStatus or None
        How many workers there are now; None where that is not known.
    """

    news: PoolNews
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

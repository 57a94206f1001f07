"""The events of a run, which listeners see."""

from pathlib import Path

import attrs

from seedwise.model.status import PoolNews, PoolStatus, RunStatus
from seedwise.model.trials import SeedFailure, TrialResult
from seedwise.model.validation import Validation


@attrs.frozen
class Event:
    """Something that happened in a run."""


@attrs.frozen
class RunStarted(Event):
    """The workers have been asked for, and the first trial is about to be."""

    run_dir: Path
    #: Trials told by earlier drivers, if the run is resumed.
    n_told: int
    #: Where the work runs, in words.
    place: str
    #: Link to the Dask dashboard; None if there is none.
    dashboard: str | None
    #: Command that makes the links work from a laptop; None if they need none.
    tunnel: str | None
    #: Link to the study page; None if there is none.
    study: str | None = None


@attrs.frozen
class TrialFinished(Event):
    """The study was told a trial."""

    trial: TrialResult
    #: The first failure, in the order of the seeds; None if the trial is complete.
    failure: SeedFailure | None
    #: The best trial told so far.
    best: TrialResult | None
    n_trials: int
    #: The entry that the trial belongs to, in a run of entries.
    entry_id: str | None = None


@attrs.frozen
class Progress(Event):
    """The run's progress; it comes every few seconds, whether trials are told or not."""

    status: RunStatus


@attrs.frozen
class EntryFinished(Event):
    """An entry has finished or failed."""

    entry_id: str
    #: Its best trial; None if it failed.
    best: TrialResult | None
    #: Why it failed, in one line; None if it finished.
    error: str | None
    #: Entries that have finished or failed.
    n_ended: int
    n_entries: int
    #: What its validation found; None if there was none.
    validated: Validation | None = None


@attrs.frozen
class ChunkLost(Event):
    """A chunk's worker was lost; the chunk is run again, and this costs no retry."""

    trial: int
    #: First seed of the chunk.
    chunk_start: int
    #: The worker's address.
    worker: str


@attrs.frozen
class RunFinished(Event):
    """The last trial was told."""

    run_dir: Path
    #: The best trial; None if none is complete.
    best: TrialResult | None
    #: Seconds since the first trial was asked for.
    duration_s: float
    #: How many entries or cases succeeded, and how many failed and why; None of a single study.
    outcome: str | None = None
    #: What its figures show, in sentences without a full stop.
    remarks: tuple[str, ...] = ()


@attrs.frozen
class RunInterrupted(Event):
    """The run ends before its last trial; what was evaluated is kept."""

    run_dir: Path
    n_told: int
    n_trials: int
    #: Whether the best trials were being validated.
    validating: bool = False


@attrs.frozen
class PoolChanged(Event):
    """Something happened to the workers that whoever watches the run should see."""

    news: PoolNews
    #: How many workers there are now; None if unknown.
    pool: PoolStatus | None = None


@attrs.frozen
class Noted(Event):
    """Something about the loss or its values that whoever watches the run should know."""

    #: A sentence without a full stop.
    text: str

"""What travels: chunk results, trial results, and the events that listeners see."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model.space import ParamValue

__all__ = [
    "ChunkResult",
    "FailureKind",
    "Proposal",
    "SeedFailure",
    "TrialOutcome",
    "TrialResult",
    "TrialState",
    "best_trial",
]


class TrialState(enum.StrEnum):
    """How a trial ended."""

    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    #: It failed, and the sampler is told to keep away from its point (`prune_failed_trials`).
    PRUNED = "PRUNED"


@attrs.frozen
class Proposal:
    """A point to try.

    Attributes
    ----------
    number : int
        The trial's number, from 0.
    params : dict
        Its parameters.
    """

    number: int
    params: dict[str, ParamValue]


class FailureKind(enum.StrEnum):
    """What kind of failure it is, which decides whether the chunk is tried again."""

    #: The user's function raised, or returned something that is no loss.
    LOSS = "LOSS"
    #: The process that evaluated the chunk died of it.
    DIED = "DIED"
    #: The chunk took longer than its time limit.
    OVERRAN = "OVERRAN"


@attrs.frozen
class SeedFailure:
    """Why a seed, or a whole chunk, has no loss.

    Attributes
    ----------
    position : int
        Position in the seed plan of the seed that failed, or of the chunk's first.
    seed : int or None
        The seed; None where no single seed is to blame.
    exception_type : str
        Name of the exception.
    message : str
        Its text, in one line.
    traceback : str
        Its traceback as text; of a process that died, what it wrote last.
    kind : FailureKind
        What kind of failure it is.
    """

    position: int
    seed: int | None
    exception_type: str
    message: str
    traceback: str
    kind: FailureKind = FailureKind.LOSS


@attrs.frozen(eq=False)
class ChunkResult:
    """What a worker sends back for a chunk: its losses, or its first failure.

    Attributes
    ----------
    trial : int
        The trial's number.
    chunk : int
        The chunk's index in the trial.
    attempt : int
        Which evaluation of the chunk this is, from 1.
    start : int
        Position of the chunk's first seed in the seed plan.
    n_seeds : int
        Number of seeds in the chunk.
    losses : ndarray of float64, shape (n,), or None
        One loss for each seed of the chunk; None if one failed.
    failure : SeedFailure or None
        The first failure in the order of the seeds; None if there was none.
    components : dict of str to ndarray of float64, shape (n,)
        The named parts of each loss, in the order of the seeds; NaN where a seed has none of the
        name. Empty if the loss returns plain numbers, or failed.
    folder : str
        Name of the folder that this evaluation wrote files to; empty if it wrote none.
    duration_s : float
        Seconds of evaluation on the worker.
    worker : str
        The worker's name.
    job_id : str or None
        The Slurm job that holds the worker; None outside of Slurm.
    """

    trial: int
    chunk: int
    attempt: int
    start: int
    n_seeds: int
    losses: NDArray[np.float64] | None = None
    failure: SeedFailure | None = None
    components: Mapping[str, NDArray[np.float64]] = attrs.field(factory=dict)
    folder: str = ""
    duration_s: float = 0.0
    worker: str = ""
    job_id: str | None = None


@attrs.frozen
class TrialOutcome:
    """What the study is told about a trial.

    Attributes
    ----------
    number : int
        The trial's number.
    value : float or None
        The mean loss; None for a failed trial.
    stderr : float or None
        Its standard error; None for a single seed or a failed trial.
    n_seeds : int
        Number of seeds that the value is the mean of; 0 for a failed trial.
    error : str or None
        Why it failed, in one line; None if it is complete.
    components : dict of str to float
        The mean of each named part of the loss.
    pruned : bool
        Whether a trial that failed is told as pruned.
    """

    number: int
    value: float | None
    stderr: float | None
    n_seeds: int
    error: str | None = None
    components: dict[str, float] = attrs.field(factory=dict)
    pruned: bool = False

    @property
    def state(self) -> TrialState:
        """How the trial ended."""
        if self.value is not None:
            return TrialState.COMPLETE
        return TrialState.PRUNED if self.pruned else TrialState.FAIL


@attrs.frozen
class TrialResult:
    """A trial of a run.

    Attributes
    ----------
    number : int
        Its number, from 0.
    params : dict
        Its parameters.
    value : float or None
        Its mean loss; None if it failed.
    stderr : float or None
        Standard error of the mean; None for a single seed, or if it failed.
    n_seeds : int
        Number of seeds in the mean; 0 if it failed.
    state : TrialState
        ``COMPLETE``, ``FAIL`` or ``PRUNED``.
    duration_s : float
        Seconds from asking for the point to telling its value, waiting for workers included, and
        the time between two drivers.
    error : str or None
        Why it failed, in one line; None if it is complete.
    components : dict of str to float
        The mean of each named part of the loss, by name: what it returned as ``components``, or
        the dict that it returned. NaN if a seed has none of the name.
    """

    number: int
    params: dict[str, ParamValue]
    value: float | None
    stderr: float | None
    n_seeds: int
    state: TrialState
    duration_s: float
    error: str | None = None
    components: dict[str, float] = attrs.field(factory=dict)


def best_trial(trials: Iterable[TrialResult], direction: str) -> TrialResult | None:
    """Return the best complete trial; of equal ones that with the lowest number.

    Parameters
    ----------
    trials : iterable of TrialResult
        The trials.
    direction : {"minimize", "maximize"}
        What is best.

    Returns
    -------
    TrialResult or None
        The best; None if none is complete.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    complete = [(sign * t.value, t.number, t) for t in trials if t.value is not None]
    return min(complete, key=lambda entry: entry[:2])[2] if complete else None

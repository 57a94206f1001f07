"""Chunk results and trial results, as they travel from the workers to the caller."""

import enum
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model.space import ParamValue
from seedwise.model.words import value_words

_SEED = re.compile(r"^seed -?\d+: ")


class TrialState(enum.StrEnum):
    """How a trial ended."""

    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    #: It failed, and the sampler is to keep away from its point (`prune_failed_trials`).
    PRUNED = "PRUNED"


@attrs.frozen
class Proposal:
    """A point to try."""

    #: The trial's number, from 0.
    number: int
    params: dict[str, ParamValue]


class FailureKind(enum.StrEnum):
    """The kind of a failure, which decides whether the chunk is tried again."""

    #: The user's function raised, or returned something that is not a loss.
    LOSS = "LOSS"
    #: The chunk killed the process that evaluated it.
    DIED = "DIED"
    #: The chunk took longer than its time limit.
    OVERRAN = "OVERRAN"


#: The exception types of failures for want of time, of which the loss is innocent.
OVERRUNS = ("ChunkTimeout", "TrialTimeout")


@attrs.frozen
class SeedFailure:
    """Why a seed, or a whole chunk, has no loss."""

    #: Position in the seed plan of the seed that failed, or of the chunk's first.
    position: int
    #: None if no single seed is to blame.
    seed: int | None
    #: Name of the exception's class.
    exception_type: str
    #: The exception's text, in one line.
    message: str
    #: The exception's traceback as text; for a process that died, the last that it wrote.
    traceback: str
    kind: FailureKind = FailureKind.LOSS


@attrs.frozen(eq=False)
class ChunkResult:
    """What a worker sends back for a chunk: its losses, or its first failure."""

    trial: int
    #: The chunk's index in the trial.
    chunk: int
    #: Which evaluation of the chunk this is, from 1.
    attempt: int
    #: Position of the chunk's first seed in the seed plan.
    start: int
    n_seeds: int
    #: One loss for each seed of the chunk; None if one failed.
    losses: NDArray[np.float64] | None = None
    #: The first failure in the order of the seeds; None if there was none.
    failure: SeedFailure | None = None
    #: The named parts of each seed's loss, NaN if it has none of that name; empty if the loss
    #: returns plain numbers, or failed.
    components: Mapping[str, NDArray[np.float64]] = attrs.field(factory=dict)
    #: Name of the folder with the files that this evaluation wrote; empty if it wrote none.
    folder: str = ""
    #: Seconds of evaluation on the worker.
    duration_s: float = 0.0
    worker: str = ""
    #: The Slurm job that holds the worker; None outside of Slurm.
    job_id: str | None = None
    #: What the worker makes of the run's reference seed; None if it was not evaluated, or failed.
    reference: float | None = None


@attrs.frozen
class TrialOutcome:
    """What the study is told about a trial, in the fields of a `TrialResult`."""

    number: int
    value: float | None
    stderr: float | None
    n_seeds: int
    error: str | None = None
    components: dict[str, float] = attrs.field(factory=dict)
    #: Whether the trial failed and is told as pruned.
    pruned: bool = False
    raw_value: float | None = None

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
        Seconds from when the driver asked for the point, or took the trial up from an earlier
        driver, to telling its value. They include waiting for workers.
    error : str or None
        Why it failed, in one line; None if it is complete.
    raw_value : float or None
        Of a trial that the race dropped, the mean loss of its own `n_seeds` seeds; None of any
        other. Its `value` compares it with the incumbent on all seeds: see `Race`.
    components : dict of str to float
        The mean of each named part of the loss, which it returned as ``components``, or as a dict
        of numbers. NaN if a seed has no part of that name.
    """

    number: int
    params: dict[str, ParamValue]
    value: float | None
    stderr: float | None
    n_seeds: int
    state: TrialState
    duration_s: float
    error: str | None = None
    raw_value: float | None = None
    components: dict[str, float] = attrs.field(factory=dict)


def mean_words(trial: TrialResult) -> str:
    """Return the mean loss of a complete trial in words, and of how many seeds it is."""
    assert trial.value is not None  # it is complete
    seeds = f"{trial.n_seeds} seed{'s' if trial.n_seeds > 1 else ''}"
    after = "" if trial.raw_value is None else "dropped after "
    return f"{value_words(trial.value, trial.stderr)} ({after}{seeds})"


def failure_kind(error: str) -> str:
    """Return the kind of a trial's error.

    >>> failure_kind("seed 3: ValueError: no")
    'ValueError'
    """
    return _SEED.sub("", error).partition(":")[0]


def failures_in_words(errors: Mapping[str, str]) -> str:
    """Say how many failed and why; of several, the commonest kind of error with an example.

    `errors` has a line for each that failed, by its name.

    >>> failures_in_words({"p1": "KeyError: 1", "p2": "KeyError: 2", "p3": "ValueError: no"})
    '3 failed, 2 of them with KeyError, such as p1: KeyError: 1'
    """
    kinds = {who: failure_kind(error) for who, error in errors.items()}
    ((kind, count),) = Counter(kinds.values()).most_common(1)
    who = next(who for who in errors if kinds[who] == kind)
    example = f"{who}: {errors[who]}"
    if len(errors) == 1:
        return f"1 failed: {example}"
    some = "all" if count == len(errors) else f"{count} of them"
    return f"{len(errors)} failed, {some} with {kind}, such as {example}"


def best_trial(trials: Iterable[TrialResult], direction: str) -> TrialResult | None:
    """Return the best complete trial, of equal ones the first by number; None if there is none."""
    sign = -1.0 if direction == "maximize" else 1.0
    complete = [(sign * t.value, t.number, t) for t in trials if t.value is not None]
    return min(complete, key=lambda entry: entry[:2])[2] if complete else None

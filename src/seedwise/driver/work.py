"""What all kinds of runs say of the work that is left to do, and of what comes of it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from seedwise.driver.run import Run
from seedwise.engine.loop import Job
from seedwise.model.trials import TrialResult, TrialState
from seedwise.model.validation import Validation
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult

AnyResult: TypeAlias = OptimizeResult | MultiOptimizeResult | SweepResult
Result_co = TypeVar("Result_co", bound=AnyResult, covariant=True)


class InFlight(NamedTuple):
    """What is in flight."""

    n_trials: int = 0
    #: How many of their seeds are evaluated.
    n_seeds_done: int = 0
    #: How many fresh seeds are evaluated, and are to be; none without a validation.
    n_fresh_done: int = 0
    n_fresh: int = 0


class Work(ABC, Generic[Result_co]):
    """What is left to do of a run, whose folder is prepared for it, and what comes of it."""

    #: Whether chunks of several trials may share a Dask task.
    packs: ClassVar[bool] = False

    #: The run as this driver leaves it.
    run: Run
    #: Whether the folder was prepared for work: something was left to do.
    is_prepared: bool
    jobs: Sequence[Job[Any]]
    jobs_at_once: int = 1
    #: How many chunks can be in flight in each part of the work, of all jobs together.
    n_chunks: Sequence[int]
    #: Whether the driver evaluates the seed, too, that workers compare.
    has_witness: bool = True

    @property
    @abstractmethod
    def n_trials(self) -> int:
        """How many trials there are to be in all."""

    @property
    @abstractmethod
    def counts(self) -> Counter[TrialState]:
        """How many trials are told by now, by state."""

    @property
    @abstractmethod
    def best(self) -> TrialResult | None:
        """The best trial told by now; None of entries, which have one each."""

    @property
    def seeds_saved(self) -> int:
        """How many seeds the race has saved by now."""
        return 0

    @property
    @abstractmethod
    def n_seeds_unused(self) -> int:
        """How many seeds were evaluated ahead in vain."""

    @abstractmethod
    def in_flight(self) -> InFlight:
        """Return what is in flight."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, as far as time did not run out."""
        return not self.run.out_of_time() or self.counts.total() >= self.n_trials

    def entries(self) -> dict[str, int] | None:
        """Return how many entries are in which state; None of a run without entries."""
        return None

    def validated(self) -> Validation | None:
        """Return what the validation found; None without one, or until its end."""
        return None

    @abstractmethod
    def so_far(self) -> Result_co:
        """Return the result of what is told by now."""

    def outcome(self) -> str | None:
        """Say how many entries or cases succeeded, and how many failed and why."""
        return self.so_far().outcome

    def remarks(self) -> Sequence[str]:
        """Return what is to be said of the run at its end."""
        return self.so_far().remarks

    @abstractmethod
    def write_summary(self) -> None:
        """Write what ``summary.json`` is to say of the whole run by now."""

    def conclude(self, workplace: Any) -> None:
        """Conclude when all jobs are done, and the workers are still there."""

    def result(self) -> Result_co:
        """Return the result; raises if nothing is complete."""
        return self.so_far()

"""The loop: ask, evaluate, record, fold, tell.

What it decides depends on told results only, never on which chunk came back first; see contract 1
in the documentation. It meets study, workers, ledger and listeners as protocols.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import numpy as np

from seedwise.model.options import RunOptions
from seedwise.model.records import (
    ChunkResult,
    Event,
    FailureKind,
    Proposal,
    SeedFailure,
    TrialFinished,
    TrialOutcome,
    TrialResult,
    best_trial,
)
from seedwise.model.seeds import Chunk, SeedPlan
from seedwise.model.statistics import estimate

__all__ = ["Dispatcher", "Engine", "FailedTrial", "Ledger", "Proposer"]

_MOST_DEATHS = 3


class Proposer(Protocol):
    """Where points come from."""

    def told(self) -> Sequence[TrialResult]:
        """Return the trials that were told before, by number."""

    def unfinished(self) -> Sequence[Proposal]:
        """Return the points that were asked for before and not told, by number."""

    def ask(self) -> Proposal | None:
        """Return the next point; None if there is no more."""

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Take in how a point turned out."""


class Dispatcher(Protocol):
    """Where chunks are evaluated."""

    def submit(
        self, proposal: Proposal, chunks: Sequence[Chunk], attempt: int, isolated: bool = False
    ) -> None:
        """Have chunks of a trial evaluated, isolated ones in a process of their own."""

    def wait(self) -> Sequence[ChunkResult]:
        """Wait for results; none may have come when it returns."""

    def cancel(self, trial: int, first_chunk: int = 0) -> None:
        """Forget a trial's chunks that are still out, from `first_chunk` on."""


class Ledger(Protocol):
    """Where results are kept."""

    def recorded(self, proposal: Proposal) -> Sequence[ChunkResult]:
        """Return what was evaluated of a trial before, in the order in which it came."""

    def record(self, entries: Sequence[tuple[Proposal, ChunkResult]]) -> None:
        """Keep results."""

    def sync(self) -> None:
        """Have what is kept on disk before this returns."""


@attrs.frozen
class FailedTrial:
    """A trial at whose failure the run stops.

    Attributes
    ----------
    proposal : Proposal
        The trial.
    failure : SeedFailure
        Its first failure, in the order of the seed plan.
    chunk_start : int
        The first seed of the chunk that failed.
    """

    proposal: Proposal
    failure: SeedFailure
    chunk_start: int


class _OpenTrial:
    """A trial that is not told yet, and what has come back of it."""

    def __init__(self, proposal: Proposal, plan: SeedPlan, retries: int) -> None:
        self.proposal = proposal
        self.losses = np.empty(len(plan.seeds), dtype=np.float64)
        self.missing: dict[int, Chunk] = {}
        self.n_attempts: Counter[int] = Counter()
        self.failure: SeedFailure | None = None
        self.chunk_start = 0  # the first seed of the chunk that failed
        self._plan = plan
        self._retries = retries
        self._n_failures: Counter[tuple[int, FailureKind]] = Counter()

    def take_up(self, recorded: Sequence[ChunkResult]) -> None:
        """Begin with what is on record; only what it does not cover is missing."""
        covered = np.zeros(len(self._plan.seeds), dtype=np.bool_)
        for result in recorded:
            if result.losses is not None:
                place = slice(result.start, result.start + result.n_seeds)
                self.losses[place] = result.losses
                covered[place] = True
        self.missing = {chunk.index: chunk for chunk in self._plan.chunks(covered)}
        self.n_attempts = Counter(dict.fromkeys(self.missing, 1))
        by_place = {
            (chunk.start, len(chunk.seeds)): index for index, chunk in self.missing.items()
        }
        for result in recorded:
            index = by_place.get((result.start, result.n_seeds), -1)
            if result.failure is not None and index in self.missing:
                self.note_failure(index, result.failure)

    @property
    def decided(self) -> bool:
        return not self.missing

    def note_failure(self, chunk: int, failure: SeedFailure) -> bool:
        """Take note of a failed chunk; tell whether it is to be tried again.

        What comes after a chunk that has failed for good does not count any more. What comes
        before it does, so that the failure that is told is the first in the order of the seeds,
        whichever chunk came back first.
        """
        self._n_failures[chunk, failure.kind] += 1
        most = {FailureKind.LOSS: self._retries + 1, FailureKind.DIED: _MOST_DEATHS}
        if self._n_failures[chunk, failure.kind] < most.get(failure.kind, 1):
            self.n_attempts[chunk] += 1
            return True
        self.failure = failure
        self.chunk_start = int(self.missing[chunk].seeds[0])
        self.missing = {index: c for index, c in self.missing.items() if index < chunk}
        return False

    def has_died(self, chunk: int) -> bool:
        """Tell whether a process died of the chunk."""
        return self._n_failures[chunk, FailureKind.DIED] > 0

    def outcome(self) -> TrialOutcome:
        number = self.proposal.number
        if self.failure is not None:
            error = ": ".join(filter(None, (self.failure.exception_type, self.failure.message)))
            if self.failure.seed is not None:
                error = f"seed {self.failure.seed}: {error}"
            return TrialOutcome(number, None, None, 0, error)
        mean = estimate(self.losses)
        return TrialOutcome(number, mean.mean, mean.stderr, mean.n_seeds)


class Engine:
    """Runs trials to their end.

    Parameters
    ----------
    options : RunOptions
        The run's options; it goes by `n_trials`, `max_concurrent_trials`, `direction`,
        `trial_retry_attempts` and `fail_on_chunk_error`.
    plan : SeedPlan
        The seeds of every trial.
    proposer : Proposer
        Where points come from.
    dispatcher : Dispatcher
        Where chunks are evaluated.
    ledger : Ledger
        Where results are kept: a result counts when it is recorded.
    """

    def __init__(
        self,
        options: RunOptions,
        plan: SeedPlan,
        proposer: Proposer,
        dispatcher: Dispatcher,
        ledger: Ledger,
    ) -> None:
        self.trials: list[TrialResult] = []
        self.best: TrialResult | None = None
        #: The trial at whose failure the run stopped; None if it went to its end.
        self.failed: FailedTrial | None = None
        self._options = options
        self._plan = plan
        self._proposer = proposer
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._in_flight: deque[_OpenTrial] = deque()
        self._n_asked = 0

    def run(
        self, emit: Callable[[Event], None], out_of_time: Callable[[], bool] = lambda: False
    ) -> None:
        """Run all trials that are not told yet; those in flight keep their number and params.

        Parameters
        ----------
        emit : callable
            Takes an event for each told trial.
        out_of_time : callable
            Tells whether no further trial is to be asked for.
        """
        for told in self._proposer.told():
            self._count(told)
        for proposal in self._proposer.unfinished():
            self._open(proposal)
        self._n_asked = len(self.trials) + len(self._in_flight)
        self._ask_while_allowed(out_of_time)
        while self._in_flight and self.failed is None:
            self._decide_head()
            self._tell_head(emit)
            if self.failed is None:
                self._ask_while_allowed(out_of_time)

    def _ask_while_allowed(self, out_of_time: Callable[[], bool]) -> None:
        # With k in flight at most and one told at a time, trial n is asked for when exactly the
        # trials up to n - k are told: the sampler never sees a matter of timing.
        while (
            len(self._in_flight) < self._options.max_concurrent_trials
            and self._n_asked < self._options.n_trials
            and not out_of_time()
        ):
            proposal = self._proposer.ask()
            if proposal is None:
                return
            self._n_asked += 1
            self._open(proposal)

    def _open(self, proposal: Proposal) -> None:
        trial = _OpenTrial(proposal, self._plan, self._options.trial_retry_attempts)
        trial.take_up(self._ledger.recorded(proposal))
        self._in_flight.append(trial)
        fresh = [c for index, c in trial.missing.items() if trial.n_attempts[index] == 1]
        if fresh:
            self._dispatcher.submit(proposal, fresh, attempt=1)
        for index in trial.missing:
            if trial.n_attempts[index] > 1:
                self._try_again(trial, index)

    def _decide_head(self) -> None:
        head = self._in_flight[0]
        while not head.decided:
            results = self._dispatcher.wait()
            waited_for = [(t, r) for r in results if (t := self._waiting_for(r)) is not None]
            if waited_for:
                self._ledger.record([(trial.proposal, result) for trial, result in waited_for])
            for _, result in waited_for:
                self._fold(result)

    def _fold(self, result: ChunkResult) -> None:
        trial = self._waiting_for(result)
        if trial is None:  # one before it, of the same batch, decided the trial
            return
        if result.losses is not None:
            del trial.missing[result.chunk]
            trial.losses[result.start : result.start + result.n_seeds] = result.losses
            return
        assert result.failure is not None  # a result has one of the two
        if trial.note_failure(result.chunk, result.failure):
            self._try_again(trial, result.chunk)
        else:
            self._dispatcher.cancel(result.trial, first_chunk=result.chunk)

    def _try_again(self, trial: _OpenTrial, chunk: int) -> None:
        self._dispatcher.submit(
            trial.proposal,
            [trial.missing[chunk]],
            attempt=trial.n_attempts[chunk],
            isolated=trial.has_died(chunk),
        )

    def _waiting_for(self, result: ChunkResult) -> _OpenTrial | None:
        """Return the trial that waits for a result; None if it came late or twice."""
        for trial in self._in_flight:
            if trial.proposal.number == result.trial and result.chunk in trial.missing:
                # Of a chunk that is tried again, an earlier failure was counted already.
                stale = result.losses is None and result.attempt != trial.n_attempts[result.chunk]
                return None if stale else trial
        return None

    def _tell_head(self, emit: Callable[[Event], None]) -> None:
        trial = self._in_flight[0]  # in flight until it is told, or an interrupt could lose it
        self._ledger.sync()
        told = self._proposer.tell(trial.outcome())
        self._in_flight.popleft()
        self._count(told)
        failure = trial.failure
        # What the cluster or a crash did to a trial does not stop the run; the loss's own error
        # does, if it is to.
        if (
            failure is not None
            and failure.kind is FailureKind.LOSS
            and self._options.fail_on_chunk_error
        ):
            self.failed = FailedTrial(trial.proposal, failure, trial.chunk_start)
        emit(TrialFinished(told, failure, self.best, self._options.n_trials))

    def _count(self, told: TrialResult) -> None:
        self.trials.append(told)
        self.best = best_trial(filter(None, (self.best, told)), self._options.direction)

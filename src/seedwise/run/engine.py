"""The loop: ask, evaluate, fold, tell.

What it decides depends on told results only, never on which chunk came back first; see contract 1
in the documentation. It meets study, workers and listeners as protocols.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs
import numpy as np

from seedwise.errors import LossFailedError
from seedwise.model.records import (
    ChunkResult,
    Event,
    Proposal,
    SeedFailure,
    TrialFinished,
    TrialOutcome,
    TrialResult,
    TrialState,
)
from seedwise.model.seeds import Chunk, SeedPlan
from seedwise.model.statistics import estimate

__all__ = ["Dispatcher", "Engine", "Proposer", "Rules"]


class Proposer(Protocol):
    """Where points come from."""

    def ask(self) -> Proposal | None:
        """Return the next point; None if there is no more."""

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Take in how a point turned out."""


class Dispatcher(Protocol):
    """Where chunks are evaluated."""

    def submit(self, proposal: Proposal, chunks: Sequence[Chunk], attempt: int) -> None:
        """Have chunks of a trial evaluated."""

    def wait(self) -> Sequence[ChunkResult]:
        """Wait for results; none may have come when it returns."""

    def cancel(self, trial: int) -> None:
        """Forget a trial's chunks that are still out."""


@attrs.frozen
class Rules:
    """What the engine goes by.

    Attributes
    ----------
    n_trials : int
        Trials of the run.
    max_concurrent_trials : int
        Trials in flight at once.
    maximize : bool
        Whether the largest value is best.
    trial_retry_attempts : int
        How many more times a failed chunk is evaluated.
    fail_on_chunk_error : bool
        Whether a failed trial ends the run.
    out_of_time : callable
        Tells whether no further trial is to be asked for.
    """

    n_trials: int
    max_concurrent_trials: int = 1
    maximize: bool = False
    trial_retry_attempts: int = 1
    fail_on_chunk_error: bool = True
    out_of_time: Callable[[], bool] = lambda: False


class _OpenTrial:
    """A trial that is not told yet, and what has come back of it."""

    def __init__(self, proposal: Proposal, plan: SeedPlan) -> None:
        self.proposal = proposal
        self.missing = {chunk.index: chunk for chunk in plan.chunks()}
        self.losses = np.empty(len(plan.seeds), dtype=np.float64)
        self.n_attempts = dict.fromkeys(self.missing, 1)
        self.failure: SeedFailure | None = None

    @property
    def decided(self) -> bool:
        return self.failure is not None or not self.missing

    def outcome(self) -> TrialOutcome:
        number = self.proposal.number
        if self.failure is not None:
            error = f"{self.failure.exception_type}: {self.failure.message}"
            if self.failure.seed is not None:
                error = f"seed {self.failure.seed}: {error}"
            return TrialOutcome(number, None, None, 0, error)
        mean = estimate(self.losses)
        return TrialOutcome(number, mean.mean, mean.stderr, mean.n_seeds)


class Engine:
    """Runs trials to their end.

    Parameters
    ----------
    rules : Rules
        What it goes by.
    plan : SeedPlan
        The seeds of every trial.
    proposer : Proposer
        Where points come from.
    dispatcher : Dispatcher
        Where chunks are evaluated.
    emit : callable
        Takes an event for each told trial.
    """

    def __init__(
        self,
        rules: Rules,
        plan: SeedPlan,
        proposer: Proposer,
        dispatcher: Dispatcher,
        emit: Callable[[Event], None],
    ) -> None:
        self.trials: list[TrialResult] = []
        self.best: TrialResult | None = None
        self._rules = rules
        self._plan = plan
        self._proposer = proposer
        self._dispatcher = dispatcher
        self._emit = emit
        self._in_flight: deque[_OpenTrial] = deque()
        self._n_asked = 0

    def run(self) -> None:
        """Run all trials.

        Raises
        ------
        LossFailedError
            If a trial failed and the rules say that this ends the run.
        """
        try:
            self._ask_while_allowed()
            while self._in_flight:
                self._decide_head()
                self._tell_head()
                self._ask_while_allowed()
        except BaseException:
            self._abandon()
            raise

    def _ask_while_allowed(self) -> None:
        # With k in flight at most and one told at a time, trial n is asked for when exactly the
        # trials up to n - k are told: the sampler never sees a matter of timing.
        while (
            len(self._in_flight) < self._rules.max_concurrent_trials
            and self._n_asked < self._rules.n_trials
            and not self._rules.out_of_time()
        ):
            proposal = self._proposer.ask()
            if proposal is None:
                return
            trial = _OpenTrial(proposal, self._plan)
            self._n_asked += 1
            self._in_flight.append(trial)
            self._dispatcher.submit(trial.proposal, list(trial.missing.values()), attempt=1)

    def _decide_head(self) -> None:
        head = self._in_flight[0]
        while not head.decided:
            for result in self._dispatcher.wait():
                self._fold(result)

    def _fold(self, result: ChunkResult) -> None:
        for trial in self._holding(result):
            if result.losses is not None:
                del trial.missing[result.chunk]
                trial.losses[result.start : result.start + len(result.losses)] = result.losses
            elif trial.n_attempts[result.chunk] <= self._rules.trial_retry_attempts:
                trial.n_attempts[result.chunk] += 1
                self._dispatcher.submit(
                    trial.proposal,
                    [trial.missing[result.chunk]],
                    attempt=trial.n_attempts[result.chunk],
                )
            else:
                trial.failure = result.failure
                self._dispatcher.cancel(result.trial)

    def _holding(self, result: ChunkResult) -> Iterator[_OpenTrial]:
        """Give the trial that waits for a result; none if it came late or twice."""
        for trial in self._in_flight:
            if trial.proposal.number == result.trial and result.chunk in trial.missing:
                if not trial.decided:
                    yield trial
                return

    def _tell_head(self) -> None:
        trial = self._in_flight.popleft()
        self._tell(trial.outcome())
        if trial.failure is not None and self._rules.fail_on_chunk_error:
            raise LossFailedError(
                trial.proposal.number,
                trial.failure.seed,
                trial.proposal.params,
                trial.failure.exception_type,
                trial.failure.traceback,
            )

    def _tell(self, outcome: TrialOutcome) -> None:
        told = self._proposer.tell(outcome)
        self.trials.append(told)
        if told.state is TrialState.COMPLETE and self._is_best(told):
            self.best = told
        self._emit(TrialFinished(told, outcome.error, self.best, self._rules.n_trials))

    def _is_best(self, told: TrialResult) -> bool:
        if self.best is None:
            return True
        assert told.value is not None  # both are complete
        assert self.best.value is not None
        if self._rules.maximize:
            return told.value > self.best.value
        return told.value < self.best.value

    def _abandon(self) -> None:
        """End the trials in flight as failed, so that none stays RUNNING for ever."""
        while self._in_flight:
            number = self._in_flight.popleft().proposal.number
            # What stopped the run may be that scheduler or disk are gone; it is what to show.
            with contextlib.suppress(Exception):
                self._dispatcher.cancel(number)
                self._tell(TrialOutcome(number, None, None, 0, "the run was stopped"))

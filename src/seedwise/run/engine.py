"""The loop: ask, evaluate, fold, tell.

What it decides depends on told results only, never on which chunk came back first; see contract 1
in the documentation. It meets study, workers and listeners as protocols.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from seedwise.errors import LossFailedError
from seedwise.model.options import RunOptions
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

__all__ = ["Dispatcher", "Engine", "Proposer"]


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

    def cancel(self, trial: int, first_chunk: int = 0) -> None:
        """Forget a trial's chunks that are still out, from `first_chunk` on."""


class _OpenTrial:
    """A trial that is not told yet, and what has come back of it."""

    def __init__(self, proposal: Proposal, plan: SeedPlan) -> None:
        self.proposal = proposal
        self.missing = {chunk.index: chunk for chunk in plan.chunks()}
        self.losses = np.empty(len(plan.seeds), dtype=np.float64)
        self.n_attempts = dict.fromkeys(self.missing, 1)
        self.failure: SeedFailure | None = None
        self.chunk_start = 0  # the first seed of the chunk that failed

    @property
    def decided(self) -> bool:
        return not self.missing

    def fail(self, chunk: int, failure: SeedFailure | None) -> None:
        """Take note of a failed chunk: what comes after it does not count any more.

        What comes before it does, so that the failure that is told is the first in the order of
        the seeds, whichever chunk came back first.
        """
        self.failure = failure
        self.chunk_start = int(self.missing[chunk].seeds[0])
        self.missing = {index: c for index, c in self.missing.items() if index < chunk}

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
    emit : callable
        Takes an event for each told trial.
    out_of_time : callable
        Tells whether no further trial is to be asked for.
    """

    def __init__(
        self,
        options: RunOptions,
        plan: SeedPlan,
        proposer: Proposer,
        dispatcher: Dispatcher,
        emit: Callable[[Event], None],
        out_of_time: Callable[[], bool] = lambda: False,
    ) -> None:
        self.trials: list[TrialResult] = []
        self.best: TrialResult | None = None
        self._options = options
        self._plan = plan
        self._proposer = proposer
        self._dispatcher = dispatcher
        self._emit = emit
        self._out_of_time = out_of_time
        self._in_flight: deque[_OpenTrial] = deque()
        self._n_asked = 0

    def run(self) -> None:
        """Run all trials.

        Raises
        ------
        LossFailedError
            If a trial failed, unless `fail_on_chunk_error` is False.
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
            len(self._in_flight) < self._options.max_concurrent_trials
            and self._n_asked < self._options.n_trials
            and not self._out_of_time()
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
        trial = self._waiting_for(result)
        if trial is None:
            return
        if result.losses is not None:
            del trial.missing[result.chunk]
            trial.losses[result.start : result.start + len(result.losses)] = result.losses
        elif trial.n_attempts[result.chunk] <= self._options.trial_retry_attempts:
            trial.n_attempts[result.chunk] += 1
            self._dispatcher.submit(
                trial.proposal,
                [trial.missing[result.chunk]],
                attempt=trial.n_attempts[result.chunk],
            )
        else:
            trial.fail(result.chunk, result.failure)
            self._dispatcher.cancel(result.trial, first_chunk=result.chunk)

    def _waiting_for(self, result: ChunkResult) -> _OpenTrial | None:
        """Return the trial that waits for a result; None if it came late or twice."""
        for trial in self._in_flight:
            if trial.proposal.number == result.trial and result.chunk in trial.missing:
                # Of a chunk that is tried again, an earlier failure was counted already.
                stale = result.losses is None and result.attempt != trial.n_attempts[result.chunk]
                return None if stale else trial
        return None

    def _tell_head(self) -> None:
        trial = self._in_flight[0]  # in flight until it is told, or an interrupt could lose it
        self._tell(trial.outcome())
        self._in_flight.popleft()
        if trial.failure is not None and self._options.fail_on_chunk_error:
            raise LossFailedError(
                trial.proposal.number,
                trial.failure.seed,
                trial.chunk_start,
                trial.proposal.params,
                trial.failure.exception_type,
                trial.failure.traceback,
            )

    def _tell(self, outcome: TrialOutcome) -> None:
        told = self._proposer.tell(outcome)
        self.trials.append(told)
        if told.state is TrialState.COMPLETE and self._is_best(told):
            self.best = told
        self._emit(TrialFinished(told, outcome.error, self.best, self._options.n_trials))

    def _is_best(self, told: TrialResult) -> bool:
        if self.best is None:
            return True
        assert told.value is not None  # both are complete
        assert self.best.value is not None
        if self._options.direction == "maximize":
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

"""Stand-ins for what the engine meets: where points come from, where chunks go, what is kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from seedwise.model.seeds import Chunk
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    Proposal,
    SeedFailure,
    TrialOutcome,
    TrialResult,
    best_trial,
)

# ("ask", 3): trial 3 was asked for. ("settle", 3): its files were kept. ("tell", 3): it was told.
Log = list[tuple[str, int]]


class FakeProposer:
    """Proposes points that depend on all that was told, so that a change of order shows.

    Parameters
    ----------
    direction : {"minimize", "maximize"}
        What is best.
    n_points : int or None
        How many points it has; None is no end of them.
    """

    def __init__(self, direction: str = "minimize", n_points: int | None = None) -> None:
        self.log: Log = []
        self.open: dict[int, Proposal] = {}
        self.outcomes: list[TrialOutcome] = []
        self.results: list[TrialResult] = []
        self._direction = direction
        self._n_points = n_points

    @property
    def n_asked(self) -> int:
        return len(self.open) + len(self.outcomes)

    @property
    def best(self) -> TrialResult | None:
        return best_trial(self.results, self._direction)

    def unfinished(self) -> list[Proposal]:
        return list(self.open.values())

    def ask(self) -> Proposal | None:
        number = self.n_asked
        if number == self._n_points:
            return None
        rng = random.Random(f"{number} {[(o.number, o.value) for o in self.outcomes]}")
        self.open[number] = Proposal(number, {"x": rng.uniform(0, 10)})
        self.log.append(("ask", number))
        return self.open[number]

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        proposal = self.open.pop(outcome.number)
        self.outcomes.append(outcome)
        self.log.append(("tell", outcome.number))
        result = TrialResult(
            number=outcome.number,
            params=proposal.params,
            value=outcome.value,
            stderr=outcome.stderr,
            n_seeds=outcome.n_seeds,
            state=outcome.state,
            duration_s=0.0,
            error=outcome.error,
            raw_value=outcome.raw_value,
            components=outcome.components,
        )
        self.results.append(result)
        return result


class FakeCases(FakeProposer):
    """Proposes points that depend on their number only; what was in flight is asked for again.

    Parameters
    ----------
    numbers : iterable of int
        The numbers, in the order of asking.
    told : sequence of TrialResult
        What was told before.
    direction : {"minimize", "maximize"}
        What is best.
    """

    def __init__(
        self,
        numbers: Iterable[int],
        told: Sequence[TrialResult] = (),
        direction: str = "minimize",
    ) -> None:
        super().__init__(direction)
        self._numbers = iter(numbers)
        self._n_told_before = len(told)
        self.results += told

    @property
    def n_asked(self) -> int:
        return self._n_told_before + super().n_asked

    def unfinished(self) -> list[Proposal]:
        return []

    def ask(self) -> Proposal | None:
        number = next(self._numbers, None)
        if number is None:
            return None
        self.open[number] = Proposal(number, {"x": random.Random(number).uniform(0, 10)})
        self.log.append(("ask", number))
        return self.open[number]


class FakeLedger:
    """Keeps results in a list, and tells when it is asked to keep them for good."""

    def __init__(self) -> None:
        self.entries: list[tuple[Proposal, ChunkResult]] = []
        self.n_synced = 0

    def recorded(self, proposal: Proposal) -> list[ChunkResult]:
        return [result for other, result in self.entries if other == proposal]

    def record(self, entries: Sequence[tuple[Proposal, ChunkResult]]) -> None:
        self.entries += entries

    def sync(self) -> None:
        self.n_synced = len(self.entries)


class FakeFolders:
    """Takes note of what is settled.

    Parameters
    ----------
    log : list
        Takes the numbers, too.
    """

    def __init__(self, log: Log | None = None) -> None:
        self.log: Log = log if log is not None else []
        self.settled: list[tuple[int, list[str], dict[str, Any]]] = []

    def settle(self, number: int, accepted: Sequence[str], about: Mapping[str, Any]) -> None:
        self.log.append(("settle", number))
        self.settled.append((number, list(accepted), dict(about)))


class FakeChannel:
    """Gives results back in any order, none or some at a time; cancelled ones come all the same.

    Parameters
    ----------
    loss : callable
        Takes params and seed. An exception is the chunk's failure.
    rng : random.Random
        Makes the order.
    largest_batch : int
        Most results that `results` returns.
    repeats : bool
        Whether results come again, late.
    fails : callable
        Takes trial, chunk and attempt; tells whether the chunk fails without a seed to blame.
    kind : FailureKind
        What kind of failure that is.
    waits : int or None
        `results` raises KeyboardInterrupt when it is called once more than this.
    """

    def __init__(
        self,
        loss: Callable[[Mapping[str, float], int], float],
        rng: random.Random | None = None,
        *,
        largest_batch: int = 1,
        repeats: bool = False,
        fails: Callable[[int, int, int], bool] = lambda trial, chunk, attempt: False,
        waits: int | None = None,
        kind: FailureKind = FailureKind.LOSS,
    ) -> None:
        self.submitted: list[tuple[int, int, int]] = []
        self.isolated: list[tuple[int, int]] = []
        self.seeds: list[tuple[int, int]] = []
        self.cancelled: dict[int, int] = {}  # by trial, the first chunk of it
        self._loss = loss
        self._rng = rng or random.Random(0)
        self._largest_batch = largest_batch
        self._repeats = repeats
        self._fails = fails
        self._waits = waits
        self._kind = kind
        self._out: list[tuple[Proposal, Chunk, int]] = []
        self._given: list[ChunkResult] = []

    @property
    def n_out(self) -> int:
        """How many chunks are out, cancelled ones included."""
        return len(self._out)

    def submit(
        self, proposal: Proposal, chunks: Sequence[Chunk], attempt: int, isolated: bool = False
    ) -> None:
        for chunk in chunks:
            first_cancelled = self.cancelled.get(proposal.number, chunk.index + 1)
            assert chunk.index < first_cancelled, "the chunk was cancelled before"
            self.submitted.append((proposal.number, chunk.index, attempt))
            self.isolated += [(proposal.number, chunk.index)] if isolated else []
            self.seeds += [(proposal.number, seed) for seed in chunk.seeds.tolist()]
            self._out.append((proposal, chunk, attempt))

    def results(self) -> list[ChunkResult]:
        """Return what has come back."""
        if self._waits is not None:
            self._waits -= 1
            if self._waits < 0:
                raise KeyboardInterrupt
        assert self._out, "the engine waits for results, but no chunk is out"
        self._rng.shuffle(self._out)
        count = self._rng.randint(0, min(self._largest_batch, len(self._out)))
        results = [self._evaluate(*self._out.pop()) for _ in range(count)]
        again = self._rng.choices(self._given, k=2) if self._repeats and self._given else []
        self._given += [result for result in results if result.losses is not None]
        return [*results, *again]

    def cancel(self, trial: int, first_chunk: int = 0) -> None:
        self.cancelled[trial] = first_chunk

    def _evaluate(self, proposal: Proposal, chunk: Chunk, attempt: int) -> ChunkResult:
        losses, failure = [], None
        if self._fails(proposal.number, chunk.index, attempt):
            failure = SeedFailure(
                chunk.start, None, "Broken", f"it broke {chunk.index}", "broken", self._kind
            )
        for position, seed in enumerate(chunk.seeds.tolist(), start=chunk.start):
            try:
                losses.append(self._loss(proposal.params, seed))
            except ValueError as error:
                failure = SeedFailure(position, seed, "ValueError", str(error), f"trace: {error}")
                break
        return ChunkResult(
            trial=proposal.number,
            chunk=chunk.index,
            attempt=attempt,
            start=chunk.start,
            n_seeds=len(chunk.seeds),
            losses=None if failure is not None else np.array(losses),
            failure=failure,
            folder=f"trial_{proposal.number}-{chunk.start}-{attempt}",
        )

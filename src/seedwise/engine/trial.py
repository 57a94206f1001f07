"""A trial that is not told yet: its results so far, and its missing chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seedwise.model.seeds import Chunk, SeedPlan
from seedwise.model.statistics import component_mean, estimate
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    Proposal,
    SeedFailure,
    TrialOutcome,
)

_MOST_DEATHS = 3


class OpenTrial:
    """A trial that is not told yet.

    A chunk whose loss failed is evaluated up to `retries` more times.
    """

    def __init__(self, proposal: Proposal, plan: SeedPlan, retries: int) -> None:
        self.proposal = proposal
        self.missing: dict[int, Chunk] = {}
        self.n_attempts: Counter[int] = Counter()
        self.failure: SeedFailure | None = None
        self.chunk_start = 0  # the first seed of the chunk that failed
        self.n_seeds_done = 0
        self._losses = np.empty(len(plan.seeds), dtype=np.float64)
        self._components: dict[str, NDArray[np.float64]] = {}
        self._folders: dict[int, str] = {}  # by position of the chunk's first seed
        self._plan = plan
        self._retries = retries
        self._n_failures: Counter[tuple[int, FailureKind]] = Counter()

    def take_up(self, recorded: Sequence[ChunkResult]) -> None:
        """Begin with recorded results; only the chunks that they do not cover are missing."""
        covered = np.zeros(len(self._plan.seeds), dtype=np.bool_)
        for result in recorded:
            if result.losses is not None:
                self._place(result)
                covered[result.start : result.start + result.n_seeds] = True
        self.n_seeds_done = int(np.count_nonzero(covered))
        self.missing = {chunk.index: chunk for chunk in self._plan.chunks(covered)}
        self.n_attempts = Counter(dict.fromkeys(self.missing, 1))
        by_place = {
            (chunk.start, len(chunk.seeds)): index for index, chunk in self.missing.items()
        }
        for result in recorded:
            index = by_place.get((result.start, result.n_seeds), -1)
            if result.failure is not None and index in self.missing:
                self._note_failure(index, result.failure, result.folder)

    @property
    def decided(self) -> bool:
        """Whether no missing chunk could change the outcome."""
        return not self.missing

    def waits_for(self, result: ChunkResult) -> bool:
        """Tell whether a result counts; one that comes late or twice does not."""
        if result.chunk not in self.missing:
            return False
        # An earlier failure of a chunk that is tried again was counted already.
        return result.losses is not None or result.attempt == self.n_attempts[result.chunk]

    def take(self, result: ChunkResult) -> bool:
        """Take a result that the trial waits for; tell whether its chunk must be tried again.

        The chunks after one that has failed for good do not count any more. The chunks before it
        do, so that the failure that is told is the first in the order of the seeds, whichever
        chunk came back first.
        """
        if result.losses is not None:
            del self.missing[result.chunk]
            self._place(result)
            self.n_seeds_done += result.n_seeds
            return False
        assert result.failure is not None  # a result has one of the two
        return self._note_failure(result.chunk, result.failure, result.folder)

    def has_died(self, chunk: int) -> bool:
        """Tell whether the chunk has killed a process."""
        return self._n_failures[chunk, FailureKind.DIED] > 0

    def folders(self) -> list[str]:
        """Return the folders of its accepted evaluations, in the order of the seeds."""
        return [self._folders[start] for start in sorted(self._folders)]

    def outcome(self, *, prunes: bool) -> TrialOutcome:
        """Return the outcome; with `prunes`, a failed trial is told as pruned."""
        number = self.proposal.number
        if self.failure is not None:
            error = ": ".join(filter(None, (self.failure.exception_type, self.failure.message)))
            if self.failure.seed is not None:
                error = f"seed {self.failure.seed}: {error}"
            return TrialOutcome(number, None, None, 0, error, pruned=prunes)
        mean = estimate(self._losses)
        components = {name: component_mean(part) for name, part in self._components.items()}
        return TrialOutcome(number, mean.mean, mean.stderr, mean.n_seeds, components=components)

    def _place(self, result: ChunkResult) -> None:
        place = slice(result.start, result.start + result.n_seeds)
        assert result.losses is not None
        self._losses[place] = result.losses
        for name, part in result.components.items():
            if name not in self._components:
                self._components[name] = np.full(len(self._losses), np.nan)
            self._components[name][place] = part
        if result.folder:
            self._folders[result.start] = result.folder

    def _note_failure(self, chunk: int, failure: SeedFailure, folder: str) -> bool:
        self._n_failures[chunk, failure.kind] += 1
        most = {FailureKind.LOSS: self._retries + 1, FailureKind.DIED: _MOST_DEATHS}
        if self._n_failures[chunk, failure.kind] < most.get(failure.kind, 1):
            self.n_attempts[chunk] += 1
            return True
        self.failure = failure
        start = self.missing[chunk].start
        self.chunk_start = int(self.missing[chunk].seeds[0])
        self.missing = {index: c for index, c in self.missing.items() if index < chunk}
        # Timing decides which of the later chunks came back, so their files are not kept.
        self._folders = {place: name for place, name in self._folders.items() if place < start}
        if folder:
            self._folders[start] = folder
        return False

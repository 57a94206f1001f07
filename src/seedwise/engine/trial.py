"""A trial that is not told yet: its results so far, and its missing chunks."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.engine.race import TrialSeeds
from seedwise.model.seeds import Chunk, Cut, SeedPlan
from seedwise.model.statistics import component_mean, estimate
from seedwise.model.trials import ChunkResult, FailureKind, Proposal, SeedFailure, TrialOutcome

_MOST_DEATHS = 3


@attrs.frozen
class Step:
    """What follows from a result."""

    #: Chunks to evaluate now, for the first time or once more.
    send: Sequence[Chunk] = ()
    #: The first of the chunks that are not wanted any more.
    cancel_from: int | None = None


class OpenTrial:
    """A trial that is not told yet.

    A chunk whose loss failed is evaluated up to `retries` more times. The trial is evaluated look
    by look. A look may begin before the one before it is decided.
    """

    def __init__(
        self,
        proposal: Proposal,
        plan: SeedPlan,
        retries: int,
        own: TrialSeeds,
        cut: Cut | None = None,
    ) -> None:
        self.proposal = proposal
        self.missing: dict[int, Chunk] = {}
        self.n_attempts: Counter[int] = Counter()
        self.failure: SeedFailure | None = None
        self.chunk_start = 0  # the first seed of the chunk that failed
        #: Whether no missing chunk could change the outcome.
        self.decided = False
        self.is_dropped = False
        self.n_seeds_done = 0
        #: By position in the plan; NaN where there is none.
        self.losses = np.full(len(plan.seeds), np.nan)
        self._components: dict[str, NDArray[np.float64]] = {}
        self._folders: dict[int, str] = {}  # by position of the chunk's first seed
        self._plan = plan
        self._retries = retries
        self._own = own
        self._cut = cut
        self._look = 0  # the one to decide
        self._ends: list[int] = []  # of each look that began: the index after its last chunk
        self._n_missing: list[int] = []  # of each look that began
        self._failed_chunk = -1
        self._n_failures: Counter[tuple[int, FailureKind]] = Counter()
        self._recorded: Sequence[ChunkResult] = ()

    def take_up(self, recorded: Sequence[ChunkResult]) -> Step:
        """Begin with recorded results; the first chunks to send are those they do not cover."""
        self._recorded = recorded
        for result in recorded:
            if result.losses is not None:
                self._place(result)
        return self._decided_by(self.begin_look())

    @property
    def can_begin_look(self) -> bool:
        """Whether a look is left that did not begin, and that the trial may come to."""
        is_open = self.failure is None and not self.decided
        return is_open and len(self._ends) < len(self._own.looks)

    def begin_look(self) -> list[Chunk]:
        """Begin the next look; return the chunks that are not recorded."""
        looks = self._own.looks
        left_out = ~looks[len(self._ends)] | ~np.isnan(self.losses)
        if self._ends:  # those of earlier looks are sent already
            left_out |= looks[len(self._ends) - 1]
        begin = self._ends[-1] if self._ends else 0
        begun = {chunk.index: chunk for chunk in self._plan.chunks(left_out, begin, self._cut)}
        self.missing |= begun
        self.n_attempts.update(dict.fromkeys(begun, 1))
        self._ends.append(begin + len(begun))
        self._n_missing.append(len(begun))
        for result in self._recorded:
            if result.failure is not None:
                # Of a driver before, which may have cut other chunks.
                held = (i for i, chunk in begun.items() if result.failure.position in chunk.place)
                index = next(held, -1)
                if index in self.missing:
                    self._note_failure(index, result.failure, result.folder)
        return [chunk for index, chunk in begun.items() if index in self.missing]

    def waits_for(self, result: ChunkResult) -> bool:
        """Tell whether a result counts; one that comes late or twice does not."""
        if result.chunk not in self.missing:
            return False
        # An earlier failure of a chunk that is tried again was counted already.
        return result.losses is not None or result.attempt == self.n_attempts[result.chunk]

    def take(self, result: ChunkResult) -> Step:
        """Take a result that the trial waits for.

        The chunks after one that has failed for good do not count any more. The chunks before it
        do, so that the failure that is told is the first in the order of the seeds, whichever
        chunk came back first.
        """
        chunk = result.chunk
        if result.losses is not None:
            del self.missing[chunk]
            self._n_missing[bisect_right(self._ends, chunk)] -= 1
            self._place(result)
            return self._decided_by([])
        assert result.failure is not None  # a result has one of the two
        if self._note_failure(chunk, result.failure, result.folder):
            return Step([self.missing[chunk]])
        return attrs.evolve(self._decided_by([]), cancel_from=chunk)

    def has_died(self, chunk: int) -> bool:
        """Tell whether the chunk has killed a process."""
        place = self.missing[chunk].place
        died = (position for position, kind in self._n_failures if kind is FailureKind.DIED)
        return any(position in place for position in died)

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
        own = self._own.looks[self._look]
        raw = estimate(self.losses[own])
        told = self._own.estimate(self.losses, self._look) if self.is_dropped else raw
        parts = {name: component_mean(part[own]) for name, part in self._components.items()}
        return TrialOutcome(
            number,
            told.mean,
            told.stderr,
            told.n_seeds,
            components=parts,
            raw_value=raw.mean if self.is_dropped else None,
        )

    def _decided_by(self, send: list[Chunk]) -> Step:
        """Decide the looks that have all their results; what must begin for that is sent, too."""
        while not self.decided and not self._n_missing[self._look]:
            end = self._ends[self._look]
            if self.failure is not None and self._failed_chunk < end:
                self.decided = True
            elif self._own.drops(self.losses, self._look):
                self.decided = self.is_dropped = True
                self.failure = None  # it would not have come to that seed
                self.missing.clear()
                own = self._own.looks[self._look]
                self._folders = {at: name for at, name in self._folders.items() if own[at]}
                return Step(cancel_from=end)
            elif self._look == len(self._own.looks) - 1:
                self.decided = True
            else:
                self._look += 1
                if len(self._ends) == self._look:
                    send = [*send, *self.begin_look()]
        return Step(send)

    def _place(self, result: ChunkResult) -> None:
        place = slice(result.start, result.start + result.n_seeds)
        assert result.losses is not None
        self.n_seeds_done += int(np.isnan(self.losses[place]).sum())
        self.losses[place] = result.losses
        for name, part in result.components.items():
            if name not in self._components:
                self._components[name] = np.full(len(self.losses), np.nan)
            self._components[name][place] = part
        if result.folder:
            self._folders[result.start] = result.folder

    def _note_failure(self, chunk: int, failure: SeedFailure, folder: str) -> bool:
        """Count a failure; tell whether the chunk is evaluated again."""
        key = failure.position, failure.kind  # not by chunk: a resumed run cuts others
        self._n_failures[key] += 1
        most = {FailureKind.LOSS: self._retries + 1, FailureKind.DIED: _MOST_DEATHS}
        if self._n_failures[key] < most.get(failure.kind, 1):
            self.n_attempts[chunk] += 1
            return True
        self.failure, self._failed_chunk = failure, chunk
        start = self.missing[chunk].start
        self.chunk_start = int(self.missing[chunk].seeds[0])
        self.missing = {index: c for index, c in self.missing.items() if index < chunk}
        left = Counter(bisect_right(self._ends, index) for index in self.missing)
        self._n_missing = [left[look] for look in range(len(self._ends))]
        # Timing decides which of the later chunks came back, so their files are not kept.
        self._folders = {place: name for place, name in self._folders.items() if place < start}
        if folder:
            self._folders[start] = folder
        return False

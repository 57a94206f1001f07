"""A trial that is not told yet: the seeds that it gets, its results, and its missing chunks."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model.racing import Looks, can_be_compared, dropped_estimate, is_worse
from seedwise.model.seeds import Chunk, Cut, SeedPlan
from seedwise.model.statistics import Estimate, component_mean, estimate
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    Proposal,
    SeedFailure,
    TrialOutcome,
    TrialResult,
    best_trial,
)

_MOST_DEATHS = 3
_MOST_AT_HAND = 10  # best trials whose losses are in memory


@attrs.frozen(eq=False)
class TrialSeeds:
    """Which seeds a trial gets, and when it is dropped."""

    #: Which positions of the plan the trial has at each look.
    looks: tuple[NDArray[np.bool_], ...]
    #: The incumbent's losses, by position in the plan; None if nothing can be dropped.
    incumbent: NDArray[np.float64] | None = None
    level: float = 0.0
    sign: float = 1.0

    def drops(self, losses: NDArray[np.float64], look: int) -> bool:
        """Tell whether the trial is dropped at a look, of which it has all losses."""
        if self.incumbent is None or look == len(self.looks) - 1:
            return False
        own, incumbent = losses[self.looks[look]], self.incumbent[self.looks[-1]]
        if not (can_be_compared(own) and can_be_compared(incumbent)):
            return False
        differences = own - self.incumbent[self.looks[look]]
        return is_worse(self.sign * differences, self.level)

    def estimate(self, losses: NDArray[np.float64], look: int) -> Estimate:
        """Estimate the mean loss of a trial that was dropped at a look."""
        assert self.incumbent is not None  # or nothing could be dropped
        whole = self.looks[-1]  # the incumbent has no others
        return dropped_estimate(losses[whole], self.incumbent[whole], self.looks[look][whole])


class Allocation:
    """Which seeds each trial gets: here all of them."""

    def __init__(self, plan: SeedPlan) -> None:
        self.plan = plan
        self._own = TrialSeeds((np.ones(len(plan.seeds), dtype=np.bool_),))

    def seeds_of(self, number: int) -> TrialSeeds:
        """Return the seeds of a trial that is asked for."""
        del number
        return self._own

    def take(self, trial: TrialResult, losses: NDArray[np.float64]) -> None:
        """Take a trial that is told, and its losses by position in the plan."""


class Racing(Allocation):
    """Gives each trial the seeds of its looks.

    The incumbent of a trial is the best with all its seeds among those that were told when it was
    asked for: `known` takes the numbers of one of those and of the trial. `told` are the trials
    that earlier processes told, and `read` returns the losses of one by its number.
    """

    def __init__(
        self,
        plan: SeedPlan,
        looks: Looks,
        direction: str,
        known: Callable[[int, int], bool],
        told: Iterable[TrialResult],
        read: Callable[[int], NDArray[np.float64]],
    ) -> None:
        super().__init__(plan)
        self._looks = looks
        self._direction = direction
        self._known = known
        self._read = read
        self._whole = [trial for trial in told if self._is_whole(trial)]
        self._losses: dict[int, NDArray[np.float64]] = {}

    def seeds_of(self, number: int) -> TrialSeeds:
        """Return the seeds of a trial."""
        n_looks = len(self._looks.sizes)
        wanted = tuple(self._looks.wanted(number, look) for look in range(n_looks))
        earlier = [trial for trial in self._whole if self._known(trial.number, number)]
        best = best_trial(earlier, self._direction)
        if n_looks == 1 or best is None:
            return TrialSeeds(wanted[-1:])
        if best.number not in self._losses:
            self._losses[best.number] = self._read(best.number)
        sign = -1.0 if self._direction == "maximize" else 1.0
        return TrialSeeds(wanted, self._losses[best.number], self._looks.level, sign)

    def take(self, trial: TrialResult, losses: NDArray[np.float64]) -> None:
        """Take a trial that is told; of the best, keep the losses at hand."""
        if not self._is_whole(trial):
            return
        self._whole.append(trial)
        if best_trial(self._whole, self._direction) is trial:
            self._losses[trial.number] = losses
            for number in sorted(self._losses)[:-_MOST_AT_HAND]:  # they are read again
                del self._losses[number]

    def _is_whole(self, trial: TrialResult) -> bool:
        sizes = self._looks.sizes
        return len(sizes) > 1 and trial.value is not None and trial.n_seeds == sizes[-1]


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
        found = told.mean, told.stderr, told.n_seeds
        raw_value = raw.mean if self.is_dropped else None
        return TrialOutcome(number, *found, components=parts, raw_value=raw_value)

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

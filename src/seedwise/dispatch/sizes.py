"""How many seeds a chunk has, and how many chunks share a Dask task, by what they have cost."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

# What a task costs the driver, and the workers about as much.
_TASK_S = 0.0015
# A chunk should take far longer than that, if there is work enough; the more so where chunks of
# other trials fill the end of a trial.
_SHORT_S = 0.1
_SHORT_OF_SEVERAL_S = 0.25
# It is lost if its worker is.
_LONG_S = 10.0
# How much of what a chunk may take it is meant to take: at other params seeds may cost more.
_PART_OF_LIMIT = 0.1
_RECENT = 64
# Seeds of the largest chunk while no cost is known, if a chunk may not take as long as it likes.
_LARGEST_BLIND = 100

# How long a pack should take: a task costs the driver one to two milliseconds.
_PACK_S = 0.25
_LARGEST_PACK = 500
_MOST_CHUNKS_OUT = 20_000
_PACKS_PER_SLOT = 3


class ChunkSizes:
    """Cuts trials so that tasks cost little and all workers end together.

    `slots` says how many chunks can run at once now, and `limit_s` how long one may take. Sizes
    decide how long a trial takes, and nothing else.

    Factoring (Hummel, Schonberg and Flynn, Communications of the ACM 35(8), 1992): half of the
    seeds that are left are dealt out to the slots in equal parts, and so on, so that the small
    chunks at the end even out what differs between seeds.
    """

    def __init__(self, slots: Callable[[], int], limit_s: float = math.inf) -> None:
        self._slots = slots
        self._long_s = min(_LONG_S, _PART_OF_LIMIT * limit_s)
        self._largest_blind = math.inf if math.isinf(limit_s) else _LARGEST_BLIND
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)  # seeds and seconds
        self._warm: set[str] = set()

    def note(self, worker: str, n_seeds: int, duration_s: float) -> None:
        """Take note of a chunk; the first of a worker takes longer, and says little."""
        if worker in self._warm:
            self._recent.append((n_seeds, duration_s))
        self._warm.add(worker)

    def cut(self, n_seeds: int, n_trials: int, batch: int = 1) -> Iterator[int]:
        """Yield the sizes of chunks of a trial or a look, one of `n_trials`, in whole batches."""
        cut = self._cut if self._recent else self._cut_blindly
        return (batch * size for size in cut(-(-n_seeds // batch), n_trials, batch))

    def _cut_blindly(self, n_left: int, n_trials: int, batch: int) -> Iterator[int]:
        """Yield sizes while no cost is known: they double, and halve towards the end."""
        share = max(1, self._slots() // n_trials)
        for step in itertools.count():
            size = max(1, int(min(2**step, n_left / (2 * share), self._largest_blind / batch)))
            yield from itertools.repeat(size, share)
            n_left -= size * share

    def _cut(self, n_batches: int, n_trials: int, batch: int) -> Iterator[int]:
        slots = self._slots()
        share = max(1, slots // n_trials)
        # Chunks of costly params count for more: too few chunks cost more than too many.
        n_recent, recent_s = map(sum, zip(*self._recent, strict=True))
        cost_s = max(1e-9, batch * recent_s / n_recent)  # of a batch
        best_s = math.sqrt(n_trials * n_batches * cost_s * _TASK_S)  # with equal chunks
        least_s = _SHORT_S if n_trials == 1 else _SHORT_OF_SEVERAL_S
        short_s = max(least_s, min(4 * slots * _TASK_S, best_s))
        most = max(1, int(self._long_s / cost_s))
        n_left = n_batches
        while n_left * cost_s >= 2 * share * short_s:
            size = min(most, -(-n_left // (2 * share)))
            yield from itertools.repeat(size, share)
            n_left -= size * share
        n_chunks = max(1, min(share, int(n_batches * cost_s / best_s)))
        yield from itertools.repeat(min(most, max(1, -(-n_left // n_chunks))))


class PackSize:
    """The size of packs, by how long chunks take; `slots` says how many can run at once now."""

    def __init__(self, slots: Callable[[], int]) -> None:
        self.size = 1
        self._slots = slots

    @property
    def chunks_wanted(self) -> int:
        """How many chunks should be out, so that no worker waits for the driver."""
        packs_out = self._slots() * _PACKS_PER_SLOT
        return packs_out * min(self.size, _most(packs_out))

    def note(self, durations_s: Sequence[float]) -> None:
        """Take note of how long chunks took that came back together; of one at least."""
        mean_s = sum(durations_s) / len(durations_s)
        # The next cases may take longer than the last, so the size grows step by step.
        fits = min(2 * self.size, int(_PACK_S / max(mean_s, 1e-6)))
        self.size = max(1, min(_most(self._slots() * _PACKS_PER_SLOT), fits))


def _most(packs_out: int) -> int:
    """Return how many chunks a pack may have at most."""
    return max(1, min(_LARGEST_PACK, _MOST_CHUNKS_OUT // packs_out))

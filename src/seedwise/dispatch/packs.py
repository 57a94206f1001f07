"""The number of chunks that share a Dask task."""

from collections.abc import Callable, Sequence

# How long a pack should take: a task costs the driver one to two milliseconds.
_PACK_S = 0.25
_LARGEST_PACK = 500
_MOST_CHUNKS_OUT = 20_000
_PACKS_PER_SLOT = 3


class PackSize:
    """The size of packs, by how long chunks take; `slots` says how many can run at once now."""

    def __init__(self, slots: Callable[[], int]) -> None:
        self.size = 1
        self._slots = slots

    @property
    def chunks_wanted(self) -> int:
        """How many chunks should be out, so that no worker waits for the driver."""
        packs_out = self._packs_out
        return packs_out * min(self.size, _most(packs_out))

    def note(self, durations_s: Sequence[float]) -> None:
        """Take note of how long chunks took that came back together; of one at least."""
        mean_s = sum(durations_s) / len(durations_s)
        # The next cases may take longer than the last, so the size grows step by step.
        fits = min(2 * self.size, int(_PACK_S / max(mean_s, 1e-6)))
        self.size = max(1, min(_most(self._packs_out), fits))

    @property
    def _packs_out(self) -> int:
        return self._slots() * _PACKS_PER_SLOT


def _most(packs_out: int) -> int:
    """Return how many chunks a pack may have at most."""
    return max(1, min(_LARGEST_PACK, _MOST_CHUNKS_OUT // packs_out))

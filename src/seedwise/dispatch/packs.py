"""How many chunks share a Dask task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# A pack of chunks is to take this long: a task costs the driver one to two milliseconds.
_PACK_S = 0.25
_LARGEST_PACK = 500
_MOST_CHUNKS_OUT = 20_000
_PACKS_PER_SLOT = 3


class PackSize:
    """The size of packs, by how long chunks take.

    Parameters
    ----------
    slots : callable
        Tells how many chunks all workers together may evaluate at once; the number of workers may
        change.
    """

    def __init__(self, slots: Callable[[], int]) -> None:
        #: Chunks in a pack.
        self.size = 1
        self._slots = slots

    @property
    def chunks_wanted(self) -> int:
        """How many chunks are to be out, so that no worker waits for the driver."""
        packs_out = self._packs_out
        return packs_out * min(self.size, _most(packs_out))

    def note(self, durations_s: Sequence[float]) -> None:
        """Take note of how long chunks took that came back together, one at least."""
        mean_s = sum(durations_s) / len(durations_s)
        # The next cases may be another matter than the last: it grows step by step.
        fits = min(2 * self.size, int(_PACK_S / max(mean_s, 1e-6)))
        self.size = max(1, min(_most(self._packs_out), fits))

    @property
    def _packs_out(self) -> int:
        return self._slots() * _PACKS_PER_SLOT


def _most(packs_out: int) -> int:
    """Return the chunks that a pack may have where so many packs are out."""
    return max(1, min(_LARGEST_PACK, _MOST_CHUNKS_OUT // packs_out))

"""The seed plan: the replicates that trials are averaged over, and their chunks."""

import operator
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import OptionError

DEFAULT_CHUNK_SIZE = 100
DEFAULT_NUM_CHUNKS = 10

_MOST_SEEDS = 10**8
_MOST_CHUNKS = 10**6

#: Yields the sizes of the chunks that so many seeds are cut into, of which the last may be short.
Cut: TypeAlias = Callable[[int], Iterable[int]]


@attrs.frozen(eq=False)
class Chunk:
    """A contiguous piece of the seed plan; it carries its seeds."""

    #: Which chunk of the trial this is, from 0.
    index: int
    #: Position of its first seed in the seed plan.
    start: int
    seeds: NDArray[np.int64]
    #: How many seeds a vectorized loss gets in a call; None is all.
    batch: int | None = None

    @property
    def place(self) -> range:
        """The positions of its seeds in the seed plan."""
        return range(self.start, self.start + len(self.seeds))


@attrs.frozen(eq=False)
class SeedPlan:
    """The ordered seeds of a run; a trial uses all of them, or some (common random numbers)."""

    #: In the order in which they are given.
    seeds: NDArray[np.int64]
    #: Seeds in a chunk; the last chunk may be shorter.
    chunk_size: int
    #: Whether that says only how many workers are asked for: chunks are cut by what seeds take.
    measured: bool = False
    #: See `Chunk`; chunks have whole batches.
    batch: int | None = None

    @property
    def n_chunks(self) -> int:
        """Number of chunks that a trial is cut into."""
        return -(-len(self.seeds) // self.chunk_size)

    def chunks(
        self,
        covered: NDArray[np.bool_] | None = None,
        first_index: int = 0,
        cut: Cut | None = None,
    ) -> Iterator[Chunk]:
        """Cut the plan into chunks of `chunk_size`, or by `cut`, without what is `covered`."""
        if covered is None:
            covered = np.zeros(len(self.seeds), dtype=np.bool_)
        edges = np.flatnonzero(np.diff(np.concatenate(([True], covered, [True])).astype(np.int8)))
        index = first_index
        for first, last in edges.reshape(-1, 2).tolist():
            start = first
            for size in repeat(self.chunk_size) if cut is None else cut(last - first):
                stop = min(start + size, last)
                yield Chunk(index, start, self.seeds[start:stop], self.batch)
                index, start = index + 1, stop
                if start == last:
                    break


def seed_plan(
    *,
    seeds: Iterable[int] | None = None,
    n_seeds: int | None = None,
    chunk_size: int | None = None,
    num_chunks: int | None = None,
    seed_start: int = 0,
) -> SeedPlan:
    """Lay out the seeds of a run, as the options of these names say.

    Raises OptionError if there is no seed, a seed twice, one that is not a whole number of 64
    bits, or more seeds or chunks than a driver can hold.
    """
    if seeds is not None:
        array = _explicit(seeds)
    else:
        name = "chunk_size * num_chunks" if n_seeds is None else "n_seeds"
        if n_seeds is None:
            n_seeds = (chunk_size or DEFAULT_CHUNK_SIZE) * (num_chunks or DEFAULT_NUM_CHUNKS)
        _check_number(name, n_seeds)
        last = checked_seed("seed_start + n_seeds - 1", seed_start + n_seeds - 1)
        array = np.arange(n_seeds, dtype=np.int64) + (last - (n_seeds - 1))
    if chunk_size is None:
        chunk_size = DEFAULT_CHUNK_SIZE if num_chunks is None else -(-len(array) // num_chunks)
    plan = SeedPlan(array, chunk_size)
    if plan.n_chunks > _MOST_CHUNKS:
        hint = f"{len(array)} seeds make {plan.n_chunks}, and each takes the driver a millisecond."
        allowed = f"so large that a trial has at most {_MOST_CHUNKS} chunks"
        raise OptionError("chunk_size", chunk_size, allowed, hint)
    return plan


def checked_seed(name: str, value: Any) -> int:
    """Return a seed as a Python int; raise OptionError if it is not a whole number of 64 bits."""
    try:
        seed = operator.index(value)
    except TypeError:
        seed = None
    if seed is None or isinstance(value, bool | np.bool_) or not -(2**63) <= seed < 2**63:
        raise OptionError(name, value, "a whole number of 64 bits")
    return seed


def _explicit(seeds: Iterable[int]) -> NDArray[np.int64]:
    if not hasattr(seeds, "__iter__"):
        hint = f"n_seeds={seeds!r} is their number." if isinstance(seeds, int) else ""
        raise OptionError("seeds", seeds, "an iterable of whole numbers", hint)
    if isinstance(seeds, range):
        _check_number("len(seeds)", abs(seeds.stop - seeds.start) // abs(seeds.step))
    checked = (checked_seed("seeds", seed) for seed in islice(seeds, _MOST_SEEDS + 1))
    array = np.fromiter(checked, dtype=np.int64)
    _check_number("len(seeds)", len(array))
    if not len(array):
        raise OptionError("seeds", [], "at least one seed")
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) != len(array):
        hint = f"These are given more than once: {_abbreviated(unique[counts > 1])}."
        raise OptionError("seeds", _abbreviated(array), "without duplicates", hint)
    return array


def _check_number(name: str, n_seeds: int) -> None:
    if n_seeds > _MOST_SEEDS:
        why = "The driver holds the seeds of a run and the losses of a trial in memory."
        raise OptionError(name, n_seeds, f"at most {_MOST_SEEDS}", why)


def _abbreviated(values: NDArray[np.int64], limit: int = 20) -> list[int | str]:
    shown = values[:limit].tolist()
    return shown if len(values) <= limit else [*shown, "..."]

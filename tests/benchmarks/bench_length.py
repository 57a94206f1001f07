"""Whether a run of a million chunks goes on as it began: the driver's memory, and its rate.

    python -m tests.benchmarks.bench_length [--chunks 1000000] [--quick]

The loss does next to nothing, and a chunk is one seed, so that all time goes to chunks. They are
those of a random search whose trials have 1,000 chunks each, and those of a sweep with one chunk a
trial, of which a Dask task holds many. The driver and the scheduler are one process. How far a run
has come is read from its ledger, which grows by the same for each chunk. The targets: from 10 % of
the way on the process grows by at most 100 MB, and the last tenth goes at 0.9 times the rate of
the second tenth at least.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import psutil

import seedwise as sw
from tests.benchmarks.table import Row, show

SPACE = {"x": (-1.0, 1.0), "y": (0.0, 1.0)}
CHUNKS_A_TRIAL = 1000
_LOOK_S = 0.1


@sw.loss(name="nothing", description="next to nothing", parameter_space=SPACE)
def nothing(params, seed):
    return (params["x"] - 0.3) ** 2 + params["y"] + seed


def search(n_chunks: int, root: Path) -> None:
    sw.optimize_run(
        nothing,
        n_trials=n_chunks // CHUNKS_A_TRIAL,
        n_seeds=CHUNKS_A_TRIAL,
        chunk_size=1,
        race=False,
        sampler="random",
        cluster="local",
        workers=2,
        run_root=root,
        run_name="long",
        progress=False,
    )


def sweep(n_chunks: int, root: Path) -> None:
    space = {"x": sw.uniform(-1.0, 1.0), "y": sw.uniform(0.0, 1.0)}
    cases = sw.random(space, n_trials=n_chunks, seed=1)
    sw.run_sweep(
        nothing,
        cases,
        n_seeds=1,
        cluster="local",
        workers=2,
        run_root=root,
        run_name="long",
        progress=False,
    )


class Course:
    """The length of a ledger and this process's memory, as time goes by."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._seen: list[tuple[float, int, int]] = []
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        seen = np.array(self._seen, dtype=float)
        # Up to the end of the work: what comes after it is not of the length.
        seen = seen[: int(np.argmax(seen[:, 1])) + 1]
        self.time_s, self.part, self.rss_b = seen[:, 0], seen[:, 1] / seen[-1, 1], seen[:, 2]

    def _look(self) -> None:
        process = psutil.Process()
        while not self._ended.wait(_LOOK_S):
            if self._ledger.exists():
                length = self._ledger.stat().st_size
                self._seen.append((time.perf_counter(), length, process.memory_info().rss))

    def time_of(self, part: float) -> float:
        return float(np.interp(part, self.part, self.time_s))

    def rss_mb(self, part: float) -> float:
        """Return the most memory that was taken in the hundredth before this part of the way."""
        near = (self.part > part - 0.01) & (self.part <= part)
        return float(self.rss_b[near].max() if near.any() else self.rss_b[-1]) / 1e6


def rows_of(case: str, work: Callable[[int, Path], None], n_chunks: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with Course(root / "long" / "chunks.ledger") as course:
            work(n_chunks, root)
    took_s = course.time_of(1.0) - course.time_of(0.0)
    at_tenths = [course.rss_mb(tenth / 10) for tenth in range(1, 11)]
    growth_mb = max(at_tenths[1:]) - at_tenths[0]
    note = "MB at each tenth: " + ", ".join(f"{mb:.0f}" for mb in at_tenths)
    yield Row(case, "growth after the first tenth", [growth_mb], "MB", "<= 100", note)
    times_s = [course.time_of(tenth / 10) for tenth in range(11)]
    rates = [n_chunks / 10 / (b - a) for a, b in itertools.pairwise(times_s)]
    note = "chunks a second in each tenth: " + ", ".join(f"{rate:.0f}" for rate in rates)
    yield Row(case, "rate, last tenth over second", [rates[-1] / rates[1]], "", ">= 0.9", note)
    yield Row(case, "rate", [n_chunks / took_s], "chunks/s")


def rows(quick: bool = False, n_chunks: int = 1_000_000) -> Iterator[Row]:
    n_chunks = 20_000 if quick else n_chunks
    for name, work in (("a search", search), ("a sweep", sweep)):
        yield from rows_of(f"{name}, {n_chunks:,} chunks", work, n_chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    show(rows(given.quick, given.chunks))


if __name__ == "__main__":
    sys.exit(main())

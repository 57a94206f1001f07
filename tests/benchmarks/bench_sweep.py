"""How many cheap cases a sweep evaluates in a second, and what the driver's memory grows by.

    python -m tests.benchmarks.bench_sweep [N_CASES] [--quick]

One seed a case, on two local workers; the default is 100,000 cases. The target is a growth of less
than 200 MB.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Self

import psutil

import seedwise as sw
from tests.benchmarks.table import Row, show

N_CASES = 100_000


@sw.loss(
    name="cheap",
    description="next to nothing",
    parameter_space={"x": (-1.0, 1.0), "y": (0.0, 1.0)},
)
def cheap(params, seed):
    return (params["x"] - 0.3) ** 2 + params["y"] + seed


class Peak:
    """The most memory that this process has, while it is looked at."""

    def __enter__(self) -> Self:
        gc.collect()
        self.before = self.most = psutil.Process().memory_info().rss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            self.most = max(self.most, psutil.Process().memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def growth_mb(self) -> float:
        return (self.most - self.before) / 1e6


def sweep(n_cases: int, root: str) -> sw.SweepResult:
    space = {"x": sw.uniform(-1.0, 1.0), "y": sw.uniform(0.0, 1.0)}
    cases = sw.random(space, n_trials=n_cases, seed=1)
    return sw.run_sweep(cheap, cases, n_seeds=1, workers=2, run_root=root, progress=False)


def rows(n_cases: int = N_CASES, quick: bool = False) -> Iterator[Row]:
    n_cases = 2_000 if quick else n_cases
    with tempfile.TemporaryDirectory() as root:
        sweep(1_000, root)  # imports and pools of threads are there after that
        with Peak() as peak:
            began_s = time.perf_counter()
            result = sweep(n_cases, root)
            took_s = time.perf_counter() - began_s
        assert result.n_trials == n_cases
    case = f"{n_cases:,} cases"
    yield Row(case, "cases a second", [n_cases / took_s], note=f"{took_s:.1f} s")
    note = f"{peak.before / 1e6:.0f} MB before"
    yield Row(case, "growth of the driver", [peak.growth_mb], "MB", "<= 200", note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("n_cases", type=int, nargs="?", default=N_CASES)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    show(rows(given.n_cases, given.quick))


if __name__ == "__main__":
    main()

"""How many cheap cases a sweep evaluates in a second, and what the driver's memory grows by.

    python -m tests.benchmarks.bench_sweep [N_CASES]

One seed a case, on two local workers; the default is 100,000 cases. The target is a growth of less
than 200 MB.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import time
from typing import Self

import psutil

import seedwise as sw


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


def main() -> None:
    n_cases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as root:
        sweep(1000, root)  # imports and pools of threads are there after that
        with Peak() as peak:
            began_s = time.perf_counter()
            result = sweep(n_cases, root)
            took_s = time.perf_counter() - began_s
        assert result.n_trials == n_cases
        print(f"{n_cases} cases in {took_s:.1f} s: {n_cases / took_s:.0f} a second")
        print(f"memory of the driver: {peak.before / 1e6:.0f} MB, grew by {peak.growth_mb:.0f} MB")


if __name__ == "__main__":
    main()

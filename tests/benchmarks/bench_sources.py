"""Time the last case of sources that are too large to be enumerated.

    python -m tests.benchmarks.bench_sources [--quick]

The target is 1 ms for each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

from seedwise.model.sources import ParameterSource, grid, random
from seedwise.model.sources.distributions import (
    choice,
    loguniform,
    loguniform_int,
    randint,
    uniform,
)
from tests.benchmarks.table import Row, show

N_TURNS = 10_000
N_BLOCKS = 10


def sources() -> dict[str, Callable[[], ParameterSource]]:
    """Return what makes each source, by what it is."""
    one = {"x": uniform(0, 1)}
    five = {
        "decay": loguniform(1e-5, 1e-1),
        "depth": loguniform_int(1, 1024),
        "layers": randint(1, 12),
        "rule": choice(["adam", "sgd"]),
        "x": uniform(0, 1),
    }
    logs = {f"x{i:02}": loguniform(1e-5, 1e-1) for i in range(10)}
    return {
        "grid of 10**18, 18 axes of 10": lambda: grid(
            **{f"x{i:02}": list(range(10)) for i in range(18)}
        ),
        "grid of 10**18, 2 axes of 10**9": lambda: grid(x=range(10**9), y=range(10**9)),
        "random of 10**9, 1 uniform": lambda: random(one, 10**9, 7),
        "random of 10**9, 1 of each of 5": lambda: random(five, 10**9, 7),
        "random of 10**9, 10 loguniform": lambda: random(logs, 10**9, 7),
    }


def rows(quick: bool = False) -> Iterator[Row]:
    for what, make in sources().items():
        began_s = time.perf_counter()
        source = make()
        making_s = time.perf_counter() - began_s
        last = source.n_cases - 1
        times_s = []
        for _ in range(N_TURNS // 10 if quick else N_TURNS):
            began_s = time.perf_counter()
            source[last]
            times_s.append(time.perf_counter() - began_s)
        note = f"99.9 %: {statistics.quantiles(times_s, n=1000)[-1] * 1e6:.1f} us, "
        note += f"the source: {making_s * 1e6:.0f} us"
        # The figures of blocks: the longest of all has the machine's other work in it.
        size = len(times_s) // N_BLOCKS
        blocks = [times_s[begin : begin + size] for begin in range(0, len(times_s), size)]
        medians = [statistics.median(block) * 1e6 for block in blocks]
        yield Row(what, "last case", medians, "us", "<= 1000", note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    show(rows(parser.parse_args().quick))


if __name__ == "__main__":
    main()

"""For how long the driver's event loops are blocked during runs.

    python -m tests.benchmarks.bench_loop [--quick]

The scheduler and its client live in the driver's process. While one of their loops is blocked, no
worker gets a chunk, no result is taken, and no heartbeat is heard. Each run has its own two local
workers. The delays are those of a callback every 5 ms; what ran meanwhile is in the note, and how
late a thread was that does nothing. The target: no delay is longer than 50 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

import seedwise as sw
from tests.benchmarks.table import Row, show
from tests.benchmarks.watch import Lag, Watch

SPACE = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


@sw.loss(name="millisecond", description="1 ms a call", parameter_space=SPACE, vectorized=True)
def millisecond(params, seeds):
    time.sleep(1e-3)
    return np.full(len(seeds), params["x"] ** 2 + params["y"]) + seeds % 7


@sw.loss(name="nothing", description="next to nothing", parameter_space=SPACE)
def nothing(params, seed):
    return params["x"] ** 2 + params["y"] + seed % 7


@attrs.frozen
class Case:
    name: str
    loss: sw.LossDefinition
    options: dict[str, Any]


def cases(quick: bool) -> list[Case]:
    n_trials, n_chunks = (50, 5_000) if quick else (200, 20_000)
    short = {"n_trials": n_trials, "n_seeds": 16, "race": False, "sampler": "tpe"}
    one = {"n_trials": 1, "n_seeds": n_chunks, "race": False, "chunk_size": 1}
    ten = {"n_trials": 10, "n_seeds": n_chunks // 10, "race": False, "chunk_size": 1}
    return [
        Case(f"{n_trials} trials of 1 ms, TPE", millisecond, short),
        Case(f"{n_trials} trials, all defaults", nothing, {"n_trials": n_trials}),
        Case(f"10 trials of {n_chunks // 10} chunks", nothing, ten),
        Case(f"a trial of {n_chunks} chunks", nothing, one),
    ]


def rows_of(case: str, loop: str, lag: Lag, thread: Lag) -> Iterator[Row]:
    idle = f"idle thread {thread.longest_ms:.1f} ms"
    note = "; ".join(filter(None, (idle, lag.block)))
    yield Row(case, f"longest block, {loop}", [lag.longest_ms], "ms", "<= 50", note)
    idle = f"idle thread {thread.usual_ms:.1f} ms, of {len(lag.late_s)} beats"
    yield Row(case, f"99 % of blocks, {loop}", [lag.usual_ms], "ms", note=idle)


def rows(quick: bool = False) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as root:
        for case in cases(quick):
            with Watch() as watch:
                sw.optimize_run(
                    case.loss,
                    cluster="local",
                    workers=2,
                    run_root=root,
                    progress=False,
                    **case.options,
                )
            for name, lag in watch.loops.items():
                yield from rows_of(case.name, name, lag, watch.thread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    show(rows(parser.parse_args().quick))


if __name__ == "__main__":
    sys.exit(main())

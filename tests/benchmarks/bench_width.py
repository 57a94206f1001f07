"""Time runs on 100 to 1,000 slots beside raw `client.map`, in turns in one run.

    python -m tests.benchmarks.bench_width [--slots 100,300,1000] [--turns 3] [--quick]

Slots are threads of two local workers, and the loss sleeps, so that one machine has them all.
Both sides sleep for the same time in chunks of 5 s: a run of 16 trials, four of which are in
flight at once, and one `client.map` of as many tasks. The target: 0.95 of raw. A further row has
chunks as they are cut by default. For ours all of `optimize_run` counts, but there is no
validation, so that both do the same.

What this says of 10,000 slots: the driver, with its scheduler, is one process of one core, so what
limits the width is its time for a chunk, c. S slots with chunks of L seconds need a share S c / L
of that core; up to 0.7 of it chunks wait for milliseconds, and beyond that for seconds. So chunks
must last S c / 0.7 at least. c is what one more chunk takes: the difference between the widest and
the narrowest run, over the difference of their numbers of chunks. By default chunks last up to
10 s, which is what the share at 10,000 slots is stated for. Chunks that are out take memory, too:
two a slot, extrapolated in the same way. Not simulated, and not in the share, are connections:
10,000 workers have 10,000 sockets, and send 200 heartbeats a second in all, which is the most that
Dask lets them.
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
from distributed import Client

import seedwise as sw
from tests.benchmarks.sleeping import sleeping, slots
from tests.benchmarks.table import Row, show
from tests.benchmarks.watch import Watch

CHUNK_SIZE = 100
N_TRIALS = 16
IN_FLIGHT = 4
#: Trials in flight have two chunks for each slot.
CHUNKS_A_SLOT = N_TRIALS * 2 // IN_FLIGHT
WIDE = 10_000
LONGEST_CHUNK_S = 10.0
FULL = 0.7


def raw(client: Client, n_slots: int, chunk_s: float) -> Watch:
    """Sleep for as many chunks as a run does, by nothing but `client.map`."""

    def sleep(seeds):  # it travels by value, so that workers need not import this module
        time.sleep(chunk_s)
        return seeds * 0.5

    n_chunks = CHUNKS_A_SLOT * n_slots
    parts = [np.arange(first, first + CHUNK_SIZE) for first in range(n_chunks)]
    with Watch() as watch:
        client.gather(client.map(sleep, parts, pure=False))
    return watch


def ours(client: Client, n_slots: int, chunk_s: float, root: str, **options: Any) -> Watch:
    n_seeds = CHUNKS_A_SLOT * n_slots * CHUNK_SIZE // N_TRIALS
    with Watch() as watch:
        sw.optimize_run(
            sleeping("sleeping", chunk_s / CHUNK_SIZE),
            n_trials=N_TRIALS,
            max_concurrent_trials=IN_FLIGHT,
            n_seeds=n_seeds,
            race=False,
            cluster=client,
            run_root=root,
            progress=False,
            **options,
        )
    return watch


@attrs.frozen
class Turn:
    """What each side did in a turn: raw, ours with chunks of 5 s, and ours as cut by default."""

    raw: Watch
    given: Watch
    cut: Watch


def turns_of(n_slots: int, n_turns: int, chunk_s: float, root: str) -> list[Turn]:
    with slots(n_slots) as client:
        raw(client, n_slots, 0.01)  # threads and imports are there after that
        ours(client, n_slots, 0.01, root)
        return [
            Turn(
                raw(client, n_slots, chunk_s),
                ours(client, n_slots, chunk_s, root, chunk_size=CHUNK_SIZE),
                ours(client, n_slots, chunk_s, root),
            )
            for _ in range(n_turns)
        ]


def rows_of(n_slots: int, turns: list[Turn], chunk_s: float) -> Iterator[Row]:
    case, n_chunks = f"{n_slots} slots", CHUNKS_A_SLOT * n_slots
    both = {"ours": [turn.given for turn in turns], "raw": [turn.raw for turn in turns]}
    last = turns[-1]
    took = f"sleep alone {CHUNKS_A_SLOT * chunk_s:.0f} s, raw {last.raw.took_s:.1f} s, ours "
    for name, ours_of in (
        (f"chunks of {chunk_s:g} s", lambda turn: turn.given),
        ("all defaults", lambda turn: turn.cut),
    ):
        ratios = [turn.raw.took_s / ours_of(turn).took_s for turn in turns]
        note = f"{took}{ours_of(last).took_s:.1f} s"
        yield Row(case, f"raw time over ours, {name}", ratios, target=">= 0.95", note=note)
    for name, runs in both.items():
        cpu_ms = [1e3 * run.cpu_s / n_chunks for run in runs]
        yield Row(case, f"driver's CPU a chunk, {name}", cpu_ms, "ms")
        yield Row(case, f"driver's memory, {name}", [run.most_mb for run in runs], "MB")
        for loop in runs[0].loops:
            lags = [run.loops[loop] for run in runs]
            usual = f"99 % below {max(lag.usual_ms for lag in lags):.1f} ms"
            note = "; ".join(filter(None, (usual, lags[-1].block)))
            longest_ms = [lag.longest_ms for lag in lags]
            yield Row(case, f"longest block of the loop, {name}", longest_ms, "ms", note=note)


def wide_rows(narrow: int, wide: int, turns: dict[int, list[Turn]]) -> Iterator[Row]:
    """Extrapolate: what a run takes however narrow it is cancels out of the difference."""
    pairs = list(zip(turns[narrow], turns[wide], strict=True))
    n_more = CHUNKS_A_SLOT * (wide - narrow)
    cost_s = [(b.given.cpu_s - a.given.cpu_s) / n_more for a, b in pairs]
    # Freed memory may stay with the process. So this is what the most is, and not what comes on
    # top of an earlier run, which may find room enough.
    mb_a_slot = [(b.given.most_mb - a.given.most_mb) / (wide - narrow) for a, b in pairs]
    case = f"{WIDE:,} slots, by {narrow} and {wide}"
    yield Row(case, "driver's CPU for one more chunk", [1e3 * c for c in cost_s], "ms")
    share = [WIDE * c / LONGEST_CHUNK_S for c in cost_s]
    yield Row(case, "share of the driver's core, chunks of 10 s", share, target=f"<= {FULL}")
    yield Row(case, "chunks must last", [WIDE * c / FULL for c in cost_s], "s")
    memory_mb = [WIDE * mb for mb in mb_a_slot]
    yield Row(case, "driver's memory beyond that of 0 slots", memory_mb, "MB")


def rows(quick: bool = False, widths: tuple[int, ...] = (), n_turns: int = 3) -> Iterator[Row]:
    widths = widths or ((40, 200) if quick else (100, 300, 1000))
    chunk_s = 0.5 if quick else 5.0
    turns: dict[int, list[Turn]] = {}
    with tempfile.TemporaryDirectory() as root:
        for n_slots in widths:
            turns[n_slots] = turns_of(n_slots, 1 if quick else n_turns, chunk_s, root)
            yield from rows_of(n_slots, turns[n_slots], chunk_s)
    if len(widths) > 1:
        yield from wide_rows(widths[0], widths[-1], turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slots", default="", help="separated by commas")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    widths = tuple(int(word) for word in given.slots.split(",") if word)
    show(rows(given.quick, widths, given.turns))


if __name__ == "__main__":
    sys.exit(main())

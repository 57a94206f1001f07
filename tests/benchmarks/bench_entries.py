"""Time the trials of many entries against as many trials in one run, in turns in one run.

    python -m tests.benchmarks.bench_entries [--quick] [--entries 30,200]

Each entry has 20 trials of about 50 ms on two workers, and a folder, study and ledger of its own.
The one run has as many trials of the same seeds. Both sample at random: what TPE takes for a point
grows with the study, and an entry's is short. All else is as by default, but that each trial gets
all seeds and that there is no validation. The whole call counts, on workers that are there. There
is no target: the ratio says what entries cost.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from distributed import Client, LocalCluster

import seedwise as sw
from tests.benchmarks.loss import walk
from tests.benchmarks.table import Row, show

N_ENTRIES = (30, 200)
N_TRIALS = 20
N_SEEDS = 1_000
#: Trials of one side, about; so the long case has one turn.
N_TRIALS_IN_ALL = 2_000


def time_entries(n_entries: int, options: dict[str, Any]) -> float:
    ids = [f"entry{number:03}" for number in range(n_entries)]
    began_s = time.perf_counter()
    sw.optimize_entries(walk, entry_ids=ids, n_trials=N_TRIALS, **options)
    return time.perf_counter() - began_s


def time_one_run(n_trials: int, options: dict[str, Any]) -> float:
    began_s = time.perf_counter()
    sw.optimize_run(walk, n_trials=n_trials, **options)
    return time.perf_counter() - began_s


def rows(entries: Sequence[int] = N_ENTRIES, quick: bool = False) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as root,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        options = {
            "n_seeds": N_SEEDS,
            "race": False,
            "n_validation_seeds": 0,
            "sampler": "random",
            "cluster": client,
            "run_root": root,
            "progress": False,
        }
        time_one_run(2, options)  # imports are there after that
        for n_entries in (5,) if quick else entries:
            n_trials = n_entries * N_TRIALS
            n_turns = 1 if quick else max(1, N_TRIALS_IN_ALL // n_trials)
            turns = [
                (time_entries(n_entries, options), time_one_run(n_trials, options))
                for _ in range(n_turns)
            ]
            of_entries, of_one = (statistics.median(column) for column in zip(*turns, strict=True))
            yield Row(
                f"{n_entries} entries x {N_TRIALS} trials",
                "time, by that of one run",
                [entries_s / one_s for entries_s, one_s in turns],
                note=f"{of_entries / n_trials * 1e3:.1f} ms a trial, "
                f"{of_one / n_trials * 1e3:.1f} ms in one run",
            )


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--entries", type=numbers, default=N_ENTRIES)
    given = parser.parse_args()
    show(rows(given.entries, given.quick))


if __name__ == "__main__":
    main()

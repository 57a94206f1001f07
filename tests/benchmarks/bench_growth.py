"""Time a trial of a trivial loss as a study grows, beside plain Optuna in memory, in one run.

    python -m tests.benchmarks.bench_growth [--trials 100,1000,5000,10000] [--quick]

The loss is a constant, so what takes time is the trial itself: ask, send, fetch, ledger, tell,
checkpoint, status. Both sides have the same sampler, and studies of the same length: they are
filled by random search, and then some trials of each are timed by TPE, one after the other. A
calibration loop of bare arithmetic says how fast the machine was meanwhile. The targets: ours
takes at most 4 calibration units longer (8 ms where plain TPE takes 2 ms at 300 trials), whatever
the length, and 1.2 times as long from 5,000 trials on. The spread is of the quartiles.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import optuna
from distributed import Client, LocalCluster

import seedwise as sw
from seedwise.model.space import ParameterSpace, checked_space
from seedwise.study.samplers import distributions, make_sampler
from tests.benchmarks.table import Row, show

N_TIMED = 50


def space(n_params: int) -> ParameterSpace:
    return checked_space({f"x{index}": (0.0, 1.0) for index in range(n_params)})


def flat(params: dict[str, float], seeds: np.ndarray) -> np.ndarray:
    return np.full(len(seeds), sum((value - 0.3) ** 2 for value in params.values()))


def ours_s(client: Client, root: Path, n_params: int, lengths: list[int]) -> Iterator[list[float]]:
    """Yield what the timed trials took at each length, as the study file has it."""
    loss = sw.loss(
        name=f"flat{n_params}",
        description="nothing to do",
        parameter_space=space(n_params),
        vectorized=True,
    )(flat)
    for length in lengths:
        for sampler, n_trials in (("random", length), ("tpe", length + N_TIMED)):
            result = sw.optimize_run(
                loss,
                n_trials=n_trials,
                n_seeds=16,
                race=False,
                sampler=sampler,
                cluster=client,
                run_root=root,
                run_name=loss.name,
                accept_changes=True,
                progress=False,
            )
        records = map(json.loads, (Path(result.run_dir) / "study.journal").open())
        ends = [record["datetime_complete"] for record in records if "datetime_complete" in record]
        last = [datetime.fromisoformat(end) for end in ends[-N_TIMED:]]
        yield [(end - begin).total_seconds() for begin, end in itertools.pairwise(last)]


def plain_s(n_params: int, lengths: list[int]) -> Iterator[list[float]]:
    """Yield the same for a study in memory."""
    found = distributions(space(n_params))
    study = optuna.create_study()
    for length in lengths:
        for sampler, n_trials in (("random", length), ("tpe", length + N_TIMED)):
            study.sampler = make_sampler(sampler, 123)
            took_s = []
            while len(study.trials) < n_trials:
                began_s = time.perf_counter()
                trial = study.ask(found)
                study.tell(trial, float(flat(trial.params, np.arange(1))[0]))
                took_s.append(time.perf_counter() - began_s)
        yield took_s


def calibration_s() -> float:
    """Return what a loop takes that is 2 ms on a machine where plain TPE takes 2 ms."""
    began_s = time.perf_counter()
    total = 0
    for number in range(70_000):
        total += number * number
    return time.perf_counter() - began_s


def rows(quick: bool = False, lengths: list[int] | None = None) -> Iterator[Row]:
    lengths = lengths or ([100, 300] if quick else [100, 300, 1000, 5000, 10_000])
    for n_params in (2,) if quick else (2, 20):
        with (
            tempfile.TemporaryDirectory() as root,
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            both = zip(
                lengths,
                ours_s(client, Path(root), n_params, lengths),
                plain_s(n_params, lengths),
                strict=True,
            )
            for length, ours, plain in both:
                unit_s = statistics.median(calibration_s() for _ in range(21))
                a, b = statistics.median(ours), statistics.median(plain)
                case = f"{n_params} params, {length} trials"
                note = (
                    f"ours {a * 1e3:.1f} ms, plain {b * 1e3:.1f} ms, a unit {unit_s * 1e3:.1f} ms"
                )
                units = [(one - b) / unit_s for one in quartiles(ours)]
                yield Row(case, "difference in units", units, "", "<= 4", note)
                ratios = [one / b for one in quartiles(ours)]
                yield Row(case, "ours over plain", ratios, "", "<= 1.2" if length >= 5000 else "")


def quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--trials", type=lambda text: [int(word) for word in text.split(",")])
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    show(rows(given.quick, given.trials))


if __name__ == "__main__":
    sys.exit(main())

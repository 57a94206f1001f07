"""Time a trial of a trivial loss as a study grows, beside plain Optuna in memory, in one run.

    python -m tests.benchmarks.bench_growth [--trials 100,1000,5000,10000] [--quick]

The loss is a constant, so what takes time is the trial itself: ask, send, fetch, ledger, tell,
checkpoint, status. Both sides have the same sampler, and studies of the same length: they are
filled by random search, and then some trials of each are timed by TPE, in turns. A calibration
loop of bare arithmetic says how fast the machine was meanwhile. The targets: ours takes at most 4
calibration units longer (8 ms where plain TPE takes 2 ms at 300 trials), whatever the length, and
1.2 times as long from 5,000 trials on.
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
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import dask
import numpy as np
import optuna
from distributed import Client, LocalCluster

import seedwise as sw
from seedwise.cluster.dask_settings import SCHEDULER_SETTINGS
from seedwise.model.space import ParameterSpace, checked_space
from seedwise.study.samplers import distributions, make_sampler
from tests.benchmarks.table import Row, show

N_TURNS = 5
#: Trials of a turn; and those of its end that are timed, since a call has more to do at first. All
#: turns end before the next length begins.
N_TRIALS, N_TIMED = 35, 20

#: Makes a study longer by a sampler; returns what its last trials took.
Grow: TypeAlias = Callable[[str, int], list[float]]


def space(n_params: int) -> ParameterSpace:
    return checked_space({f"x{index}": (0.0, 1.0) for index in range(n_params)})


def flat(params: dict[str, float], seeds: np.ndarray) -> np.ndarray:
    return np.full(len(seeds), sum((value - 0.3) ** 2 for value in params.values()))


def ours(client: Client, root: Path, n_params: int) -> Grow:
    loss = sw.loss(
        name=f"flat{n_params}",
        description="nothing to do",
        parameter_space=space(n_params),
        vectorized=True,
    )(flat)

    def grow(sampler: str, n_trials: int) -> list[float]:
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
        # As the study file has it.
        records = map(json.loads, (Path(result.run_dir) / "study.journal").open())
        ends = [record["datetime_complete"] for record in records if "datetime_complete" in record]
        last = [datetime.fromisoformat(end) for end in ends[-N_TIMED:]]
        return [(end - begin).total_seconds() for begin, end in itertools.pairwise(last)]

    return grow


def plain(n_params: int) -> Grow:
    """Return the same for a study in memory."""
    found = distributions(space(n_params))
    study = optuna.create_study()

    def grow(sampler: str, n_trials: int) -> list[float]:
        study.sampler = make_sampler(sampler, 123)
        took_s = []
        for _ in range(n_trials - len(study.get_trials(deepcopy=False))):
            began_s = time.perf_counter()
            trial = study.ask(found)
            study.tell(trial, float(flat(trial.params, np.arange(1))[0]))
            took_s.append(time.perf_counter() - began_s)
        return took_s[-N_TIMED:]

    return grow


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
            dask.config.set(SCHEDULER_SETTINGS),  # as our own clusters have them
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            sides = ours(client, Path(root), n_params), plain(n_params)
            for length in lengths:
                for grow in sides:
                    grow("random", length)
                ours_s, plain_s, units_s = [], [], []
                for turn in range(N_TURNS):
                    n_trials = length + (turn + 1) * N_TRIALS
                    for grow, took_s in zip(sides, (ours_s, plain_s), strict=True):
                        took_s.append(statistics.median(grow("tpe", n_trials)))
                    units_s.append(statistics.median(calibration_s() for _ in range(21)))
                yield from _rows(f"{n_params} params, {length} trials", ours_s, plain_s, units_s)


def _rows(
    case: str, ours_s: list[float], plain_s: list[float], units_s: list[float]
) -> Iterator[Row]:
    sides = {"ours": ours_s, "plain": plain_s, "a unit": units_s}
    note = ", ".join(f"{name} {statistics.median(s) * 1e3:.1f} ms" for name, s in sides.items())
    turns = list(zip(ours_s, plain_s, units_s, strict=True))
    units = [(one - other) / unit_s for one, other, unit_s in turns]
    yield Row(case, "difference in units", units, "", "<= 4", note)
    ratios = [one / other for one, other, _ in turns]
    target = "<= 1.2" if int(case.split()[2]) >= 5000 else ""
    yield Row(case, "ours over plain", ratios, "", target)


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

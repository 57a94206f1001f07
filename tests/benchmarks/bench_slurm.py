"""Time a run on the real Slurm against slurptuna 0.0.7's distributed mode, in turns in one run.

    python -m tests.benchmarks.bench_slurm

Both do 10 trials x 4,000 seeds at about 0.1 ms a seed in 4 chunks; slurptuna polls every second,
the fastest that it can. Two figures are compared: the whole call, with the start of seedwise's
jobs, and the time a trial takes once the first is done. The target is a factor of 4.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import optuna
import slurptuna

import seedwise as sw
from tests.benchmarks.loss import walk
from tests.benchmarks.slurptuna_loss import slurptuna_walk
from tests.testbed.testbed import Testbed

N_TRIALS = 10
N_SEEDS = 4000
CHUNK_SIZE = 1000
N_TURNS = 3


def time_seedwise(root: str) -> tuple[float, float]:
    began_s = time.perf_counter()
    result = sw.optimize_run(
        walk,
        n_trials=N_TRIALS,
        n_seeds=N_SEEDS,
        chunk_size=CHUNK_SIZE,
        cluster="slurm",
        slurm=sw.SlurmOptions(interface="lo"),
        run_root=root,
        progress=False,
    )
    whole_s = time.perf_counter() - began_s
    return whole_s, time_a_trial(result.study())


def time_slurptuna(root: str) -> tuple[float, float]:
    began_s = time.perf_counter()
    result = slurptuna.optimize_run(
        slurptuna_walk,
        n_trials=N_TRIALS,
        n_seeds=N_SEEDS,
        chunk_size=CHUNK_SIZE,
        mode=slurptuna.execution_mode("distributed"),
        loss_module="tests.benchmarks.slurptuna_loss",
        slurm_poll_seconds=1,
        run_root=root,
    )
    whole_s = time.perf_counter() - began_s
    storage = f"sqlite:///{Path(result.run_dir or '').resolve()}/optuna.db"
    return whole_s, time_a_trial(optuna.load_study(study_name="walk", storage=storage))


def time_a_trial(study: optuna.Study) -> float:
    """Seconds a trial, from the end of the first to the end of the last."""
    ends: list[datetime] = [t.datetime_complete for t in study.trials if t.datetime_complete]
    return (ends[-1] - ends[0]).total_seconds() / (len(ends) - 1)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    figures: dict[str, list[tuple[float, float]]] = {"seedwise": [], "slurptuna": []}
    with Testbed() as testbed, tempfile.TemporaryDirectory() as root:
        os.environ.update(testbed.env)
        for _ in range(N_TURNS):
            figures["seedwise"].append(time_seedwise(f"{root}/seedwise"))
            figures["slurptuna"].append(time_slurptuna(f"{root}/slurptuna"))
    for index, what in enumerate(("the whole call", "a trial after the first")):
        medians = {
            who: statistics.median(pair[index] for pair in pairs) for who, pairs in figures.items()
        }
        factors = [
            theirs[index] / ours[index]
            for ours, theirs in zip(figures["seedwise"], figures["slurptuna"], strict=True)
        ]
        print(
            f"{what}: seedwise {medians['seedwise']:.2f} s, "
            f"slurptuna {medians['slurptuna']:.2f} s; "
            f"factor median {statistics.median(factors):.1f}, min {min(factors):.1f}"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    sys.exit(main())

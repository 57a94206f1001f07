"""Time runs with all defaults against as many bare processes, in turns in one run.

    python -m tests.benchmarks.bench_efficiency [--turns 3] [--case "0.1 ms, 1 s"] [--quick]

Both sides evaluate the same seeds at the same points. A bare process gets its share of a trial's
seeds in one message and sends the losses back in another. The limit is the time that the bare
processes spend in the function, evenly divided among them, for some trials from the middle of a
run. Efficiency is the limit over the time that our run takes from the last tell before these
trials to the last of theirs: study, ledger and the rest included. The speed of a machine changes
within minutes, so the limit is the mean of before and after each run. What a call costs besides,
however many trials it has, is given in seconds: the start of the workers, above all. Only the
validation is off, so that both do the same. The targets: 0.95 where a trial takes a second, and
0.90 where it takes a quarter. Some cases run on jobs of a real Slurm as
well.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import attrs
import numpy as np

import seedwise as sw
from seedwise.model.racing import looks
from tests.benchmarks.table import Row, show
from tests.testbed.testbed import Testbed

SPACE = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


def add_up(n_numbers: int) -> float:
    total = 0.0
    for number in range(n_numbers):
        total += number * 1e-9
    return total


def loops_a_second() -> int:
    """Return how far `add_up` comes in a second on this machine."""
    took_s = []
    for _ in range(9):
        began_s = time.perf_counter()
        add_up(1_000_000)
        took_s.append(time.perf_counter() - began_s)
    return round(1e6 / statistics.median(took_s))


# In the environment, so that the processes of both sides do the same.
_VARIABLE = "SEEDWISE_BENCHMARK_LOOPS_A_SECOND"
if _VARIABLE not in os.environ:
    os.environ[_VARIABLE] = str(loops_a_second())
LOOPS_A_SECOND = int(os.environ[_VARIABLE])


def spin(cost_s: float) -> float:
    """Compute for about so long; return a number."""
    return add_up(int(cost_s * LOOPS_A_SECOND))


def _loss(name: str, cost_s: Any) -> sw.LossDefinition:
    @sw.loss(name=name, description="spins", parameter_space=SPACE)
    def spins(params, seed):
        return spin(cost_s(params, seed)) + params["x"] + seed % 7

    return spins


def uneven(params: dict[str, float], seed: int) -> float:
    """Cost 10 times as much at some points as at others, and for some seeds as for others."""
    return 1e-3 * 10 ** (params["x"] - 0.5) * 10 ** (((seed * 2654435761) % 1000) / 1000 - 0.5)


@sw.loss(name="vector", description="10 us a seed", parameter_space=SPACE, vectorized=True)
def vector(params, seeds):
    return np.array([spin(1e-5) + params["x"] + seed % 7 for seed in seeds.tolist()])


short = _loss("short", lambda params, seed: 1e-4)
medium = _loss("medium", lambda params, seed: 1e-3)
long = _loss("long", lambda params, seed: 1e-2)
second = _loss("second", lambda params, seed: 1.0)
mixed = _loss("mixed", uneven)


@attrs.frozen
class Case:
    """A loss, the seeds of a run, of which a trial gets an eighth, and the trials."""

    loss: sw.LossDefinition
    n_seeds: int
    target: str = ">= 0.95"
    #: The trials that are timed. At trial 10 SciPy is imported, to smooth the values: that is a
    #: part of what a call costs besides, so they come after it where that is affordable.
    timed: range = range(12, 24)

    @property
    def n_trials(self) -> int:
        """A run's trials: four are in flight, and so they are when the last timed one is told."""
        return self.timed.stop + 4


#: By the cost of a seed, and about what a trial takes on two workers.
CASES = {
    "10 us, 1 s": Case(vector, 1_600_000),
    "0.1 ms, 0.25 s": Case(short, 40_000, ">= 0.90", range(12, 52)),
    "0.1 ms, 1 s": Case(short, 160_000),
    "1 ms, 0.25 s": Case(medium, 4_000, ">= 0.90", range(12, 52)),
    "1 ms, 1 s": Case(medium, 16_000),
    "10 ms, 1 s": Case(long, 1_600),
    "1 s, 8 s": Case(second, 64, timed=range(4, 9)),
    "0.3 to 30 ms, 1 s": Case(mixed, 10_000),
}


def bare_worker(link: Connection) -> None:
    while (task := link.recv()) is not None:
        name, params, seeds = task
        loss = CASES[name].loss.function
        began_s = time.perf_counter()
        if CASES[name].loss.vectorized:
            for first in range(0, len(seeds), 100):
                loss(params, seeds[first : first + 100])
        else:
            for seed in seeds.tolist():
                loss(params, seed)
        link.send(time.perf_counter() - began_s)


def time_bare(links: list[Connection], name: str, trials: list[sw.TrialResult]) -> float:
    """Return what so many processes take for the same trials, their work evenly divided."""
    took_s, parts = 0.0, looks("auto", CASES[name].n_seeds)
    for trial in trials:
        shares = np.array_split(np.flatnonzero(parts.wanted(trial.number, 0)), len(links))
        for link, share in zip(links, shares, strict=True):
            link.send((name, trial.params, share))
        took_s += sum(link.recv() for link in links) / len(links)
    return took_s


def time_ours(
    name: str, root: str, where: dict[str, Any]
) -> tuple[float, float, list[sw.TrialResult]]:
    """Return what the whole call takes, the timed trials alone, and these."""
    case = CASES[name]
    began_s = time.perf_counter()
    result = sw.optimize_run(
        case.loss,
        n_trials=case.n_trials,
        n_seeds=case.n_seeds,
        n_validation_seeds=0,
        run_root=root,
        progress=False,
        **where,
    )
    took_s = time.perf_counter() - began_s
    told = [trial.datetime_complete for trial in result.study().trials]
    timed_s = (told[case.timed.stop - 1] - told[case.timed.start - 1]).total_seconds()
    return took_s, timed_s, [result.trials[each] for each in case.timed]


@contextlib.contextmanager
def bare_processes(n_workers: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(n_workers)]
    processes = [
        context.Process(target=bare_worker, args=(theirs,), daemon=True) for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    links = [ours for ours, _ in pairs]
    yield links
    for link in links:
        link.send(None)
    for process in processes:
        process.join()


def rows_of(name: str, n_workers: int, on_slurm: bool, n_turns: int) -> Iterator[Row]:
    slurm = {"cluster": "slurm", "slurm": sw.SlurmOptions(interface="lo")}
    where = {"workers": n_workers, **(slurm if on_slurm else {"cluster": "local"})}
    timed = CASES[name].timed
    efficiencies, besides_s, limits_s = [], [], []
    with bare_processes(n_workers) as links, tempfile.TemporaryDirectory() as root:
        *_, trials = time_ours(name, root, where)  # each run has the same trials
        limits_s.append(time_bare(links, name, trials))
        for _ in range(n_turns):
            whole_s, timed_s, _ = time_ours(name, root, where)
            limits_s.append(time_bare(links, name, trials))
            efficiencies.append(statistics.mean(limits_s[-2:]) / timed_s)
            besides_s.append(whole_s - CASES[name].n_trials * timed_s / len(timed))
    case = f"{name} a trial, {n_workers} {'jobs on Slurm' if on_slurm else 'workers'}"
    note = f"a trial takes {statistics.median(limits_s) / len(timed):.2f} s"
    yield Row(case, "efficiency", efficiencies, "", CASES[name].target, note)
    yield Row(case, "what a call costs besides", besides_s, "s")


def rows(n_turns: int = 3, quick: bool = False) -> Iterator[Row]:
    if quick:
        yield from rows_of("0.1 ms, 0.25 s", 2, False, 1)
        return
    for name in CASES:
        yield from rows_of(name, 2, False, n_turns)
    yield from rows_of("0.1 ms, 1 s", 1, False, n_turns)
    with Testbed() as testbed:
        os.environ.update(testbed.env)
        for name in ("0.1 ms, 0.25 s", "0.1 ms, 1 s"):
            yield from rows_of(name, 2, True, n_turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", choices=list(CASES), help="only this one, on 2 workers here")
    given = parser.parse_args()
    if given.case:
        show(rows_of(given.case, 2, False, given.turns))
    else:
        show(rows(given.turns, given.quick))


if __name__ == "__main__":
    sys.exit(main())

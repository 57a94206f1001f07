"""Time runs with all defaults against as many bare processes, in turns in one run.

    python -m tests.benchmarks.bench_efficiency [--turns 3] [--case "0.1 ms, 1 s"] [--quick]

Both sides evaluate the same seeds at the same points. A bare process gets its share of a trial's
seeds in one message and sends the losses back in another. The limit is the time that the bare
processes spend in the function, evenly divided among them, for some trials from the middle of a
run. Efficiency is the limit over the time that our run takes from the last tell before these
trials to the last of theirs: study, ledger and the rest included. The speed of a machine changes
by a quarter within minutes, so the limit is the mean of before and after each run; a second row
does not depend on the speed: which part of a core each thread that evaluates has, by the kernel's
accounts. What a call costs besides, however many trials it has, is given in seconds: the start of
the workers, above all. Only the
validation is off, so that both do the same. The targets: 0.95 where a trial takes a second, and
0.90 where it takes a quarter. Some cases run on jobs of a real Slurm as
well.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

import attrs
import numpy as np
import psutil

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
    #: part of what a call costs besides, so they come after it. Of long trials all are timed: few
    #: are affordable, and those in flight at the first and last tell would be much of them.
    timed: range = range(12, 24)

    @property
    def n_trials(self) -> int:
        """A run's trials: four are in flight, and so they are when the last timed one is told."""
        return self.timed.stop + (4 if self.timed.start else 0)


#: By the cost of a seed, and about what a trial takes on two workers.
CASES = {
    "10 us, 1 s": Case(vector, 1_600_000, ""),
    "0.1 ms, 0.25 s": Case(short, 40_000, ">= 0.90", range(12, 52)),
    "0.1 ms, 1 s": Case(short, 160_000),
    "1 ms, 0.25 s": Case(medium, 4_000, ">= 0.90", range(12, 52)),
    "1 ms, 1 s": Case(medium, 16_000),
    "10 ms, 1 s": Case(long, 1_600),
    "1 s, 8 s": Case(second, 64, timed=range(12)),
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


class Threads(contextlib.AbstractContextManager["Threads"]):
    """Samples the processor time of all threads of processes that begin from now on."""

    def __init__(self) -> None:
        self._older = set(psutil.pids())
        self._samples: list[tuple[datetime, dict[tuple[int, int], float]]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(1.0):
            now, seconds = datetime.now(), {}
            for process in psutil.process_iter():
                if process.pid in self._older:
                    continue
                with contextlib.suppress(psutil.Error):
                    for each in process.threads():
                        seconds[process.pid, each.id] = each.user_time + each.system_time
            self._samples.append((now, seconds))

    def share(self, began: datetime, ended: datetime, n_busiest: int) -> float:
        """Return which part of a core each of the busiest threads had, between two times."""
        (first, before), *_, (last, after) = (
            sample for sample in self._samples if began <= sample[0] <= ended
        )
        grown_s = sorted(after[key] - before.get(key, 0.0) for key in after)[-n_busiest:]
        return sum(grown_s) / n_busiest / (last - first).total_seconds()


@attrs.frozen
class Timed:
    """What a run of ours took: the whole call, and its timed trials."""

    whole_s: float
    timed_s: float
    #: Which part of a core each thread that evaluates had meanwhile.
    share: float
    trials: list[sw.TrialResult]


def time_ours(name: str, root: str, where: dict[str, Any]) -> Timed:
    case = CASES[name]
    began_s = time.perf_counter()
    with Threads() as threads:
        result = sw.optimize_run(
            case.loss,
            n_trials=case.n_trials,
            n_seeds=case.n_seeds,
            n_validation_seeds=0,
            run_root=root,
            progress=False,
            **where,
        )
    whole_s = time.perf_counter() - began_s
    found, first = result.study().trials, case.timed.start
    began = found[first - 1].datetime_complete if first else found[0].datetime_start
    ended = found[case.timed.stop - 1].datetime_complete
    return Timed(
        whole_s,
        (ended - began).total_seconds(),
        threads.share(began, ended, where["workers"]),
        [result.trials[each] for each in case.timed],
    )


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
    case = CASES[name]
    ours, limits_s = [], []
    with bare_processes(n_workers) as links, tempfile.TemporaryDirectory() as root:
        trials = time_ours(name, root, where).trials  # each run has the same trials
        limits_s.append(time_bare(links, name, trials))
        for _ in range(n_turns):
            ours.append(time_ours(name, root, where))
            limits_s.append(time_bare(links, name, trials))
    around_s = map(statistics.mean, itertools.pairwise(limits_s))
    efficiencies = [limit_s / one.timed_s for limit_s, one in zip(around_s, ours, strict=True)]
    besides_s = [one.whole_s - case.n_trials * one.timed_s / len(trials) for one in ours]
    where_to = "jobs on Slurm" if on_slurm else "worker" if n_workers == 1 else "workers"
    title = f"{name} a trial, {n_workers} {where_to}"
    note = f"a trial takes {statistics.median(limits_s) / len(trials):.2f} s"
    yield Row(title, "efficiency", efficiencies, "", case.target, note)
    yield Row(title, "of a core, each thread that evaluates", [one.share for one in ours])
    yield Row(title, "what a call costs besides", besides_s, "s")


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

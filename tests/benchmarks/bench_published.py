"""What our figures predict for slurptuna's published benchmark, and how far that holds.

    python -m tests.benchmarks.bench_published [--slots 100] [--quick]

The benchmark (its repository, folder benchmark): a loss with Gaussian noise of 0.5 that takes
0.84 ms a seed (84 s for 100,000 seeds in one process), and one trial of 40 million seeds in 100
Slurm tasks of 4 processes. It took 399 s, 100,251 seeds a second, 84 times as many as one process:
an efficiency of 0.21 on 400 processes. It counts the time of one process for all seeds, over 400
times the time that the run took; what Slurm took to start the tasks is in it, and not in ours.

The model of a run of ours has six costs, and each is measured first, on bare workers:

- start: what `optimize_run` takes around its work,
- trial: what it takes between trials,
- chunk: the driver's processor time for one more chunk,
- task: a worker's processor time for one more chunk,
- seed: what a worker takes for a seed beyond the loss itself,
- tell: what the driver takes for one more seed of a trial.

A trial is opened when the one before it is told. It is cut by the code that cuts trials
(`ChunkSizes`), which knows the chunks of the trials told before. The driver sends a chunk after
another, each slot takes the next as soon as it is free, and the trial is told when the last is
back: so the tail, when slots have nothing to do, is part of the model, and not of the costs.

It is checked at 100 slots that sleep for what the loss takes, with the same seeds a slot: the time
that it predicts is to be within 5 % of the time that the run takes.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
from distributed import Client

import seedwise as sw
from seedwise.dispatch.sizes import ChunkSizes
from seedwise.driver.parts import plan_of
from seedwise.model.options.study import StudyOptions
from seedwise.model.seeds import Chunk, SeedPlan
from seedwise.worker.block import evaluate_block
from tests.benchmarks.sleeping import SPACE, noise, sleeping, slots
from tests.benchmarks.table import Row, show

SEED_S = 0.84e-3
PUBLISHED_SEEDS = 40_000_000
PUBLISHED_SLOTS = 400
PUBLISHED = 0.21
N_TURNS = 10

BARE = {"race": False, "sampler": "random", "n_validation_seeds": 0, "progress": False}


@sw.loss(name="scaling", description="noise of 0.5, and work", parameter_space=SPACE)
def scaling(params, seed):
    total = 0.0
    for number in range(10_000):
        total += ((number + seed) % 17) * 1e-8
    noise_of_seed = random.Random(seed).gauss(0.0, 0.5)
    return (params["x"] - 0.37) ** 2 + (params["y"] - 0.72) ** 2 + noise_of_seed


@sw.loss(name="nothing", description="next to nothing", parameter_space=SPACE, vectorized=True)
def nothing(params, seeds):
    return (params["x"] - 0.3) ** 2 + noise(seeds)


SLEEPING = sleeping("sleeping", SEED_S)


@attrs.frozen
class Costs:
    """What the model is made of, in seconds."""

    start: float
    trial: float
    chunk: float
    task: float
    seed: float
    tell: float


@attrs.frozen
class Plan:
    """A run: so many trials of so many seeds, with options of chunks."""

    name: str
    n_trials: int
    n_seeds: int
    options: dict[str, Any] = attrs.field(factory=dict)

    def on(self, n_slots: int) -> Plan:
        """Return the run with as many seeds for each of so many slots."""
        return attrs.evolve(self, n_seeds=self.n_seeds * n_slots // PUBLISHED_SLOTS)

    def limit_s(self, n_slots: int) -> float:
        """Return what so many slots take for its seeds if they are never idle."""
        return self.n_trials * self.n_seeds * SEED_S / n_slots


PLANS = [
    Plan("one trial, chunk_size=5000", 1, PUBLISHED_SEEDS, {"chunk_size": 5000}),
    Plan("one trial, chunks by default", 1, PUBLISHED_SEEDS),
    Plan("ten trials, chunks by default", 10, PUBLISHED_SEEDS // 10),
]


def run_s(client: Client, root: str, loss: sw.LossDefinition, **options: Any) -> float:
    began_s = time.perf_counter()
    sw.optimize_run(loss, cluster=client, run_root=root, **BARE, **options)
    return time.perf_counter() - began_s


def workers_cpu_s(client: Client) -> float:
    return sum(client.run(time.process_time).values())


def measured(client: Client, root: str, quick: bool) -> Costs:
    """Measure the costs by runs that differ in one thing."""
    n_trials, n_chunks, n_seeds = (20, 1000, 500_000) if quick else (100, 4000, 4_000_000)

    def one(**options: Any) -> float:
        return run_s(client, root, nothing, **options)

    one(n_trials=2, n_seeds=16, chunk_size=16)  # imports are there after that
    few_s = one(n_trials=1, n_seeds=16, chunk_size=16)
    trial = (one(n_trials=n_trials + 1, n_seeds=16, chunk_size=16) - few_s) / n_trials
    cpu_s, workers_s = time.process_time(), workers_cpu_s(client)
    one(n_trials=1, n_seeds=n_chunks, chunk_size=1)
    chunk = (time.process_time() - cpu_s) / n_chunks
    task = (workers_cpu_s(client) - workers_s) / n_chunks
    many_s = one(n_trials=1, n_seeds=n_seeds, chunk_size=n_seeds // 20)
    tell = max(0.0, many_s - few_s) / n_seeds
    bare_s, ours_s = seed_s(200 if quick else 2000)
    return Costs(max(0.0, few_s - trial), trial, chunk, task, max(0.0, ours_s - bare_s), tell)


def seed_s(n_seeds: int) -> tuple[float, float]:
    """Return what a seed of the loss takes in a bare loop, and in a chunk, in turns."""
    params, seeds = {"x": 0.5, "y": 0.5}, np.arange(n_seeds // N_TURNS)
    both_s: list[tuple[float, float]] = []
    for _ in range(N_TURNS):
        began_s = time.perf_counter()
        for seed in seeds.tolist():
            scaling.function(params, seed)
        between_s = time.perf_counter()
        evaluate_block(scaling, params, Chunk(0, 0, seeds), {})
        both_s.append((between_s - began_s, time.perf_counter() - between_s))
    bare_s, ours_s = np.median(both_s, axis=0) / len(seeds)
    return float(bare_s), float(ours_s)


def cut_by(plan: Plan, sizes: ChunkSizes, seeds: SeedPlan) -> Iterable[int]:
    if not seeds.measured:
        return [seeds.chunk_size] * seeds.n_chunks
    return sizes.cut(plan.n_seeds, 1, seeds.batch or 1)


def predicted_s(costs: Costs, plan: Plan, n_slots: int, loss: sw.LossDefinition) -> float:
    """Return what the model says that a run takes."""
    seeds = plan_of(
        loss, StudyOptions.from_keywords({"n_seeds": plan.n_seeds, "race": False, **plan.options})
    )
    sizes = ChunkSizes(lambda: n_slots)
    now_s = costs.start
    for _ in range(plan.n_trials):
        free_s = [now_s] * n_slots
        left, sent_s, took = plan.n_seeds, now_s, []
        for size in cut_by(plan, sizes, seeds):
            n_seeds, left = min(size, left), left - size
            sent_s += costs.chunk
            duration_s = n_seeds * (SEED_S + costs.seed)
            took.append((n_seeds, duration_s))
            begun_s = max(heapq.heappop(free_s), sent_s)
            heapq.heappush(free_s, begun_s + costs.task + duration_s)
            if left <= 0:
                break
        for n_seeds, duration_s in took:
            sizes.note("any", n_seeds, duration_s)
        now_s = max(free_s) + costs.trial + costs.tell * plan.n_seeds
    return now_s


def rows(quick: bool = False, n_slots: int = 100) -> Iterator[Row]:
    n_slots = 20 if quick else n_slots
    bare_s, _ = seed_s(200 if quick else 2000)
    yield Row("the loss", "a seed in a bare loop", [1e3 * bare_s], "ms", note="published: 0.84")
    with tempfile.TemporaryDirectory() as root:
        with slots(2) as client:
            costs = measured(client, root, quick)
        for name, cost_s in attrs.asdict(costs).items():
            yield Row("the model", name, [1e6 * cost_s], "µs")
        for plan in PLANS:
            part = plan.on(n_slots // 20 if quick else n_slots)
            with slots(n_slots) as client:
                run_s(client, root, nothing, n_trials=1, n_seeds=100 * n_slots)
                options = {"n_trials": plan.n_trials, "n_seeds": part.n_seeds, **plan.options}
                took_s = run_s(client, root, SLEEPING, **options)
            yield from rows_of(costs, plan, part, n_slots, took_s)


def rows_of(costs: Costs, plan: Plan, part: Plan, n_slots: int, took_s: float) -> Iterator[Row]:
    case, limit_s = f"{n_slots} slots, {plan.name}", part.limit_s(n_slots)
    note = f"{took_s:.1f} s, {limit_s:.1f} s at least"
    yield Row(case, "efficiency", [limit_s / took_s], note=note)
    # A sleep takes no longer for being one of many.
    thought_s = predicted_s(attrs.evolve(costs, seed=0.0), part, n_slots, SLEEPING)
    error, note = abs(thought_s / took_s - 1), f"{thought_s:.1f} s"
    yield Row(case, "error of the predicted time", [error], target="<= 0.05", note=note)
    case, limit_s = f"{PUBLISHED_SLOTS} processes, {plan.name}", plan.limit_s(PUBLISHED_SLOTS)
    asked = attrs.evolve(plan, options={"workers": PUBLISHED_SLOTS, **plan.options})
    thought_s = predicted_s(costs, asked, PUBLISHED_SLOTS, scaling)
    note = f"{thought_s:.1f} s, {limit_s:.1f} s at least; slurptuna published {PUBLISHED}"
    yield Row(case, "efficiency, predicted", [limit_s / thought_s], "", f">= {PUBLISHED}", note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    show(rows(given.quick, given.slots))


if __name__ == "__main__":
    sys.exit(main())

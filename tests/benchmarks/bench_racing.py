"""Compare how many seeds searches need on noisy problems, at equal budgets of seeds.

    python -m tests.benchmarks.bench_racing [--repetitions N] [--problems "bowl 4,learner 5"]

Each search runs on the engine itself, with evaluations in this process. "full" gives each trial
all 256 seeds, as `race=False` does, and reports its best trial; its budget is that of 100 trials.
What is compared is the true loss of the reported winner, less the lowest: the regret. Repetitions
are paired: all searches of one have the same noise. A row is written to a JSON file for each
search and budget, and a table at the end.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import heapq
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import optuna
from scipy import stats

from seedwise.driver.validation import Halving
from seedwise.engine.engine import Engine, Rules
from seedwise.engine.trial import Racing
from seedwise.model.options.race import Race
from seedwise.model.racing import looks
from seedwise.model.seeds import Chunk, seed_plan
from seedwise.model.statistics import Estimate
from seedwise.model.trials import ChunkResult, Proposal, TrialOutcome, TrialResult, best_trial
from seedwise.model.validation import n_choosing, n_evaluations
from seedwise.study.samplers import distributions, make_sampler
from seedwise.study.smoothed import N_SEEDS as N_SEEDS_OF_PLAN
from seedwise.study.smoothed import SmoothedSampler, smoothed_study
from tests.benchmarks.noisy import PROBLEMS, Shape, Simulator

N_SEEDS = 256
FULL_BUDGET = 100 * N_SEEDS
SLOTS = (2, 16, 128)
SHARES = (0.05, 0.08, 0.1, 0.125, 0.167, 0.2, 0.25, 0.333, 0.5, 0.7, 1.0)


@attrs.frozen
class Method:
    """A way to search."""

    race: str | bool | Race = False
    sampler: str = "tpe"
    lag: int = 1
    #: Fresh seeds on which the winner is chosen; 0 reports the best trial.
    n_validation_seeds: int = 0
    n_candidates: int = 8
    #: Share of the full budget at which it ends.
    until: float = 1.0
    n_seeds: int = N_SEEDS
    shares: tuple[float, ...] = SHARES

    @property
    def in_parts(self) -> bool:
        return looks(self.race, self.n_seeds).in_parts


def part(n: int) -> Race:
    return Race(first_look=n, contender_seeds=n)


METHODS = {
    "full": Method(),
    "full, validated": Method(n_validation_seeds=256),
    "race": Method(True, until=0.5),
    "race, smoothed": Method(True, "auto", n_validation_seeds=256, until=0.5),
    "16 seeds, smoothed": Method(part(16), "auto", n_validation_seeds=256, until=0.34),
    "32 seeds": Method(part(32), n_validation_seeds=256, until=0.5),
    "32 seeds, smoothed": Method(part(32), "auto", n_validation_seeds=256, until=0.5),
    "32 seeds, smoothed, lag 4": Method(part(32), "auto", 4, 256, until=0.5),
    "32 seeds, smoothed, lag 16": Method(part(32), "auto", 16, 256, until=0.5),
}


class InMemoryProposer:
    """An Optuna study in memory, told as `seedwise.study.proposer` tells one."""

    n_asked = 0
    best = None

    def __init__(self, problem: Shape | Simulator, sampler: optuna.samplers.BaseSampler) -> None:
        self.study = optuna.create_study(sampler=sampler)
        self.results: list[TrialResult] = []
        self._space = distributions(problem.space)
        self._asked: dict[int, optuna.Trial] = {}

    def smoothed(self, fresh: Mapping[int, Estimate] | None = None) -> dict[int, float]:
        """Return the smoothed values; none if the sampler does not smooth them."""
        is_smoothed = isinstance(self.study.sampler, SmoothedSampler)
        return smoothed_study(self.study).values(fresh) if is_smoothed else {}

    def best_first(self) -> list[TrialResult]:
        """Return the trials by the values that the sampler is shown."""
        shown = self.smoothed()
        return sorted(self.results, key=lambda result: shown.get(result.number, result.value))

    def unfinished(self) -> Sequence[Proposal]:
        return ()

    def ask(self) -> Proposal:
        trial = self.study.ask(self._space)
        self._asked[trial.number] = trial
        return Proposal(trial.number, dict(trial.params))

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        trial = self._asked.pop(outcome.number)
        trial.set_user_attr("stderr", outcome.stderr)
        trial.set_user_attr("n_seeds", outcome.n_seeds)
        self.study.tell(trial, outcome.value)
        result = TrialResult(
            number=outcome.number,
            params=trial.params,
            value=outcome.value,
            stderr=outcome.stderr,
            n_seeds=outcome.n_seeds,
            state=outcome.state,
            duration_s=0.0,
        )
        self.results.append(result)
        return result


class Slots:
    """Evaluates chunks in this process, as so many slots would, a second of their time a seed."""

    def __init__(self, problem: Shape | Simulator, repetition: int, n_slots: int = 1) -> None:
        self.n_evaluated = 0
        self.now_s = 0.0
        self._problem = problem
        self._repetition = repetition
        self.n_slots = n_slots
        self._n_free = n_slots
        self._waiting: list[tuple[Proposal, Chunk]] = []
        self._running: list[tuple[float, int, Proposal, Chunk]] = []  # by their end
        self._order = itertools.count()

    def again(self) -> Slots:
        """Return as many slots, free, at time 0."""
        return Slots(self._problem, self._repetition, self.n_slots)

    def room(self) -> int:
        return self._n_free - len(self._waiting)

    def submit(self, proposal, chunks, attempt, isolated=False) -> None:
        self._waiting += [(proposal, chunk) for chunk in chunks]
        self._start()

    def cancel(self, trial, first_chunk=0) -> None:
        self._waiting = [
            (proposal, chunk)
            for proposal, chunk in self._waiting
            if proposal.number != trial or chunk.index < first_chunk
        ]

    def next(self) -> ChunkResult:
        self.now_s, _, proposal, chunk = heapq.heappop(self._running)
        self._n_free += 1
        self._start()
        losses = self._problem.losses(proposal.params, chunk.seeds, self._repetition)
        return ChunkResult(
            proposal.number, chunk.index, 1, chunk.start, len(losses), np.asarray(losses)
        )

    def _start(self) -> None:
        while self._n_free and self._waiting:
            proposal, chunk = self._waiting.pop(0)
            end_s = self.now_s + len(chunk.seeds)
            heapq.heappush(self._running, (end_s, next(self._order), proposal, chunk))
            self._n_free -= 1
            self.n_evaluated += len(chunk.seeds)


class Forgetful:
    """A ledger and folders that keep nothing."""

    def __init__(self) -> None:
        self._recorded: dict[int, list[ChunkResult]] = {}

    def recorded(self, proposal: Proposal) -> Sequence[ChunkResult]:
        return self._recorded.get(proposal.number, ())

    def record(self, entries) -> None:
        for proposal, result in entries:
            self._recorded.setdefault(proposal.number, []).append(result)

    def sync(self) -> None:
        """Do nothing."""

    def settle(self, number, accepted, about) -> None:
        """Do nothing."""


@attrs.frozen
class Found:
    """What a search reports at a share of the full budget, if it ends there."""

    share: float
    n_evaluated: int
    #: Simulated time.
    time_s: float
    params: dict[str, Any]
    value: float
    stderr: float | None


def search(
    problem: Shape | Simulator, method: Method, repetition: int, n_slots: int = 1
) -> Iterator[Found]:
    """Yield what a search reports at each share of the budget."""
    trial_looks = looks(method.race, method.n_seeds)
    chunk_size = -(-trial_looks.sizes[0] * method.lag // n_slots)
    plan = seed_plan(n_seeds=method.n_seeds, chunk_size=min(chunk_size, method.n_seeds))
    proposer = InMemoryProposer(problem, make_sampler(method.sampler, repetition))
    if method.in_parts:
        proposer.study.set_user_attr(N_SEEDS_OF_PLAN, method.n_seeds)
    slots, ledger = Slots(problem, repetition, n_slots), Forgetful()
    racing = Racing(
        plan, trial_looks, "minimize", lambda told, n: told <= n - method.lag, (), lambda _: None
    )
    rules = Rules(10**9, lambda: method.lag, room=slots.room)
    engine = Engine(rules, racing, proposer, slots, ledger, ledger.settle)
    engine.begin(lambda _: None)
    for share in (share for share in method.shares if share <= method.until):
        while slots.n_evaluated + cost(method, len(proposer.results)) < share * FULL_BUDGET:
            engine.take([slots.next()])
        if proposer.results and method.n_validation_seeds:
            yield validated(method, proposer, slots, share)
        elif proposer.results:
            best = best_trial(proposer.results, "minimize")
            reported = best.params, best.value, best.stderr
            yield Found(share, slots.n_evaluated, slots.now_s, *reported)


def cost(method: Method, n_trials: int) -> int:
    if not method.n_validation_seeds:
        return 0
    return n_evaluations(min(method.n_candidates, n_trials), method.n_validation_seeds)


def validated(method: Method, proposer: InMemoryProposer, searched: Slots, share: float) -> Found:
    """Return what is reported if the search ends now, and is validated."""
    n_seeds = method.n_validation_seeds
    plan = seed_plan(n_seeds=n_choosing(n_seeds) + n_seeds, seed_start=method.n_seeds)
    plan = attrs.evolve(plan, chunk_size=-(-method.n_seeds // searched.n_slots))
    chosen = proposer.best_first()[: method.n_candidates]
    on_other_terms = [trial.number for trial in chosen] if method.in_parts else ()
    smoothed = proposer.smoothed if method.in_parts else lambda _: {}
    halving = Halving(chosen, plan, n_seeds, "minimize", on_other_terms, smoothed)
    n_evaluated, time_s, ledger = searched.n_evaluated, searched.now_s, Forgetful()
    while halving.begin_round():
        slots = searched.again()
        rules = Rules(halving.n_waiting, lambda: halving.n_waiting, in_order=False)
        engine = Engine(rules, halving, halving, slots, ledger, ledger.settle)
        engine.begin(lambda _: None)
        while not engine.done:
            engine.take([slots.next()])
        n_evaluated += slots.n_evaluated
        time_s += slots.now_s
    found = halving.found()
    return Found(share, n_evaluated, time_s, found.params, found.value, found.stderr)


def rows(name: str, problem_name: str, repetition: int) -> list[dict[str, Any]]:
    """Return what a search reports at each share of the budget."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ends = search(PROBLEMS[problem_name], METHODS[name], repetition)
    return described(name, problem_name, repetition, ends)


def described(
    name: str, problem_name: str, repetition: int, ends: Iterator[Found]
) -> list[dict[str, Any]]:
    """Return a row for each end of a search."""
    problem, began_s = PROBLEMS[problem_name], time.perf_counter()
    return [
        {
            "method": name,
            "problem": problem_name,
            "repetition": repetition,
            "share": found.share,
            "n_evaluated": found.n_evaluated,
            "true": problem.true_loss(found.params),
            "lowest": problem.lowest,
            "value": found.value,
            "stderr": found.stderr,
            "wall_s": time.perf_counter() - began_s,
        }
        for found in ends
    ]


class Table:
    """The regrets of all searches, by method, problem and share of the budget."""

    def __init__(self, found: Sequence[dict[str, Any]]) -> None:
        lowest: dict[str, float] = {}
        for row in found:
            name = row["problem"]
            lowest[name] = min(lowest.get(name, math.inf), row["lowest"], row["true"] - 1e-6)
        self.methods = list(dict.fromkeys(row["method"] for row in found))
        self.problems = list(dict.fromkeys(row["problem"] for row in found))
        self.errors: dict[str, list[float]] = {}  # of the reported values, in standard errors
        self.regrets: dict[tuple[str, str, float], dict[int, float]] = {}
        for row in found:
            key = row["method"], row["problem"], row["share"]
            regret = row["true"] - lowest[row["problem"]]
            self.regrets.setdefault(key, {})[row["repetition"]] = regret
            error = (row["value"] - row["true"]) / row["stderr"]
            self.errors.setdefault(row["method"], []).append(error)

    def regret(self, method: str, problem: str, share: float) -> float:
        """Return the median over the repetitions; NaN if there is none."""
        found = self.regrets.get((method, problem, share), {})
        return statistics.median(found.values()) if found else math.nan

    def ratio(self, method: str, problem: str, share: float) -> float:
        """Return the regret relative to that of the full search at its full budget.

        It is at least 0.01: of steps, the lowest is found exactly.
        """
        ratio = self.regret(method, problem, share) / self.regret("full", problem, 1.0)
        return max(ratio, 0.01) if ratio == ratio else ratio

    def equal_at(self, method: str, problem: str) -> float:
        """Return the least share of the budget at which it is as good as the full search."""
        good = (share for share in SHARES if self.ratio(method, problem, share) <= 1)
        return next(good, math.inf)

    def worse_on(self, method: str, share: float) -> list[str]:
        """Return the problems on which it is worse than the full search at an equal budget.

        That is what a paired Wilcoxon test says at a level of 0.05, one-sided.
        """
        worse = []
        for problem in self.problems:
            ours, full = (
                self.regrets.get((name, problem, share), {}) for name in (method, "full")
            )
            both = sorted(ours.keys() & full.keys())
            differences = np.array([math.log(ours[i]) - math.log(full[i]) for i in both])
            if differences.any() and stats.wilcoxon(differences, alternative="greater")[1] < 0.05:
                worse.append(problem)
        return worse

    def print(self) -> None:
        print("\nRegret relative to the full search at its full budget, geometric mean")
        print(" " * 28 + "".join(f"{share:8.3g}" for share in SHARES))
        for method in self.methods:
            means = [
                math.exp(np.mean([math.log(self.ratio(method, p, share)) for p in self.problems]))
                for share in SHARES
            ]
            print(f"{method:28}" + "".join(f"{mean:8.2f}" for mean in means))
        print("\nShare of the budget at which it is as good as the full search")
        print(" " * 28 + "".join(f"{name[:9]:>10}" for name in self.problems) + "    median")
        for method in self.methods:
            equal = [self.equal_at(method, problem) for problem in self.problems]
            shown = "".join(f"{share:10.3g}" for share in (*equal, statistics.median(equal)))
            print(f"{method:28}{shown}")
        print("\nProblems on which it is worse than the full search at an equal budget")
        for method in self.methods[1:]:
            for share in (0.1, 0.2, 0.333):
                print(f"{method:28}{share:8.3g}  {', '.join(self.worse_on(method, share))}")
        print("\nError of the reported value, in standard errors: mean, and share within 1.96")
        for method, errors in self.errors.items():
            within = np.mean(np.abs(errors) < 1.96)
            print(f"{method:28}{np.mean(errors):8.2f}{within:8.3f}  of {len(errors)}")


def time_s(method: str, problem: str, repetition: int, n_slots: int, share: float) -> float:
    """Return how long so many slots would take up to a share of the full budget."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ends = search(PROBLEMS[problem], METHODS[method], repetition, n_slots)
    return next(found.time_s for found in ends if found.share >= share)


def print_times(table: Table, pool: concurrent.futures.Executor) -> None:
    """Print how much sooner searches are as good as the full search, on so many slots."""
    print("\nTimes faster to equal quality, on simulated slots, median of the problems")
    print(" " * 28 + "".join(f"{n_slots:8}" for n_slots in SLOTS))
    for method in table.methods[1:]:
        equal = [(problem, table.equal_at(method, problem)) for problem in table.problems]
        reached = [(problem, share) for problem, share in equal if share < math.inf]
        line = f"{method:28}"
        for n_slots in SLOTS:
            ours = [pool.submit(time_s, method, p, 0, n_slots, share) for p, share in reached]
            full = [pool.submit(time_s, "full", p, 0, n_slots, 1.0) for p, _ in reached]
            ratios = [b.result() / a.result() for a, b in zip(ours, full, strict=True)]
            line += f"{statistics.median(ratios):8.2f}" if ratios else f"{'-':>8}"
        print(f"{line}  of {len(reached)} problems")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--problems", default=",".join(PROBLEMS), type=str)
    parser.add_argument("--methods", default=";".join(METHODS))
    parser.add_argument("--output", type=Path, default=Path("racing.jsonl"))
    given = parser.parse_args()
    problems = [name for name in PROBLEMS if name in given.problems]
    tasks = [
        (method, problem, repetition)
        for repetition in range(given.repetitions)
        for problem in problems
        for method in given.methods.split(";")
    ]
    found: list[dict[str, Any]] = []
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        with given.output.open("w") as file:
            for some in pool.map(rows, *zip(*tasks, strict=True)):
                found += some
                file.writelines(f"{json.dumps(row)}\n" for row in some)
        table = Table(found)
        table.print()
        print_times(table, pool)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main())

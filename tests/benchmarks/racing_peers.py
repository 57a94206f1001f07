"""Run other tools on the noisy problems of `bench_racing`, at equal budgets of seeds.

    pip install --group peers
    python -m tests.benchmarks.racing_peers [--repetitions N] [--output FILE]
    python -m tests.benchmarks.racing_peers --table FILE...

They are Optuna's WilcoxonPruner, SMAC3 and PyBADS, set up as their documentation advises. SMAC3
takes long for each evaluation, so it is compared at small budgets: 1,000 and 2,000 seeds. Searches
of ours and full ones are run for that, too. Those at larger budgets are in the file that
`bench_racing` writes, whose rows have the same shape: `--table` takes both. One process runs all.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import optuna
from scipy import stats

from seedwise.model.statistics import estimate
from seedwise.study.samplers import distributions
from tests.benchmarks.bench_racing import (
    FULL_BUDGET,
    N_SEEDS,
    SHARES,
    Found,
    Method,
    Table,
    described,
    part,
    search,
)
from tests.benchmarks.noisy import PROBLEMS, Point, Shape, Simulator

SMALL = (1_000 / FULL_BUDGET, 2_000 / FULL_BUDGET)
LARGE = tuple(share for share in SHARES if share <= 0.5)
FEW_SEEDS = 64  # of a trial, where the budget is small

Problem = Shape | Simulator
Search = Callable[[Problem, int], Iterator[Found]]
#: What would be reported: params, value and standard error.
Report = tuple[Point, float, float]
#: The seeds evaluated so far, and what would be reported.
Step = tuple[int, Callable[[], Report]]


def at_shares(shares: tuple[float, ...], steps: Iterator[Step]) -> Iterator[Found]:
    """Yield what is reported at the first step that has spent each share of the full budget."""
    for share in shares:
        n_evaluated, report = next(step for step in steps if step[0] >= share * FULL_BUDGET)
        yield Found(share, n_evaluated, 0.0, *report())


def wilcoxon(n_seeds: int, shares: tuple[float, ...]) -> Search:
    """Return TPE with a pruner that tests after each seed."""
    return lambda problem, repetition: at_shares(
        shares, wilcoxon_steps(problem, repetition, n_seeds)
    )


def wilcoxon_steps(problem: Problem, repetition: int, n_seeds: int) -> Iterator[Step]:
    """Evaluate as the pruner's example does: seeds shuffled, a pruned trial told with its mean."""
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=repetition),
        pruner=optuna.pruners.WilcoxonPruner(p_threshold=0.1),
    )
    space, rng = distributions(problem.space), np.random.default_rng(repetition)

    def report() -> Report:
        best = study.best_trial
        losses = np.array(list(best.intermediate_values.values()))
        return best.params, losses.mean(), estimate(losses).stderr

    n_evaluated = 0
    while True:
        trial = study.ask(space)
        losses = problem.losses(trial.params, np.arange(n_seeds), repetition)
        evaluated: list[int] = []
        for seed in rng.permutation(n_seeds).tolist():
            evaluated.append(seed)
            trial.report(float(losses[seed]), seed)
            n_evaluated += 1
            yield n_evaluated, report
            if trial.should_prune():
                break
        study.tell(trial, float(losses[evaluated].mean()))


def smac3(facade: str, **intensifier: int) -> Search:
    """Return SMAC3 with one of its facades."""
    return lambda problem, repetition: at_shares(
        SMALL, smac3_steps(problem, repetition, facade, intensifier)
    )


def smac3_steps(
    problem: Problem, repetition: int, facade: str, intensifier: dict[str, int]
) -> Iterator[Step]:
    import joblib
    import smac
    from ConfigSpace import ConfigurationSpace
    from smac.runhistory.dataclasses import TrialValue

    make = getattr(smac, facade)
    space = ConfigurationSpace(
        {
            name: param.range if param.allowed is None else list(param.allowed)
            for name, param in problem.space.items()
        },
        seed=repetition,
    )
    positions: dict[int, int] = {}  # of its seeds, which are large numbers

    def point(config: Any) -> Point:
        return {name: config[name] for name in problem.space}

    def report() -> Report:
        incumbent = optimizer.intensifier.get_incumbent()
        values = optimizer.runhistory
        costs = [
            values[key].cost for key in values if key.config_id == values.get_config_id(incumbent)
        ]
        found = estimate(np.array(costs))
        return point(incumbent), found.mean, found.stderr or math.nan

    # Its forest has threads for each prediction, which take longer than what they do.
    with tempfile.TemporaryDirectory() as folder, joblib.parallel_config("sequential"):
        scenario = smac.Scenario(
            space, folder, deterministic=False, n_trials=2_000, seed=repetition
        )
        optimizer = make(
            scenario,
            lambda config, seed: 0.0,
            intensifier=make.get_intensifier(scenario, **intensifier),
            logging_level=False,
        )
        for n_evaluated in itertools.count(1):
            asked = optimizer.ask()
            seed = np.array([positions.setdefault(asked.seed, len(positions))])
            loss = problem.losses(point(asked.config), seed, repetition)[0]
            optimizer.tell(asked, TrialValue(cost=float(loss)), save=False)
            yield n_evaluated, report


def pybads(n_seeds: int) -> Search:
    """Return PyBADS, with the mean of so many fresh seeds as an evaluation."""
    return lambda problem, repetition: (
        pybads_end(problem, repetition, n_seeds, share) for share in (0.1, 0.2)
    )


def pybads_end(problem: Problem, repetition: int, n_seeds: int, share: float) -> Found:
    """Return the best of its runs: what is left if one converges is spent on the next."""
    from pybads import BADS

    budget, n_evaluated = round(share * FULL_BUDGET), 0

    def target(x: np.ndarray) -> tuple[float, float]:
        nonlocal n_evaluated
        seeds = np.arange(n_evaluated, n_evaluated + n_seeds)
        n_evaluated += n_seeds
        point = dict(zip(problem.space, x.tolist(), strict=True))
        found = estimate(problem.losses(point, seeds, repetition))
        return found.mean, found.stderr

    results: list[Any] = []
    n_fewest = 20 + 10  # its initial design, and the samples of the point that it returns
    while (n_left := (budget - n_evaluated) // n_seeds) > n_fewest:
        options = {
            "uncertainty_handling": True,
            "specify_target_noise": True,
            "max_fun_evals": n_left,
            "random_seed": 1_000 * repetition + len(results),
            "display": "off",
            "show_tips": False,
        }
        n = len(problem.space)
        low, high = np.zeros(n), np.ones(n)
        results.append(BADS(target, None, low, high, low, high, options=options).optimize())
    best = min(results, key=lambda result: result["fval"])
    params = dict(zip(problem.space, best["x"].tolist(), strict=True))
    return Found(share, n_evaluated, 0.0, params, best["fval"], best["fsd"])


@attrs.frozen
class Peer:
    """A search, the package that it needs, and the problems that it is for."""

    search: Search
    package: str = "optuna"
    problems: tuple[str, ...] = tuple(PROBLEMS)


def ours(method: Method) -> Peer:
    small = attrs.evolve(method, shares=SMALL)
    return Peer(lambda problem, repetition: search(problem, small, repetition))


def smoothed(n: int, n_seeds: int = N_SEEDS) -> Peer:
    return ours(Method(part(n), "auto", n_validation_seeds=n_seeds, n_seeds=n_seeds))


SMOOTH = tuple(
    name
    for name, problem in PROBLEMS.items()
    if name != "steps 6" and all(param.dtype == "float" for param in problem.space.values())
)

PEERS = {
    "full": ours(Method()),
    "full, 64 seeds": ours(Method(n_seeds=FEW_SEEDS)),
    "32 seeds, smoothed": smoothed(32),
    "16 seeds, smoothed": smoothed(16),
    "32 of 64 seeds, smoothed": smoothed(32, FEW_SEEDS),
    "16 of 64 seeds, smoothed": smoothed(16, FEW_SEEDS),
    "Wilcoxon": Peer(wilcoxon(N_SEEDS, tuple(sorted((*SMALL, *LARGE))))),
    "Wilcoxon, 64 seeds": Peer(wilcoxon(FEW_SEEDS, SMALL)),
    "SMAC3": Peer(smac3("AlgorithmConfigurationFacade"), "smac"),
    "SMAC3, 64 seeds": Peer(
        smac3("HyperparameterOptimizationFacade", max_config_calls=FEW_SEEDS), "smac"
    ),
    "PyBADS, 8 seeds": Peer(pybads(8), "pybads", SMOOTH),
    "PyBADS, 32 seeds": Peer(pybads(32), "pybads", SMOOTH),
}


def print_at(table: Table, share: float) -> None:
    """Print the regrets of all at a budget, and where a peer is better than a search of ours."""
    there = {
        method: [name for name in table.problems if (method, name, share) in table.regrets]
        for method in table.methods
    }
    there = {method: names for method, names in there.items() if names}
    print(
        f"\nRegret at {share * FULL_BUDGET:,.0f} seeds, relative to the full search's at its own"
    )
    print(" " * 28 + "".join(f"{name[:9]:>10}" for name in table.problems) + "      mean")
    for method, names in there.items():
        ratios = [table.ratio(method, name, share) for name in table.problems]
        mean = stats.gmean([table.ratio(method, name, share) for name in names])
        print(f"{method:28}" + "".join(f"{ratio:10.3g}" for ratio in (*ratios, mean)))
    for peer, own in itertools.product(there, there):
        if peer.startswith(("Wilcoxon", "SMAC3", "PyBADS")) and own.endswith("smoothed"):
            both = [name for name in there[peer] if name in there[own]]
            better = [name for name in both if is_better(table, peer, own, name, share)]
            print(f"{peer} beats {own} on {len(better)} of {len(both)}: {'; '.join(better)}")


def is_better(table: Table, peer: str, own: str, problem: str, share: float) -> bool:
    """Tell whether the median of the paired differences of the logarithms is below 0."""
    one, other = (table.regrets[method, problem, share] for method in (peer, own))
    both = one.keys() & other.keys()
    return bool(np.median([math.log(one[i]) - math.log(other[i]) for i in both]) < 0)


def read(files: list[Path], n_repetitions: int) -> Table:
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return Table([row for row in found if row["repetition"] < n_repetitions])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--methods", default=";".join(PEERS))
    parser.add_argument("--output", type=Path, default=Path("peers.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE")
    given = parser.parse_args()
    if not given.table:
        run(given)
    table = read(given.table or [given.output], given.repetitions)
    for share in sorted({share for _, _, share in table.regrets}):
        print_at(table, share)


def run(given: argparse.Namespace) -> None:
    methods = {name: PEERS[name] for name in given.methods.split(";")}
    missing = {peer.package for peer in methods.values()}
    missing = {package for package in missing if not importlib.util.find_spec(package)}
    if missing:
        sys.exit(f"{' and '.join(sorted(missing))} missing: pip install --group peers")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    tasks = itertools.product(range(given.repetitions), PROBLEMS, methods.items())
    with given.output.open("w") as file:
        for repetition, problem, (name, peer) in tasks:
            if problem in given.problems and problem in peer.problems:
                ends = peer.search(PROBLEMS[problem], repetition)
                for row in described(name, problem, repetition, ends):
                    print(json.dumps(row), file=file, flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()

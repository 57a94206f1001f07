"""A search by one program, in a process of its own.

    python -m tests.benchmarks.peers NAME N_TRIALS N_SEEDS

Each evaluates the same loss on two workers that it starts itself, and its trials get all seeds. It
prints as JSON what the whole call took, and a trial after the first two, which some programs begin
together, in seconds. A program is imported before, as by a script that calls it; what it imports
when it is called is in the time.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks.plain import NAME, SPACE, mean_loss, plain_walk

N_WORKERS = 2
#: For joblib: two for each worker, to even out what else the machine does.
N_CHUNKS_A_TRIAL = 2 * N_WORKERS


@attrs.frozen
class Budget:
    n_trials: int
    n_seeds: int

    @property
    def seeds(self) -> range:
        return range(self.n_seeds)


#: Runs a search with files below a folder; returns when trials ended, in seconds.
Search = Callable[[Budget, str], Sequence[float]]


def seedwise(budget: Budget, folder: str, **where: Any) -> Sequence[float]:
    import seedwise as sw
    from tests.benchmarks.loss import walk

    result = sw.optimize_run(
        walk,
        n_trials=budget.n_trials,
        n_seeds=budget.n_seeds,
        race=False,
        n_validation_seeds=0,
        workers=N_WORKERS,
        run_root=folder,
        progress=False,
        **where,
    )
    return ends(result.study())


def seedwise_on_slurm(budget: Budget, folder: str) -> Sequence[float]:
    import seedwise as sw

    return seedwise(budget, folder, cluster="slurm", slurm=sw.SlurmOptions(interface="lo"))


def slurptuna(budget: Budget, folder: str, **where: Any) -> Sequence[float]:
    import optuna
    import slurptuna

    from tests.benchmarks.slurptuna_loss import slurptuna_walk

    if not where:
        where = {"worker_parallelism": N_WORKERS, "use_processes": True}
    result = slurptuna.optimize_run(
        slurptuna_walk,
        n_trials=budget.n_trials,
        n_seeds=budget.n_seeds,
        chunk_size=budget.n_seeds // N_WORKERS,
        run_root=folder,
        **where,
    )
    storage = f"sqlite:///{Path(result.run_dir or '').resolve()}/optuna.db"
    return ends(optuna.load_study(study_name=NAME, storage=storage))


def slurptuna_on_slurm(budget: Budget, folder: str, **poll: int) -> Sequence[float]:
    import slurptuna as theirs

    mode, module = theirs.execution_mode("distributed"), "tests.benchmarks.slurptuna_loss"
    return slurptuna(budget, folder, mode=mode, loss_module=module, **poll)


def slurptuna_at_1_s(budget: Budget, folder: str) -> Sequence[float]:
    return slurptuna_on_slurm(budget, folder, slurm_poll_seconds=1)


def plain_optuna(budget: Budget, folder: str) -> Sequence[float]:
    import optuna

    def objective(trial: optuna.Trial) -> float:
        params = {name: trial.suggest_float(name, *bounds) for name, bounds in SPACE.items()}
        return mean_loss(params, budget.seeds)

    study = optuna.create_study()
    study.optimize(objective, n_trials=budget.n_trials, n_jobs=N_WORKERS)
    return ends(study)


def joblib(budget: Budget, folder: str) -> Sequence[float]:
    import joblib
    import optuna

    space = {
        name: optuna.distributions.FloatDistribution(*bounds) for name, bounds in SPACE.items()
    }
    chunks = [budget.seeds[index::N_CHUNKS_A_TRIAL] for index in range(N_CHUNKS_A_TRIAL)]
    study = optuna.create_study()
    with joblib.Parallel(n_jobs=N_WORKERS) as parallel:
        for _ in range(budget.n_trials):
            trial = study.ask(space)
            means = parallel(joblib.delayed(mean_loss)(trial.params, chunk) for chunk in chunks)
            study.tell(trial, sum(means) / len(means))
    return ends(study)


def smac3(budget: Budget, folder: str) -> Sequence[float]:
    """Have a trial of SMAC3's be the mean over all seeds."""
    return smac3_ends(
        lambda config, seed: mean_loss(dict(config), budget.seeds),
        folder,
        n_trials=budget.n_trials,
        deterministic=True,
    )


def smac3_by_seed(budget: Budget, folder: str) -> Sequence[float]:
    """Have SMAC3 choose how many seeds a point gets; a trial of its own is one seed."""
    found = smac3_ends(
        lambda config, seed: plain_walk(dict(config), seed),
        folder,
        n_trials=budget.n_trials * budget.n_seeds,
        deterministic=False,
    )
    return found[budget.n_seeds - 1 :: budget.n_seeds]


def smac3_ends(
    target: Callable[[Any, int], float], folder: str, **scenario: Any
) -> Sequence[float]:
    import joblib
    import smac
    from ConfigSpace import ConfigurationSpace
    from distributed import Client

    # Its forest has threads for each prediction, which take longer than what they do. A client of
    # its own is closed when Python ends, and then waits for a minute.
    with (
        joblib.parallel_config("sequential"),
        Client(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None) as client,
    ):
        scenario = smac.Scenario(ConfigurationSpace(SPACE), output_directory=folder, **scenario)
        facade = smac.HyperparameterOptimizationFacade(
            scenario, target, logging_level=False, dask_client=client
        )
        facade.optimize()
    return sorted(value.endtime for value in facade.runhistory.values())


def ends(study: Any) -> Sequence[float]:
    return sorted(trial.datetime_complete.timestamp() for trial in study.trials)


@attrs.frozen
class Program:
    search: Search
    #: What is imported before the time is taken.
    modules: tuple[str, ...]


PROGRAMS = {
    "seedwise": Program(seedwise, ("seedwise", "tests.benchmarks.loss")),
    "seedwise on Slurm": Program(seedwise_on_slurm, ("seedwise", "tests.benchmarks.loss")),
    "slurptuna": Program(slurptuna, ("slurptuna",)),
    "slurptuna on Slurm, poll 1 s": Program(slurptuna_at_1_s, ("slurptuna",)),
    "slurptuna on Slurm": Program(slurptuna_on_slurm, ("slurptuna",)),
    "Optuna": Program(plain_optuna, ("optuna",)),
    "joblib": Program(joblib, ("joblib", "optuna")),
    "SMAC3": Program(smac3, ("smac", "joblib")),
    "SMAC3 by seed": Program(smac3_by_seed, ("smac", "joblib")),
}


def main() -> None:
    name, *numbers = sys.argv[1:]
    budget = Budget(*map(int, numbers))
    program = PROGRAMS[name]
    for module in program.modules:
        importlib.import_module(module)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.perf_counter()
        found = program.search(budget, folder)
        whole_s = time.perf_counter() - began_s
    print(json.dumps([whole_s, (found[-1] - found[1]) / (len(found) - 2)]))


if __name__ == "__main__":
    main()

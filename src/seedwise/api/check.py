"""The check of a run before it begins."""

from collections.abc import Mapping
from typing import Any

from seedwise.cluster.open import check_place
from seedwise.cluster.place import Demand
from seedwise.cluster.pool.size import worker_bounds
from seedwise.driver.check_seed import check_seed
from seedwise.driver.parts import Parts, make_parts
from seedwise.errors import NotALossError
from seedwise.model.check_report import CheckReport
from seedwise.model.loss import LossDefinition
from seedwise.model.options.fields import takes
from seedwise.model.options.study import RunOptions
from seedwise.slurm.preflight.check import plan_problems
from seedwise.view.commands import CheckProgress


@takes(RunOptions)
def check_run(loss: LossDefinition, keywords: dict[str, Any]) -> CheckReport:
    """Check a run before its first job: options, Slurm's limits, and one seed on one worker.

    First the options are checked, and the jobs against Slurm's limits. Then one worker, on Slurm
    one job, evaluates one seed of the loss, so that anything missing on the nodes shows in
    seconds. The seed is evaluated a second time, to measure it with the loss already loaded. The
    folder that this needs in `run_root` is removed at the end.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    **options : each described by ``help()``

    Returns
    -------
    CheckReport
        What the seed showed and what follows from it: seeds at once, the time of a chunk and of
        the run, core hours. It also has the job script.

    Raises
    ------
    OptionError
        If a keyword has a value that is not allowed.
    CheckFailedError
        If the loss fails on the worker. The error has the traceback.
    PreflightError, SubmitRefusedError
        If Slurm would refuse the jobs, or never start them.
    ClusterError
        If no worker starts. The error has the end of the job's log.
    RunStopped
        If a signal stopped the check.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = sw.check_run(walk, n_seeds=400, workers=4, run_root=folder, progress=False)
    >>> report.n_seeds, report.n_seeds_at_once, report.seed_s < 1
    (400, 4, True)
    """
    if not isinstance(loss, LossDefinition):
        raise NotALossError(loss)
    options = RunOptions.from_keywords(keywords)
    check_place(options)
    parts = make_parts(loss, options)
    seed = int(parts.plan.seeds[0])
    checked = check_seed(loss, options, seed, CheckProgress(options.progress))
    return _report(parts, options, checked)


def _report(parts: Parts, options: RunOptions, checked: Mapping[str, Any]) -> CheckReport:
    loss, plan, looks = parts.loss, parts.plan, parts.looks
    workers = _n_workers(parts, options)
    script, found, cpus = checked["job_script"], list[str](), None
    if script is not None and workers is not None:
        found, cpus = plan_problems(script, workers)
    return CheckReport(
        loss_name=loss.name,
        place=options.place if options.place in ("local", "slurm") else "passed",
        n_trials=options.n_trials,
        n_trials_at_once=min(options.lag_of(looks), options.n_trials),
        n_seeds=len(plan.seeds),
        n_seeds_of_trial=looks.sizes[-1],
        races=len(looks.sizes) > 1,
        max_total_seeds=options.max_total_seeds,
        n_validation_seeds=options.fresh_seeds_of(looks),
        n_validation_candidates=options.n_validation_candidates,
        chunk_size=plan.chunk_size,
        chunks_are_measured=plan.measured,
        vectorized=loss.vectorized,
        workers=workers,
        worker_parallelism=options.worker_parallelism,
        use_processes=options.use_processes,
        cpus_per_worker=cpus,
        trial_limit_s=options.trial_limit_s,
        seed=int(plan.seeds[0]),
        warnings=tuple(found),
        defaults=_defaults(options, parts, workers),
        **checked,
    )


def _defaults(options: RunOptions, parts: Parts, workers: int | None) -> dict[str, int]:
    """Return what the plan shows of options that were not given."""
    values = {
        "n_trials": options.n_trials,
        "n_seeds": len(parts.plan.seeds),
        "max_concurrent_trials": options.lag_of(parts.looks),
        "workers": workers,
        "worker_parallelism": options.worker_parallelism,
    }
    given = options.given | ({"n_seeds"} if "seeds" in options.given else set())
    return {
        name: value for name, value in values.items() if value is not None and name not in given
    }


def _n_workers(parts: Parts, options: RunOptions) -> int | None:
    """Return how many workers the run would have; None for a cluster that was passed."""
    if options.place not in ("local", "slurm"):
        return None
    at_once = options.worker_parallelism if parts.loss.vectorized else 1
    n_trials = min(options.lag_of(parts.looks), options.n_trials)
    demand = Demand([parts.n_chunks * n_trials], at_once)
    low, high = worker_bounds(options, demand)
    return max(low, demand.workers(high))

"""One seed of a trial again, in this process and without Dask."""

from __future__ import annotations

import attrs
import numpy as np

from seedwise.errors import OptionError
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.model.space import ParamValue
from seedwise.run.directory import RunDirectory
from seedwise.run.parts import Saved
from seedwise.study.proposer import read_params
from seedwise.worker.returned import check_finite, read_array, read_loss

__all__ = ["Replayed", "replay"]


@attrs.frozen
class Replayed:
    """What a replay gave.

    Attributes
    ----------
    params : dict
        The trial's params.
    losses : dict of int to float
        The loss of each seed.
    """

    params: dict[str, ParamValue]
    losses: dict[int, float]


def replay(directory: RunDirectory, saved: Saved, trial: int, seed: int | None) -> Replayed:
    """Evaluate seeds of a trial again.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    saved : Saved
        What it holds of what the run is made of.
    trial : int
        The trial's number.
    seed : int or None
        The seed; None goes through all seeds of the run.

    Returns
    -------
    Replayed
        The params and the losses.

    Raises
    ------
    OptionError
        If the run has no such trial or seed.
    """
    loss = saved.shipment.load()
    all_params = read_params(directory.study_file, directory.read_meta()["study_name"])
    if trial not in all_params:
        has = f"0 to {max(all_params)}" if all_params else "none yet"
        raise OptionError("trial", trial, f"a trial of the run, which has {has}")
    plan = _seed_plan(loss, saved)
    seeds = plan.seeds.tolist() if seed is None else [seed]
    if seed is not None and seed not in plan.seeds:
        allowed = f"one of the run's {len(plan.seeds)} seeds, {plan.seeds[0]} to {plan.seeds[-1]}"
        raise OptionError("seed", seed, allowed)
    context = {"entry_id": saved.keywords.get("entry_id"), "trial_number": trial}
    params = all_params[trial]
    return Replayed(params, {one: _evaluate(loss, params, one, context) for one in seeds})


def _evaluate(
    loss: LossDefinition, params: dict[str, ParamValue], seed: int, context: dict[str, object]
) -> float:
    if not loss.vectorized:
        return read_loss(loss.evaluate(params, seed, context))
    returned = loss.evaluate(params, np.array([seed], dtype=np.int64), context)
    return check_finite(float(read_array(returned, 1)[0]))


def _seed_plan(loss: LossDefinition, saved: Saved) -> SeedPlan:
    options = RunOptions.from_keywords(
        {name: value for name, value in saved.keywords.items() if name != "cluster"}
    )
    return seed_plan(
        seeds=options.seeds,
        n_seeds=options.n_seeds,
        chunk_size=options.chunk_size,
        num_chunks=options.num_chunks,
        seed_start=loss.seed_start,
    )

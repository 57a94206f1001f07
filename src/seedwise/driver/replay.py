"""One seed of a trial again, in this process and without Dask."""

import secrets
from collections.abc import Mapping

import attrs
import numpy as np

from seedwise.driver.parts import Saved, plan_of
from seedwise.driver.validation import seeds_validated_on
from seedwise.errors import OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.model.loss import LossDefinition
from seedwise.model.options.work import WorkOptions
from seedwise.model.points import Cases
from seedwise.model.space import ParamValue
from seedwise.study.proposer import read_params
from seedwise.worker.block import Context, TrialDir
from seedwise.worker.returned import check_finite, read_arrays, read_returned


@attrs.frozen
class Replayed:
    """What a replay gave.

    Attributes
    ----------
    params : dict
        The trial's params.
    losses : dict of int to float
        The loss of each seed.
    components : dict of int to dict of str to float
        The named parts of the loss, of each seed that has some.
    """

    params: dict[str, ParamValue]
    losses: dict[int, float]
    components: dict[int, dict[str, float]] = attrs.field(factory=dict)


def replay(
    directory: RunDirectory,
    saved: Saved,
    trial: int,
    seed: int | None,
    *,
    validation: bool = False,
) -> Replayed:
    """Evaluate a seed of a trial again; None evaluates all seeds of the run, or its validation.

    Files that the loss writes to its ``trial_dir`` go to a folder below ``replays``; those of the
    run stay as they are. Raises OptionError if the run has no such trial or seed.
    """
    # Of a cluster that was passed, nothing is left to check.
    kept = {name: value for name, value in saved.keywords.items() if name != "cluster"}
    options = saved.kind.from_keywords(kept)
    params = _params(directory, saved, options, trial)
    plan = plan_of(saved.loss, options)
    of_all = seeds_validated_on(directory, plan) if validation else plan.seeds
    if of_all is None:
        raise OptionError("validation", True, "False: the run has no validation")
    if seed is not None and seed not in of_all:
        which = "fresh seeds" if validation else "seeds"
        allowed = f"one of the run's {len(of_all)} {which}, {of_all[0]} to {of_all[-1]}"
        raise OptionError("seed", seed, allowed)
    seeds = of_all.tolist() if seed is None else [seed]
    named = saved.keywords if directory.parent is None else directory.read_meta()["options"]
    items = {"entry_id": named.get("entry_id"), "trial_number": trial}
    name = f"trial_{trial:03}-{secrets.token_hex(4)}"
    context = Context(items, TrialDir(directory.path / "replays" / name, directory.path))
    replayed = Replayed(params, {})
    shipment = saved.packed.shipment
    loss = shipment.load(as_imported=True)
    try:
        for one in seeds:
            replayed.losses[one], parts = _evaluate(loss, replayed.params, one, context)
            if parts:
                replayed.components[one] = dict(parts)
    finally:
        shipment.release()
    return replayed


def _evaluate(
    loss: LossDefinition, params: dict[str, ParamValue], seed: int, context: Context
) -> tuple[float, Mapping[str, float]]:
    if not loss.vectorized:
        return read_returned(loss.evaluate(params, seed, context))
    returned = loss.evaluate(params, np.array([seed], dtype=np.int64), context)
    losses, components = read_arrays(returned, 1)
    parts = {name: float(values[0]) for name, values in components.items()}
    return check_finite(float(losses[0])), parts


def _params(
    directory: RunDirectory, saved: Saved, options: WorkOptions, trial: int
) -> dict[str, ParamValue]:
    if saved.source is not None:
        cases = Cases(saved.source, options, saved.loss.parameter_space)
        if not 0 <= trial < cases.n_trials:
            allowed = f"a trial of the sweep, which has 0 to {cases.n_trials - 1}"
            raise OptionError("trial", trial, allowed)
        return cases.params(trial)
    all_params = read_params(directory.study_file, directory.read_meta()["study_name"])
    if trial not in all_params:
        has = f"0 to {max(all_params)}" if all_params else "none yet"
        raise OptionError("trial", trial, f"a trial of the run, which has {has}")
    return all_params[trial]

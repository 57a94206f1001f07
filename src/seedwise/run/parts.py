"""What a run is made of, and how it is packed into the run's folder and out of it again."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import attrs
import cloudpickle

from seedwise.errors import NotARunError, OptionError
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.run.changes import what_decides_results
from seedwise.run.directory import RunDirectory
from seedwise.run.fingerprint import fingerprint
from seedwise.run.shipping import pack
from seedwise.study.samplers import make_sampler
from seedwise.worker.shipment import Shipment

__all__ = ["Parts", "Saved", "make_parts", "read_saved", "require_cluster"]

# Keywords that are about a call, and not about the run.
_OF_THE_CALL = ("accept_changes", "take_over", "run_root", "run_name")


@attrs.frozen
class Parts:
    """What a run is made of, besides its options.

    Attributes
    ----------
    loss : LossDefinition
        The loss.
    plan : SeedPlan
        The seeds of every trial.
    shipment : Shipment
        The packed loss.
    sampler : optuna.samplers.BaseSampler
        The sampler, as it is before the first trial.
    depends_on : dict of str to str
        What the results depend on.
    pickled : bytes
        What `read_saved` reads.
    """

    loss: LossDefinition
    plan: SeedPlan
    shipment: Shipment
    sampler: Any
    depends_on: Mapping[str, str]
    pickled: bytes


@attrs.frozen
class Saved:
    """What a run's folder holds of what it is made of.

    Attributes
    ----------
    keywords : dict
        The keywords of the call that began it, or went on with it last.
    shipment : Shipment
        The packed loss.
    depends_on : dict of str to str
        What the results depended on.
    code : str
        Fingerprint of the loss as it comes out of the shipment; unpickled code may look different.
    """

    keywords: dict[str, Any]
    shipment: Shipment
    depends_on: Mapping[str, str]
    code: str


def make_parts(loss: LossDefinition, options: RunOptions, saved: Saved | None = None) -> Parts:
    """Make what a run needs.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : RunOptions
        The options.
    saved : Saved, optional
        Of a run that is resumed from its folder: the loss is the one that was packed then.

    Returns
    -------
    Parts
        The parts.

    Raises
    ------
    OptionError
        If seeds or sampler can't be had.
    LossTransportError
        If the loss can't be pickled.
    """
    plan = seed_plan(
        seeds=options.seeds,
        n_seeds=options.n_seeds,
        chunk_size=options.chunk_size,
        num_chunks=options.num_chunks,
        seed_start=loss.seed_start,
    )
    sampler = make_sampler(options.sampler, options.random_seed)
    shipment = pack(loss, options) if saved is None else saved.shipment
    keywords = {name: getattr(options, name) for name in options.given - set(_OF_THE_CALL)}
    if options.seeds is not None:
        keywords["seeds"] = plan.seeds.tolist()  # what was given may be an iterator
    else:
        keywords["n_seeds"] = len(plan.seeds)  # or another chunk_size would give another number
    if not (options.cluster is None or isinstance(options.cluster, str)):
        keywords["cluster"] = _PASSED
    depends_on = what_decides_results(loss, options, plan)
    code = _code(loss if saved is not None or shipment.pickled is None else shipment.load())
    if saved is not None:
        if code == saved.code:
            depends_on["loss"] = saved.depends_on["loss"]
        if options.sampler is saved.keywords.get("sampler"):
            depends_on["sampler"] = saved.depends_on["sampler"]
    try:
        pickled = cloudpickle.dumps(Saved(keywords, shipment, depends_on, code))
    except Exception as error:
        hint = f"Its state is saved with each trial, so that the run can be resumed ({error})."
        allowed = "one that can be pickled"
        raise OptionError("sampler", options.sampler, allowed, hint) from error
    return Parts(loss, plan, shipment, sampler, depends_on, pickled)


def _code(loss: LossDefinition) -> str:
    return fingerprint((loss.function, loss.vectorized))


def read_saved(directory: RunDirectory) -> Saved:
    """Read what a run is made of from its folder.

    Raises
    ------
    NotARunError
        If the folder holds no run, or it can't be read any more.
    """
    directory.read_meta()  # refuses another format
    content = directory.read_parts()
    try:
        saved: Saved = pickle.loads(content)
    except Exception as error:
        problem = f"its loss and options can't be read ({type(error).__name__}: {error})"
        raise NotARunError(directory.path, problem) from error
    return saved


def require_cluster(keywords: Mapping[str, Any]) -> None:
    """Refuse to resume a run that was begun on a cluster of the caller's, without one."""
    if keywords.get("cluster") == _PASSED:
        raise OptionError(
            "cluster",
            None,
            "given: the run was begun on a Dask cluster that was passed",
            "Pass one, or say cluster='local' or cluster='slurm'.",
        )


_PASSED = "a cluster that was passed"

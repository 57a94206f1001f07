"""What a run is made of, and how it is packed into the run's folder and out of it again."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import attrs

from seedwise.errors import NotARunError, OptionError
from seedwise.model.by_value import dumps
from seedwise.model.entries_options import EntriesOptions
from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions, StudyOptions
from seedwise.model.points import check_points
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.model.sources import ParameterSource
from seedwise.model.sweep_options import SweepOptions
from seedwise.model.work_options import WorkOptions
from seedwise.run.changes import what_decides_results
from seedwise.run.directory import RunDirectory
from seedwise.run.fingerprint import fingerprint
from seedwise.run.shipping import pack
from seedwise.study.samplers import make_sampler
from seedwise.worker.shipment import Shipment

__all__ = ["Parts", "Saved", "entry_parts", "make_parts", "read_saved", "require_cluster"]

# Keywords that are about a call, and not about the run.
_OF_THE_CALL = (
    "accept_changes",
    "assume_yes",
    "clean_run_dir",
    "insecure",
    "refine_search_factor",
    "retry_failed",
    "run_name",
    "run_name_prefix",
    "run_root",
    "take_over",
    "trial_nums",
)


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
    sampler : optuna.samplers.BaseSampler or None
        The sampler, as it is before the first trial; None for a sweep.
    depends_on : dict of str to str
        What the results depend on.
    pickled : bytes
        What `read_saved` reads.
    source : GridSource, RandomSource, ManualSource or None
        Where the points of a sweep come from.
    """

    loss: LossDefinition
    plan: SeedPlan
    shipment: Shipment
    sampler: Any
    depends_on: Mapping[str, str]
    pickled: bytes
    source: ParameterSource | None = None


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
    kind : type
        The class of the options: `RunOptions`, `EntriesOptions` or `SweepOptions`.
    source : GridSource, RandomSource, ManualSource or None
        Where the points of a sweep come from.
    """

    keywords: dict[str, Any]
    shipment: Shipment
    depends_on: Mapping[str, str]
    code: str
    kind: type[RunOptions | EntriesOptions | SweepOptions]
    source: ParameterSource | None


def make_parts(
    loss: LossDefinition,
    options: RunOptions | EntriesOptions | SweepOptions,
    saved: Saved | None = None,
    source: ParameterSource | None = None,
) -> Parts:
    """Make what a run needs.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : RunOptions, EntriesOptions or SweepOptions
        The options.
    saved : Saved, optional
        Of a run that is resumed from its folder: the loss is the one that was packed then.
    source : GridSource, RandomSource or ManualSource, optional
        Where the points of a sweep come from.

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
    study = options if isinstance(options, StudyOptions) else None
    check_points(loss, options, source)
    sampler = make_sampler(study.sampler, study.random_seed) if study is not None else None
    shipment = pack(loss, options) if saved is None else saved.shipment
    depends_on = what_decides_results(loss, options, plan, source)
    code = _code(loss if saved is not None or shipment.pickled is None else shipment.load())
    if saved is not None:
        if code == saved.code:
            depends_on["loss"] = saved.depends_on["loss"]
        if study is not None and study.sampler is saved.keywords.get("sampler"):
            depends_on["sampler"] = saved.depends_on["sampler"]
    keywords = _kept(options, plan)
    try:
        pickled = dumps(Saved(keywords, shipment, depends_on, code, type(options), source))
    except Exception as error:
        name = "options" if isinstance(keywords.get("sampler", ""), str) else "sampler"
        hint = f"It is saved in the run's folder, so that the run can be resumed ({error})."
        raise OptionError(name, keywords.get(name), "one that can be pickled", hint) from error
    return Parts(loss, plan, shipment, sampler, depends_on, pickled, source)


def entry_parts(parts: Parts, options: RunOptions) -> Parts:
    """Return what the run of an entry is made of.

    Parameters
    ----------
    parts : Parts
        What all entries have in common.
    options : RunOptions
        The entry's options.

    Returns
    -------
    Parts
        The same with a sampler of its own.
    """
    own = {"random_seed": str(options.random_seed), "entry_id": str(options.entry_id)}
    return attrs.evolve(
        parts,
        sampler=make_sampler(options.sampler, options.random_seed),
        depends_on={**parts.depends_on, **own},
    )


def _kept(options: WorkOptions, plan: SeedPlan) -> dict[str, Any]:
    """Return the keywords that are to be known when the run is gone on with."""
    keywords = {name: getattr(options, name) for name in options.given - set(_OF_THE_CALL)}
    if options.seeds is not None:
        keywords["seeds"] = plan.seeds.tolist()  # what was given may be an iterator
    else:
        keywords["n_seeds"] = len(plan.seeds)  # or another chunk_size would give another number
    if not (options.cluster is None or isinstance(options.cluster, str)):
        keywords["cluster"] = _PASSED
    return keywords


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

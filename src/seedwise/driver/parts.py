"""What a run is made of, and how it is packed into the run's folder and out of it again."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Mapping
from typing import Any

import attrs

from seedwise.driver.same_run import what_decides_results
from seedwise.errors import NotARunError, OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.model.loss import LossDefinition
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.fields import from_json, to_json
from seedwise.model.options.study import RunOptions, StudyOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.points import check_points
from seedwise.model.seeds import SeedPlan, seed_plan
from seedwise.model.sources import ParameterSource, source_from_manifest
from seedwise.study.samplers import make_sampler
from seedwise.usercode.pack import pack
from seedwise.usercode.pickling import dumps
from seedwise.usercode.shipment import Shipment

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


_KINDS: dict[str, type[RunOptions | EntriesOptions | SweepOptions]] = {
    kind.kind: kind for kind in (RunOptions, EntriesOptions, SweepOptions)
}


@attrs.frozen
class Parts:
    """What a run is made of, besides its options."""

    #: The loss.
    loss: LossDefinition
    #: The seeds of every trial.
    plan: SeedPlan
    #: The packed loss.
    shipment: Shipment
    #: The sampler, as it is before the first trial; None for a sweep.
    sampler: Any
    #: What the results depend on.
    depends_on: Mapping[str, str]
    #: What ``run.json`` says of the run, and `read_saved` reads.
    saved: Mapping[str, Any]
    #: Where the points of a sweep come from.
    source: ParameterSource | None = None


@attrs.frozen
class Saved:
    """What a run's folder holds of what it is made of."""

    #: The class of the options: `RunOptions`, `EntriesOptions` or `SweepOptions`.
    kind: type[RunOptions | EntriesOptions | SweepOptions]
    #: The keywords of the call that began it, or resumed it last.
    keywords: dict[str, Any]
    #: The packed loss.
    shipment: Shipment
    #: Where the points of a sweep come from.
    source: ParameterSource | None


def make_parts(
    loss: LossDefinition,
    options: RunOptions | EntriesOptions | SweepOptions,
    source: ParameterSource | None = None,
    shipment: Shipment | None = None,
) -> Parts:
    """Make what a run needs.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : RunOptions, EntriesOptions or SweepOptions
        The options.
    source : GridSource, RandomSource or ManualSource, optional
        Where the points of a sweep come from.
    shipment : Shipment, optional
        Of a run that is resumed from its folder: what the loss came out of.

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
    check_points(loss, options, source)
    study = options if isinstance(options, StudyOptions) else None
    sampler = make_sampler(study.sampler, study.random_seed) if study is not None else None
    travelled = loss
    if shipment is None:
        shipment = pack(loss, options)
        if shipment.pickled is not None:
            # Unpickled code may look different: the loss's identity is that of what is saved.
            travelled = shipment.load()
    pickled = None if study is None or isinstance(study.sampler, str) else _pickled(study.sampler)
    own = None if pickled is None else pickle.loads(pickled)
    depends_on = what_decides_results(travelled, options, plan, source, own)
    saved = {
        "kind": options.kind,
        "options": to_json(type(options), _kept(options, plan)),
        "source": None if source is None else source.to_manifest_dict(),
        "sampler": _text(pickled),
        "loss": {**attrs.asdict(shipment), "pickled": _text(shipment.pickled)},
    }
    return Parts(loss, plan, shipment, sampler, depends_on, saved, source)


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
    """Return the keywords that are to be known when the run is resumed."""
    keywords = {name: getattr(options, name) for name in options.given - set(_OF_THE_CALL)}
    if options.seeds is not None:
        keywords["seeds"] = plan.seeds.tolist()  # what was given may be an iterator
    else:
        keywords["n_seeds"] = len(plan.seeds)  # or another chunk_size would give another number
    if not (options.cluster is None or isinstance(options.cluster, str)):
        keywords["cluster"] = _PASSED
    if not isinstance(keywords.get("sampler", ""), str):
        del keywords["sampler"]
    return keywords


def _pickled(sampler: object) -> bytes:
    try:
        return dumps(sampler)
    except Exception as error:
        hint = f"It is saved in the run's folder, so that the run can be resumed ({error})."
        raise OptionError("sampler", sampler, "one that can be pickled", hint) from error


def _text(pickled: bytes | None) -> str | None:
    return None if pickled is None else base64.b64encode(pickled).decode("ascii")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


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
        kind = _KINDS[content["kind"]]
        keywords = from_json(kind, content["options"])
        if content["sampler"] is not None:
            keywords["sampler"] = pickle.loads(base64.b64decode(content["sampler"]))
        loss, source = content["loss"], content["source"]
        argv = loss["argv"] and tuple(loss["argv"])
        shipment = Shipment(
            loss["name"], _bytes(loss["pickled"]), loss["module"], argv, tuple(loss["path"])
        )
        return Saved(kind, keywords, shipment, source and source_from_manifest(source))
    except Exception as error:
        problem = f"its loss and options can't be read ({type(error).__name__}: {error})"
        raise NotARunError(directory.path, problem) from error


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

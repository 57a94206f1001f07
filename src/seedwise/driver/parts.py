"""What a run is made of, and how it is packed into the run's folder and out of it again."""

import base64
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from seedwise.driver import same_run
from seedwise.errors import NotARunError, OptionError
from seedwise.folder.directory import RunDirectory, read_code, write_code
from seedwise.model.loss import CallShape, LossDefinition
from seedwise.model.options.fields import from_json, to_json
from seedwise.model.options.study import EntriesOptions, RunOptions, StudyOptions, SweepOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.points import Cases, first_points, with_overrides
from seedwise.model.racing import Looks, looks
from seedwise.model.seeds import DEFAULT_CHUNK_SIZE, DEFAULT_NUM_CHUNKS, SeedPlan, seed_plan
from seedwise.model.sources import ParameterSource, source_from_manifest
from seedwise.model.space import ParameterSpace, space_from_json, space_to_json
from seedwise.study.samplers import make_sampler
from seedwise.usercode.code import Code
from seedwise.usercode.identity import difference
from seedwise.usercode.pack import Packed, pack
from seedwise.usercode.pickling import dumps
from seedwise.usercode.shipment import Shipment

#: Keywords that are about a call, and not about the run.
OF_THE_CALL = {
    *("accept_changes", "assume_yes", "clean_run_dir", "insecure", "refine_search_factor"),
    *("retry_failed", "run_name", "run_name_prefix", "run_root", "take_over", "trial_nums"),
}

#: What ``run.json`` says of a shipment, besides its pickle.
_OF_SHIPMENT = ("module", "variable", "digest", "python")

_KINDS: dict[str, type[RunOptions | EntriesOptions | SweepOptions]] = {
    kind.kind: kind for kind in (RunOptions, EntriesOptions, SweepOptions)
}


@attrs.frozen
class Parts:
    """What a run is made of, besides its options; each is resolved once."""

    #: Of a run that is resumed from its folder alone, without the function.
    loss: LossDefinition
    plan: SeedPlan
    packed: Packed
    identity: same_run.CodeIdentity
    depends_on: Mapping[str, str]
    #: What ``run.json`` says of the run, and `read_saved` reads.
    saved: Mapping[str, Any]
    #: Which of the seeds a trial gets.
    looks: Looks
    #: The space that is searched, with what is held at a value; of a sweep the loss's.
    space: ParameterSpace
    #: Of a study: the sampler as it is before the first trial.
    sampler: Any = None
    #: Of a study: returns the params that the trial of a number is to have, all, some, or None.
    point: Callable[[int], Mapping[str, Any] | None] = lambda _: None
    source: ParameterSource | None = None
    #: Of a sweep: its trials.
    cases: Any = None

    @property
    def has_function(self) -> bool:
        """Whether the loss can be called in this process."""
        return self.loss.function is not _only_on_workers

    @property
    def n_chunks(self) -> int:
        """The most chunks that a trial is cut into."""
        return -(-self.looks.sizes[-1] // self.plan.chunk_size)


@attrs.frozen
class Saved:
    """What a run's folder holds of what it is made of."""

    kind: type[RunOptions | EntriesOptions | SweepOptions]
    #: The keywords of the call that began it, or resumed it last.
    keywords: dict[str, Any]
    #: Without its function, which is in the code.
    loss: LossDefinition
    packed: Packed
    identity: same_run.CodeIdentity
    #: That of the identity and the code, by the version of Python that saved it.
    digest: str
    source: ParameterSource | None


def make_parts(
    loss: LossDefinition,
    options: RunOptions | EntriesOptions | SweepOptions,
    source: ParameterSource | None = None,
    saved: Saved | None = None,
) -> Parts:
    """Make what a run needs; `saved` is given if the loss came out of a run's folder."""
    plan = plan_of(loss, options)
    study = options if isinstance(options, StudyOptions) else None
    cases = None if source is None else Cases(source, options, loss.parameter_space)
    space, sampler, point = loss.parameter_space, None, None
    trial_looks = looks(study.race if study is not None else False, len(plan.seeds))
    if study is not None:
        space = with_overrides(space, study.overrides)
        point = first_points(study, space)
        sampler = make_sampler(same_run.sampler_of(study, trial_looks), study.random_seed)
    packed = pack(loss, options) if saved is None else saved.packed
    shipment = packed.shipment
    identity = same_run.code_identity(loss, shipment) if saved is None else saved.identity
    digest = identity.digest(shipment.code) if saved is None else saved.digest
    pickled, saved_sampler = _saved_sampler(study)
    content = {
        "kind": options.kind,
        "options": to_json(type(options), _kept(options, plan)),
        "source": None if source is None else source.to_manifest_dict(),
        "sampler": _text(pickled),
        "loss": {
            **attrs.asdict(loss, recurse=False, filter=attrs.filters.exclude("function")),
            "parameter_space": space_to_json(loss.parameter_space),
            "call_shape": loss.call_shape.name,
        },
        "code": shipment.code.to_manifest(),
        "shipment": {
            **{name: getattr(shipment, name) for name in _OF_SHIPMENT},
            "pickled": _text(shipment.pickled),
        },
        "identity": attrs.asdict(identity),
        "digest": digest,
    }
    return Parts(
        loss=loss,
        plan=plan,
        packed=packed,
        identity=identity,
        depends_on=same_run.what_decides_results(
            loss, digest, options, plan, source, saved_sampler
        ),
        saved=content,
        looks=trial_looks,
        space=space,
        sampler=sampler,
        source=source,
        cases=cases,
        point=point or (lambda _: None),
    )


def entry_parts(parts: Parts, options: RunOptions) -> Parts:
    """Return what the run of an entry is made of: the same with a sampler of its own."""
    own = {"random_seed": str(options.random_seed), "entry_id": str(options.entry_id)}
    return attrs.evolve(
        parts,
        sampler=make_sampler(same_run.sampler_of(options, parts.looks), options.random_seed),
        depends_on={**parts.depends_on, **own},
    )


def plan_of(loss: LossDefinition, options: WorkOptions) -> SeedPlan:
    """Return the seeds of a run with these options."""
    plan = seed_plan(
        seeds=options.seeds,
        n_seeds=options.n_seeds,
        chunk_size=options.chunk_size,
        num_chunks=options.num_chunks,
        seed_start=loss.seed_start,
    )
    if not isinstance(options, StudyOptions) or options.chunk_size is not None:
        return plan
    trial_looks, n_chunks = looks(options.race, len(plan.seeds)), plan.n_chunks
    measured, batch = options.num_chunks is None, None
    if measured:  # at first ten chunks a trial, or of 100 seeds, or two for each worker asked for
        workers = options.workers
        most = workers if isinstance(workers, int) else max(workers or (0,))
        lag = options.lag_of(trial_looks)
        n_chunks = max(n_chunks, DEFAULT_NUM_CHUNKS, -(-2 * most // lag))
        # What a vectorized loss makes of a seed may depend, in its last bit, on those beside it.
        batch = DEFAULT_CHUNK_SIZE if loss.vectorized else None
    # A part of the plan is cut into as many chunks as the whole would be.
    size = -(-trial_looks.sizes[-1] // n_chunks)
    if batch is not None:
        size = -(-size // batch) * batch
    return attrs.evolve(plan, chunk_size=size, measured=measured, batch=batch)


def _kept(options: WorkOptions, plan: SeedPlan) -> dict[str, Any]:
    """Return the keywords that are to be known when the run is resumed."""
    kept = options.given - OF_THE_CALL
    keywords = {name: getattr(options, name) for name in sorted(kept)}
    if options.seeds is not None:
        keywords["seeds"] = plan.seeds.tolist()  # what was given may be an iterator
    else:
        keywords["n_seeds"] = len(plan.seeds)  # or another chunk_size would give another number
    if not (options.cluster is None or isinstance(options.cluster, str)):
        keywords["cluster"] = _PASSED
    if not isinstance(keywords.get("sampler", ""), str):
        del keywords["sampler"]
    return keywords


def _saved_sampler(study: StudyOptions | None) -> tuple[bytes | None, object]:
    """Return a sampler of the caller's pickled, and as it comes out of that; None for a name."""
    if study is None or isinstance(study.sampler, str):
        return None, None
    try:
        pickled = dumps(study.sampler)
        return pickled, pickle.loads(pickled)
    except Exception as error:
        hint = f"It is saved in the run's folder, so that the run can be resumed ({error})."
        raise OptionError("sampler", study.sampler, "one that can be pickled", hint) from error


def _text(pickled: bytes | None) -> str | None:
    return None if pickled is None else base64.b64encode(pickled).decode("ascii")


def _only_on_workers(*_: object, **__: object) -> float:
    raise AssertionError("the loss of a run that is resumed is loaded by its workers only")


def save(parts: Parts, directory: RunDirectory) -> None:
    """Write what a run is made of to its folder; `read_saved` reads it."""
    write_code(directory, parts.packed.shipment.code.id, parts.packed.files)
    directory.parts.write(parts.saved)


def read_saved(directory: RunDirectory) -> Saved:
    """Read what a run is made of from its folder, or raise NotARunError."""
    directory.read_meta()  # refuses another format
    content = directory.read_parts()
    try:
        kind = _KINDS[content["kind"]]
        keywords = from_json(kind, content["options"])
        if content["sampler"] is not None:
            keywords["sampler"] = pickle.loads(base64.b64decode(content["sampler"]))
        source, loss = content["source"], content["loss"]
        space, shape = space_from_json(loss["parameter_space"]), CallShape[loss["call_shape"]]
        fields = {**loss, "parameter_space": space, "call_shape": shape}
        return Saved(
            kind=kind,
            keywords=keywords,
            loss=LossDefinition(function=_only_on_workers, **fields),
            packed=Packed(_read_shipment(directory, content), {}),
            identity=same_run.CodeIdentity(**content["identity"]),
            digest=content["digest"],
            source=source and source_from_manifest(source),
        )
    except NotARunError:
        raise
    except Exception as error:
        problem = f"its loss and options can't be read ({type(error).__name__}: {error})"
        raise NotARunError(directory.path, problem) from error


def _read_shipment(directory: RunDirectory, content: Mapping[str, Any]) -> Shipment:
    sent, code = content["shipment"], Code.from_manifest(content["code"], {})
    hashes = {copy: digest for copy, digest in code.hashes.items() if copy.endswith(".py")}
    files = read_code(directory, code.id, hashes)
    sources = {name: files[each.copy] for name, each in code.modules.items() if each.copy in files}
    code = attrs.evolve(code, sources=sources, folder=str(directory.code / code.id))
    pickled = sent["pickled"] and base64.b64decode(sent["pickled"])
    read = {**sent, "pickled": pickled, "python": sent["python"] and tuple(sent["python"])}
    return Shipment(content["loss"]["name"], code, **read)


def saved_version(directory: RunDirectory) -> str | None:
    """Return which version of the code a run's folder says it has; None if it can't be read."""
    try:
        return Code.from_manifest(directory.read_parts()["code"], {}).id
    except Exception:  # a driver was killed before it wrote it
        return None


def named_as_before(parts: Parts, directory: RunDirectory) -> Parts:
    """Return the parts with the digest that another Python may have written of the same code."""
    try:
        saved = read_saved(directory)
    except NotARunError:
        return parts
    now, code = parts.identity, parts.packed.shipment.code
    if saved.identity.digest(saved.packed.shipment.code) != now.digest(code):
        return parts
    depends_on = {**parts.depends_on, "loss": same_run.loss_text(parts.loss, saved.digest)}
    content = {**parts.saved, "digest": saved.digest}
    return attrs.evolve(parts, depends_on=depends_on, saved=content)


def code_changes(parts: Parts, directory: RunDirectory) -> str:
    """Return what differs between the code that a run began with and the present one."""
    try:
        saved = read_saved(directory.home)
    except NotARunError:
        return ""
    before = saved.identity.pieces(saved.packed.shipment.code)
    return difference(before, parts.identity.pieces(parts.packed.shipment.code))


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

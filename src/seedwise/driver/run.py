"""A run that this driver holds, with the right to write to its folder, and the work on it."""

import os
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeAlias, TypeVar

import attrs

from seedwise.cluster.open import place_mode
from seedwise.driver.parts import Parts, code_changes, named_as_before, save, saved_version
from seedwise.driver.same_run import decides_losses
from seedwise.engine.engine import Job
from seedwise.errors import ChangedRunError, OptionError
from seedwise.folder.directory import EventLog, JsonFile, RunDirectory, drop_code, utc_now
from seedwise.folder.history import History, take_up_history
from seedwise.model.options.race import race_to_json
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.points import refined_space
from seedwise.model.space import ParameterSpace, space_from_json, space_to_json
from seedwise.model.trials import TrialResult, TrialState
from seedwise.model.validation import Validation
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult
from seedwise.study.proposer import read_params
from seedwise.usercode.shipment import Shipment

AnyOptions: TypeAlias = RunOptions | EntriesOptions | SweepOptions
AnyResult: TypeAlias = OptimizeResult | MultiOptimizeResult | SweepResult
Result_co = TypeVar("Result_co", bound=AnyResult, covariant=True)


@attrs.frozen
class Run:
    """A run, or an entry's part of one, whose lease is ours."""

    parts: Parts
    options: Any
    directory: RunDirectory
    history: History
    #: Raises LeaseLostError if another driver has taken the run over; called before each write.
    guard: Callable[[], None]
    #: When this driver began, by the monotonic clock.
    started_s: float = attrs.field(factory=time.monotonic)
    log: EventLog = attrs.field(
        default=attrs.Factory(lambda self: EventLog(self.directory.event_log), takes_self=True)
    )

    @property
    def elapsed_s(self) -> float:
        """Seconds that this driver has worked on the run."""
        return time.monotonic() - self.started_s

    @property
    def space(self) -> ParameterSpace:
        """The space that is searched: what is as it was in the last phase is as narrow."""
        base, phases = self.parts.space, self.history.phases
        if not phases:
            return base
        last, fields = phases[-1], space_to_json(base)
        same = {name: last["space"][name] for name in base if last["of"].get(name) == fields[name]}
        return {**base, **space_from_json(same)}

    @property
    def shipment(self) -> Shipment:
        """The loss on its way to the workers, who may read its code from the folder."""
        shipment = self.parts.packed.shipment
        folder = self.directory.code / shipment.code.id
        return attrs.evolve(shipment, code=attrs.evolve(shipment.code, folder=str(folder)))

    def out_of_time(self) -> bool:
        """Tell whether no further trial is to be asked for."""
        return self.options.timeout is not None and self.elapsed_s >= self.options.timeout

    def at_work(self, phases: tuple[Mapping[str, Any], ...] | None = None) -> Self:
        """Return the run as it is when this driver works on it, with other phases or the same."""
        mode = place_mode(self.options).value
        phases = self.history.phases if phases is None else phases
        return attrs.evolve(self, history=attrs.evolve(self.history, mode=mode, phases=phases))

    def write(self, file: JsonFile, content: Mapping[str, Any]) -> None:
        """Write a file of the folder, unless the run is another driver's now."""
        self.guard()
        file.write(content)

    def prepare(self) -> None:
        """Write what is needed to resume the run, whatever happens from here on."""
        self.guard()
        directory, is_whole_run = self.directory, self.directory.parent is None
        if is_whole_run:
            before = None if self.history.is_new else saved_version(directory)
            save(self.parts, directory)
            if before not in (None, self.shipment.code.id) and not self.history.changes:
                drop_code(directory, before)  # it was the same but for its form
            if decides_losses(self.history.changes):
                directory.reference.write({})  # before meta.json, which makes it the run's past
        directory.meta.write(self._meta())
        if is_whole_run:
            kind = "started" if self.history.is_new else "resumed"
            if (by_value := self.parts.packed.by_value) is not None:
                self.log.write("by value", by_value)
            self.log.write(kind, f"{kind} by process {os.getpid()} on {socket.gethostname()}")

    def note_end(self, best: TrialResult | None, *, complete: bool) -> None:
        """Write how the run ended; it is complete if nothing is left to do."""
        directory = self.directory
        remarks = directory.read_meta().get("remarks", []) if directory.has_begun else []
        self.write(
            directory.meta,
            {
                **self._meta(),
                "remarks": remarks,
                **({"completed_at_utc": utc_now().isoformat()} if complete else {}),
                "duration_seconds": self.elapsed_s,
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
            },
        )

    def _meta(self) -> dict[str, Any]:
        loss, plan, source = self.parts.loss, self.parts.plan, self.parts.source
        options = attrs.asdict(self.options, recurse=False)
        options["seeds"] = plan.seeds.tolist() if self.options.seeds is not None else None
        options["given"] = sorted(options["given"])
        for name, value in options.items():
            is_source = hasattr(value, "to_manifest_dict")
            options[name] = value.to_manifest_dict() if is_source else race_to_json(value)
        return {
            "kind": self.options.kind,
            "loss_name": loss.name,
            "loss_description": loss.description,
            "run_name": self.directory.name,
            "run_dir": str(self.directory.path),
            "mode": self.history.mode,
            "n_seeds": len(plan.seeds),
            "seed_start": int(plan.seeds[0]),
            "seed_end": int(plan.seeds[-1]),
            "chunk_size": plan.chunk_size,
            "num_chunks": self.parts.n_chunks,
            "parameter_space": space_to_json(loss.parameter_space),
            **({} if source is None else {"source": source.to_manifest_dict()}),
            **self.history.to_meta(),
            "options": options,
        }


def take_up(
    parts: Parts, options: AnyOptions, directory: RunDirectory, guard: Callable[[], None]
) -> Run:
    """Begin a run, or take up the one that the folder holds."""
    if directory.has_begun:
        directory.require_kind(options.kind)
        if directory.parent is None:
            parts = named_as_before(parts, directory)
    if isinstance(options, SweepOptions):
        n_trials = int(parts.cases.n_trials)
    else:
        n_entries = len(tuple(options.entry_ids)) if isinstance(options, EntriesOptions) else 1
        n_trials = options.n_trials * n_entries
    try:
        history = take_up_history(
            directory,
            parts.loss.name,
            parts.depends_on,
            accept_changes=options.accept_changes,
            n_trials=n_trials,
        )
    except ChangedRunError as error:
        raise ChangedRunError(
            error.run_dir, error.changes, code_changes(parts, directory)
        ) from None
    if history.copy_of is not None and directory.parent is None:  # the jobs are the original's
        directory.jobs_file.unlink(missing_ok=True)
    directory.sweep()
    return Run(parts, options, directory, history, guard)


def phases_of(run: Run, best: TrialResult | None) -> tuple[Mapping[str, Any], ...]:
    """Return the phases of the study; a smaller space begins one, unless it has begun before."""
    history, factor, n_trials = run.history, run.options.refine_search_factor, run.options.n_trials
    began = [(phase["factor"], phase["n_trials"]) for phase in history.phases[-1:]]
    if factor is None or began == [(factor, n_trials)]:
        return history.phases
    if best is None and run.directory.parent is not None:
        return history.phases  # the other entries have one to go around
    if best is None:
        hint = "There is no completed trial yet to go around."
        allowed = "None for a run that has no completed trial"
        raise OptionError("refine_search_factor", factor, allowed, hint)
    space = refined_space(run.space, best.params, factor)
    phase = {
        "from_trial": len(read_params(run.directory.study_file, history.study_name)),
        "factor": factor,
        "n_trials": n_trials,
        "best_trial": best.number,
        "space": space_to_json(space),
        "of": space_to_json(run.parts.space),
    }
    return *history.phases, phase


class InFlight(NamedTuple):
    """What is in flight."""

    n_trials: int = 0
    #: How many of their seeds are evaluated.
    n_seeds_done: int = 0
    #: How many fresh seeds are evaluated, and are to be; none without a validation.
    n_fresh_done: int = 0
    n_fresh: int = 0


class Work(ABC, Generic[Result_co]):
    """What is left to do of a run, whose folder is prepared for it, and what comes of it."""

    #: Whether chunks of several trials may share a Dask task.
    packs: ClassVar[bool] = False

    #: The run as this driver leaves it.
    run: Run
    #: Whether the folder was prepared for work: something was left to do.
    is_prepared: bool
    jobs: Sequence[Job]
    jobs_at_once: int = 1
    #: How many chunks can be in flight in each part of the work, of all jobs together.
    n_chunks: Sequence[int]
    #: Whether the driver evaluates the seed, too, that workers compare.
    has_witness: bool = True

    @property
    @abstractmethod
    def n_trials(self) -> int:
        """How many trials there are to be in all."""

    @property
    @abstractmethod
    def counts(self) -> Counter[TrialState]:
        """How many trials are told by now, by state."""

    @property
    @abstractmethod
    def best(self) -> TrialResult | None:
        """The best trial told by now; None of entries, which have one each."""

    @property
    def seeds_saved(self) -> int:
        """How many seeds the race has saved by now."""
        return 0

    @property
    @abstractmethod
    def n_seeds_unused(self) -> int:
        """How many seeds were evaluated ahead in vain."""

    @abstractmethod
    def in_flight(self) -> InFlight:
        """Return what is in flight."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, as far as time did not run out."""
        return not self.run.out_of_time() or self.counts.total() >= self.n_trials

    def entries(self) -> dict[str, int] | None:
        """Return how many entries are in which state; None of a run without entries."""
        return None

    def validated(self) -> Validation | None:
        """Return what the validation found; None without one, or until its end."""
        return None

    @abstractmethod
    def so_far(self) -> Result_co:
        """Return the result of what is told by now."""

    def outcome(self) -> str | None:
        """Say how many entries or cases succeeded, and how many failed and why."""
        return self.so_far().outcome

    def remarks(self) -> Sequence[str]:
        """Return what is to be said of the run at its end."""
        return self.so_far().remarks

    @abstractmethod
    def write_summary(self) -> None:
        """Write what ``summary.json`` is to say of the whole run by now."""

    def conclude(self, workplace: Any) -> None:
        """Conclude when all jobs are done, and the workers are still there."""

    def result(self) -> Result_co:
        """Return the result; raises if nothing is complete."""
        return self.so_far()

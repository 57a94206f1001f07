"""A run's history: what its folder says of the time before this driver, and what this one adds."""

import re
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import ChangedRunError, NotARunError
from seedwise.folder.directory import RunDirectory, environment, utc_now

_NOT_IN_META = {"mode", "changes", "completed", "last_name", "copy_of", "is_new"}


@attrs.frozen
class History:
    """A run's past."""

    #: 32 hexadecimal digits, which the run's Slurm jobs carry.
    run_id: str
    study_name: str
    results_depend_on: Mapping[str, str]
    #: In UTC, as are all times here.
    started_at_utc: str
    #: Where the work was done last; None for a new run.
    mode: str | None = None
    #: This time included.
    resumed_at_utc: tuple[str, ...] = ()
    #: Changes of `results_depend_on` by earlier resumes and this one, with their times.
    accepted_changes: tuple[Mapping[str, Any], ...] = ()
    #: What is changed this time.
    changes: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    #: For each refined space: ``from_trial``, ``factor``, ``n_trials``, ``best_trial``, ``space``.
    phases: tuple[Mapping[str, Any], ...] = ()
    #: Least digits of a trial's number in names of folders.
    trial_digits: int = 3
    #: Whether the driver before this one finished the run.
    completed: bool = False
    #: The folder's name for the driver before this one, whose jobs have it; None for a new run.
    last_name: str | None = None
    #: The folder that this one is a copy of; the copy gets an id of its own now.
    copy_of: Path | None = None
    is_new: bool = attrs.field(
        init=False, default=attrs.Factory(lambda self: not self.resumed_at_utc, takes_self=True)
    )

    def to_meta(self) -> dict[str, Any]:
        """Return what ``meta.json`` says of it."""
        return attrs.asdict(self, recurse=False, filter=attrs.filters.exclude(*_NOT_IN_META))


def take_up_history(
    directory: RunDirectory,
    study_name: str,
    depends_on: Mapping[str, str],
    *,
    accept_changes: bool,
    n_trials: int = 0,
) -> History:
    """Begin the history of a new run, of this name and size, or read that of a run to resume."""
    now = utc_now().isoformat()
    if not directory.has_begun:
        digits = max(3, len(str(n_trials - 1)))
        return History(uuid.uuid4().hex, study_name, dict(depends_on), now, trial_digits=digits)
    meta = directory.read_meta()
    before: dict[str, str] = meta["results_depend_on"]
    changes = changed(before, depends_on)
    if changes and not accept_changes:
        raise ChangedRunError(directory.path, changes)
    if directory.parent is None:  # once a run, not for each entry
        begun = directory.environment.read().get("cpu_model")
        if begun != (now_on := environment()["cpu_model"]):
            warnings.warn(
                f"{directory.path} was begun on a CPU {begun!r} and is resumed on {now_on!r}: the "
                "same bits are promised for one model only.",
                stacklevel=2,
            )
    accepted = list(meta["accepted_changes"])
    if changes:
        accepted.append({"at_utc": now, "changes": changes})
        if "seeds" in changes:  # the largest so far: fresh ones follow it
            accepted[-1]["highest_seed"] = max(meta["options"]["seeds"] or [meta["seed_end"]])
    run_id, copy_of = run_id_of(directory, meta), original_of(directory, meta)
    return History(
        run_id=run_id if copy_of is None else uuid.uuid4().hex,
        study_name=meta["study_name"],
        results_depend_on=dict(depends_on),
        started_at_utc=meta["started_at_utc"],
        mode=meta.get("mode"),
        resumed_at_utc=(*meta["resumed_at_utc"], now),
        accepted_changes=tuple(accepted),
        changes=changes,
        phases=tuple(meta["phases"]),
        trial_digits=meta["trial_digits"],
        completed="completed_at_utc" in meta,
        last_name=meta.get("run_name"),
        copy_of=copy_of,
    )


def run_id_of(directory: RunDirectory, meta: Mapping[str, Any]) -> str:
    """Return a run's id from its ``meta.json``; raise NotARunError if it is not one of ours."""
    run_id = meta.get("run_id")  # another, such as (null), might be the comment of others' jobs
    if isinstance(run_id, str) and re.fullmatch("[0-9a-f]{32}", run_id):
        return run_id
    problem = f"meta.json has run_id {run_id!r}, but a run's id is 32 hexadecimal digits"
    raise NotARunError(directory.path, problem)


def original_of(directory: RunDirectory, meta: Mapping[str, Any]) -> Path | None:
    """Return the folder that this one is a copy of, whose jobs they are; None without one."""
    run_dir = meta.get("run_dir")
    if not isinstance(run_dir, str):
        return None
    other = RunDirectory(Path(run_dir))
    try:
        same_run = other.read_meta().get("run_id") == meta.get("run_id")
        if not same_run or other.path.samefile(directory.path):
            return None
    except (OSError, NotARunError):  # it was moved here, or another run is there now
        return None
    return other.path


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what differs, as (old, new); what only one of them has is "none" in the other."""
    names = dict.fromkeys([*old, *new])
    pairs = {name: (old.get(name, "none"), new.get(name, "none")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

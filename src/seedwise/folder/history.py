"""What a run's folder says of the run before this driver, and what this driver adds to it."""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import ChangedRunError, NotARunError
from seedwise.folder.directory import RunDirectory, utc_now
from seedwise.folder.environment import environment


@attrs.frozen
class History:
    """A run's past."""

    #: What tells the run from all others; its Slurm jobs carry it.
    run_id: str
    #: Name of its study.
    study_name: str
    #: What its results depend on.
    depends_on: Mapping[str, str]
    #: When it began, in UTC.
    started_at: str
    #: Where the work was done last; None of a run that begins now.
    mode: str | None = None
    #: When it was gone on with, this time included.
    resumed_at: tuple[str, ...] = ()
    #: What of `depends_on` was changed on the way, and when.
    accepted_changes: tuple[Mapping[str, Any], ...] = ()
    #: What is changed this time.
    changes: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    #: Where the space was made smaller: ``from_trial``, ``factor``, the ``n_trials`` of the call,
    #: ``best_trial`` and the ``space`` since.
    phases: tuple[Mapping[str, Any], ...] = ()
    #: Digits of a trial's number in the names of folders.
    trial_digits: int = 3
    #: Whether the driver before this one brought the run to its end.
    completed: bool = False
    #: The folder of which this one is a copy: the run has an id of its own from now on.
    copy_of: Path | None = None

    @property
    def is_new(self) -> bool:
        """Whether the run begins now."""
        return not self.resumed_at

    def to_meta(self) -> dict[str, Any]:
        """Return what ``meta.json`` is to say of it."""
        return {
            "run_id": self.run_id,
            "study_name": self.study_name,
            "results_depend_on": dict(self.depends_on),
            "started_at_utc": self.started_at,
            "resumed_at_utc": list(self.resumed_at),
            "accepted_changes": list(self.accepted_changes),
            "phases": list(self.phases),
            "trial_digits": self.trial_digits,
        }


def take_up_history(
    directory: RunDirectory,
    study_name: str,
    depends_on: Mapping[str, str],
    *,
    accept_changes: bool,
    n_trials: int = 0,
) -> History:
    """Begin a run's history, or take it up.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    study_name : str
        Name of the study of a new run.
    depends_on : dict of str to str
        What the results depend on now.
    accept_changes : bool
        Whether changes of it are accepted.
    n_trials : int
        How many trials a run is to have that begins now.

    Returns
    -------
    History
        The history.

    Raises
    ------
    ChangedRunError
        If the run was begun with others and changes are not accepted.
    NotARunError
        If what ``meta.json`` says is the run's id is none.
    """
    now = _iso(utc_now())
    if not directory.has_begun:
        digits = max(3, len(str(n_trials - 1)))
        return History(uuid.uuid4().hex, study_name, dict(depends_on), now, trial_digits=digits)
    meta = directory.read_meta()
    before: dict[str, str] = meta["results_depend_on"]
    changes = changed(before, depends_on)
    if changes and not accept_changes:
        raise ChangedRunError(directory.path, changes)
    if directory.parent is None:  # an entry's has told it
        _warn_of_another_cpu(directory)
    accepted = list(meta["accepted_changes"])
    if changes:
        accepted.append({"at_utc": now, "changes": changes})
    run_id, copy_of = run_id_of(directory, meta), original_of(directory, meta)
    return History(
        run_id=run_id if copy_of is None else uuid.uuid4().hex,
        study_name=meta["study_name"],
        depends_on=dict(depends_on),
        started_at=meta["started_at_utc"],
        mode=meta.get("mode"),
        resumed_at=(*meta["resumed_at_utc"], now),
        accepted_changes=tuple(accepted),
        changes=changes,
        phases=tuple(meta["phases"]),
        trial_digits=meta["trial_digits"],
        completed="completed_at_utc" in meta,
        copy_of=copy_of,
    )


def run_id_of(directory: RunDirectory, meta: Mapping[str, Any]) -> str:
    """Return a run's id; what is none may be all jobs' comment, such as ``(null)``, of any job.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    meta : dict
        What its ``meta.json`` says.

    Raises
    ------
    NotARunError
        If it says something that seedwise calls no run.
    """
    run_id = meta.get("run_id")
    if isinstance(run_id, str) and re.fullmatch("[0-9a-f]{32}", run_id):
        return run_id
    problem = f"meta.json says run_id {run_id!r}, and a run's id is 32 hexadecimal digits"
    raise NotARunError(directory.path, problem)


def original_of(directory: RunDirectory, meta: Mapping[str, Any]) -> Path | None:
    """Return the folder that a run is in, if the one here is a copy of it; None if it is not.

    Parameters
    ----------
    directory : RunDirectory
        The folder.
    meta : dict
        What its ``meta.json`` says.

    Returns
    -------
    pathlib.Path or None
        The other folder, to which the jobs belong that have the run's id.
    """
    run_dir = meta.get("run_dir")
    if not isinstance(run_dir, str):
        return None
    other = RunDirectory(Path(run_dir))
    try:
        same_run = other.read_meta().get("run_id") == meta.get("run_id")
        if not same_run or other.path.samefile(directory.path):
            return None
    except (OSError, NotARunError):  # it was moved here, or what is there is none of our business
        return None
    return other.path


def _warn_of_another_cpu(directory: RunDirectory) -> None:
    before = directory.read_environment().get("cpu_model")
    now = environment()["cpu_model"]
    if before != now:
        warnings.warn(
            f"{directory.path} was begun on a CPU {before!r} and goes on with {now!r}: the same "
            "bits are promised for one model only.",
            stacklevel=2,
        )


def _iso(time: datetime) -> str:
    return time.isoformat()


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what differs, with the old and the new; what only one has is "none" in the other."""
    names = dict.fromkeys([*old, *new])
    pairs = {name: (old.get(name, "none"), new.get(name, "none")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

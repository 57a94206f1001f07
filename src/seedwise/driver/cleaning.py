"""Removing what a driver that was killed left behind; the results stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs

from seedwise.cluster.job import job_name
from seedwise.cluster.keys import remove_keys
from seedwise.disk.own_folder import is_folder
from seedwise.errors import CleanRefusedError, EntryOfARunError, NotARunError, RunExistsError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import is_unborn, run_of_entry
from seedwise.folder.history import original_of, run_id_of
from seedwise.folder.lease import acquire_lease
from seedwise.folder.owner import allowed_to_us, require_own, require_owner
from seedwise.model.options.mode import ExecutionMode
from seedwise.results.cleaned import CleanedRun
from seedwise.slurm.commands import CommandError
from seedwise.slurm.job_ids import JobBook
from seedwise.slurm.queue import cancel_jobs


@attrs.frozen
class LeftJobs:
    """What became of the jobs that a driver left."""

    cancelled: tuple[str, ...] = ()
    #: The folder of which this one is a copy; then none is.
    copy_of: Path | None = None


def clean(
    directory: RunDirectory,
    *,
    take_over: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> CleanedRun:
    """Cancel a run's jobs, and remove keys, requests and what was half written.

    The folder of an entry stands for the run that it belongs to. `take_over` and `tell` are
    those of `acquire_lease`.
    """
    directory = directory.home
    with allowed_to_us(directory.path):
        require_owner(directory.path)
        require_own(directory.path)
        run_id_of(directory, directory.read_meta())
        lease_was_left = directory.lease.exists()
        # A lease of a driver that is dead becomes ours, and goes away with us.
        with acquire_lease(directory.lease, take_over=take_over, tell=tell):
            jobs, unknown = LeftJobs(), None
            try:
                jobs = cancel_left_jobs(directory)
            except CommandError as error:
                unknown = error.text
            removed = [directory.lease] if lease_was_left else []
            removed += _removed(directory)
    return CleanedRun(
        directory.path,
        jobs.cancelled,
        tuple(str(path.relative_to(directory.path)) for path in removed),
        unknown,
        () if unknown is None else tuple(JobBook(directory.jobs_file).ids()),
        jobs.copy_of,
    )


def cancel_left_jobs(directory: RunDirectory, last_name: str | None = None) -> LeftJobs:
    """Cancel the Slurm jobs of a driver that was killed; we hold the run's lease.

    `last_name` is the name that the folder had for that driver; None is what ``meta.json``
    says. Raises CommandError if it is unknown whether there are any.
    """
    meta = directory.read_meta()
    run_id = run_id_of(directory, meta)
    original = original_of(directory, meta)
    if original is not None:
        return LeftJobs(copy_of=original)
    noted = JobBook(directory.jobs_file).ids()
    if noted and shutil.which("squeue") is None:
        raise CommandError("there is no squeue on this machine's PATH")
    # A folder may be renamed, and the jobs have the name that it had for the last driver.
    name = job_name(last_name or str(meta.get("run_name", directory.name)))
    try:
        return LeftJobs(tuple(cancel_jobs(run_id, known=noted, name=name)))
    except CommandError:
        if not noted and meta.get("mode") == ExecutionMode.SINGLE.value:
            return LeftJobs()  # it never had any, whatever is the matter with Slurm
        raise


def _removed(directory: RunDirectory) -> list[Path]:
    """Remove keys, requests and what was half written; return what was there."""
    removed = [directory.key_dir] if remove_keys(directory.key_dir) else []
    if is_folder(directory.control):
        shutil.rmtree(directory.control, ignore_errors=True)
        removed.append(directory.control)
    parts = sorted(directory.entries.iterdir()) if is_folder(directory.entries) else []
    entries = (RunDirectory(path, directory) for path in parts if is_folder(path))
    for one in (directory, *entries):
        removed += one.sweep()
    return removed


def clean_run_directory(path: Path) -> None:
    """Remove a run, whatever is in its folder; nothing else is ever removed.

    Raises RunExistsError if the folder holds no run, RunLockedError if a driver works on the run,
    and CleanRefusedError if Slurm does not answer, for then the ids of its jobs would be lost.
    """
    if not path.exists():
        return
    directory = RunDirectory(path)
    if (parent := run_of_entry(path)) is not None:
        raise EntryOfARunError(path, parent.path)
    if path.is_symlink() or not (directory.has_begun or is_unborn(path)):
        raise RunExistsError(path)
    require_own(directory.path)
    with acquire_lease(directory.lease):
        if directory.has_begun:
            _cancel_jobs(directory)
        # Last, what says that it is a run: if this is broken off, it can be done again.
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name == "meta.json"):
            if not entry.name.startswith(directory.lease.name):
                shutil.rmtree(entry) if is_folder(entry) else entry.unlink()


def _cancel_jobs(directory: RunDirectory) -> None:
    """Cancel what a driver left that was killed."""
    try:
        cancel_left_jobs(directory)
    except NotARunError:  # of an older format, torn, or of something else
        return
    except CommandError as error:
        why = f"Slurm does not answer ({error.text}), so its jobs could not be cancelled"
        advice = "Try again when squeue answers"
        raise CleanRefusedError(directory.path, why, advice) from error

"""Removing what a driver that was killed left behind; the results stay."""

import shutil
from collections.abc import Callable
from pathlib import Path

from seedwise.cluster.keys import remove_keys
from seedwise.disk.files import is_folder
from seedwise.errors import CleanRefusedError, EntryOfARunError, NotARunError, RunExistsError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import is_unborn, run_of_entry
from seedwise.folder.history import original_of, run_id_of
from seedwise.folder.lease import acquire_lease
from seedwise.folder.owner import allowed_to_us, require_own, require_owner
from seedwise.model.options.work import ExecutionMode
from seedwise.results.handle import CleanedRun
from seedwise.slurm.commands import CommandError
from seedwise.slurm.queue import JobBook, cancel_jobs, job_name


def clean(
    directory: RunDirectory,
    *,
    take_over: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> CleanedRun:
    """Cancel a run's jobs, and remove keys, requests and what was half written."""
    directory = directory.home  # the folder of an entry stands for its run
    with allowed_to_us(directory.path):
        require_owner(directory.path)
        require_own(directory.path)
        meta = directory.read_meta()
        run_id_of(directory, meta)
        lease_was_left = directory.lease.exists()
        # A lease of a driver that is dead becomes ours, and goes away with us.
        with acquire_lease(directory.lease, take_over=take_over, tell=tell):
            cancelled: tuple[str, ...] = ()
            unknown = None
            try:
                cancelled = cancel_left_jobs(directory)
            except CommandError as error:
                unknown = error.text
            removed = [directory.lease] if lease_was_left else []
            removed += [directory.key_dir] if remove_keys(directory.key_dir) else []
            if is_folder(directory.control):
                shutil.rmtree(directory.control, ignore_errors=True)
                removed.append(directory.control)
            parts = sorted(directory.entries.iterdir()) if is_folder(directory.entries) else []
            entries = (RunDirectory(path, directory) for path in parts if is_folder(path))
            for one in (directory, *entries):
                removed += one.sweep()
    return CleanedRun(
        directory.path,
        cancelled,
        tuple(str(path.relative_to(directory.path)) for path in removed),
        unknown,
        () if unknown is None else tuple(JobBook(directory.jobs_file).ids()),
        original_of(directory, meta),
    )


def cancel_left_jobs(directory: RunDirectory, last_name: str | None = None) -> tuple[str, ...]:
    """Cancel the Slurm jobs of a driver that was killed, but of a copy none; return their ids.

    We hold the run's lease. `last_name` is the name that the folder had for that driver; None is
    what ``meta.json`` says. Raises CommandError if it is unknown whether there are any.
    """
    meta = directory.read_meta()
    run_id = run_id_of(directory, meta)
    if original_of(directory, meta) is not None:
        return ()
    noted = JobBook(directory.jobs_file).ids()
    if noted and shutil.which("squeue") is None:
        raise CommandError("there is no squeue on this machine's PATH")
    # A folder may be renamed, and the jobs have the name that it had for the last driver.
    name = job_name(last_name or str(meta.get("run_name", directory.name)))
    try:
        return tuple(cancel_jobs(run_id, known=noted, name=name))
    except CommandError:
        if not noted and meta.get("mode") == ExecutionMode.SINGLE.value:
            return ()  # it never had any, whatever is the matter with Slurm
        raise


def clean_run_directory(path: Path) -> None:
    """Remove a run, whatever is in its folder; nothing else is ever removed."""
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
            try:
                cancel_left_jobs(directory)
            except NotARunError:  # of an older format, torn, or of something else
                pass
            except CommandError as error:  # without the folder, the ids of its jobs were lost
                why = f"Slurm does not answer ({error.text}), so its jobs could not be cancelled"
                raise CleanRefusedError(path, why, "Try again when squeue answers") from error
        # Last, what says that it is a run: if this is broken off, it can be done again.
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name == "meta.json"):
            if not entry.name.startswith(directory.lease.name):
                shutil.rmtree(entry) if is_folder(entry) else entry.unlink()

"""The result of `clean_run`."""

from pathlib import Path

import attrs


@attrs.frozen
class CleanedRun:
    """What `clean_run` did.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    cancelled_jobs : tuple of str
        Ids of the Slurm jobs that were cancelled.
    removed : tuple of str
        Paths of what was removed, relative to the folder.
    jobs_unknown : str or None
        Why it is unknown whether jobs are left, in Slurm's words; None if all are cancelled.
    noted_jobs : tuple of str
        If that is unknown, ids of all jobs that were ever submitted.
    copy_of : pathlib.Path or None
        The folder that this one is a copy of, else None. The jobs belong to that folder, so none
        was cancelled.
    """

    run_dir: Path
    cancelled_jobs: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    jobs_unknown: str | None = None
    noted_jobs: tuple[str, ...] = ()
    copy_of: Path | None = None

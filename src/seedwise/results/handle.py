"""The handle of a run, by which another process controls it, and the result of `clean_run`."""

from pathlib import Path
from typing import Any

import attrs

from seedwise.folder.directory import RunDirectory
from seedwise.folder.requests import Request, ask
from seedwise.folder.status import read_status
from seedwise.model.html import table_html
from seedwise.model.options import checks
from seedwise.model.status import RunStatus


class RunHandle:
    """A handle of a run, whose driver may be another process. `connect` makes it.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        """Show the folder and the progress of the run."""
        status = self.status()
        told = f"{status.state}, {status.n_told} of {status.n_trials} trials told"
        return f"<RunHandle {str(self.path)!r}: {told}>"

    def _repr_html_(self) -> str:
        """Show the folder and the progress of the run as tables in a notebook."""
        return table_html([("folder", self.path)]) + self.status()._repr_html_()

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._directory.path

    def status(self) -> RunStatus:
        """Return the progress of the run, as `run_status` does.

        Raises
        ------
        NotARunError
            If the run is no longer in its folder.
        """
        return read_status(self._directory)

    def scale(
        self, workers: int | tuple[int, int], most: int | None = None, *, timeout_s: float = 15.0
    ) -> None:
        """Change the number of workers of the driver; the run's options do not change.

        Parameters
        ----------
        workers : int or (min, max)
            The number, or bounds between which it follows the work.
        most : int, optional
            The upper bound, if `workers` is the lower one.
        timeout_s : float, default 15
            Seconds to wait for the driver's answer; 0 does not wait.

        Raises
        ------
        OptionError
            If the numbers are not allowed.
        NoDriverError
            If no driver works on the run.
        NotAnsweredError
            If the driver has not answered in time. It still carries out the request later.
        NotYourRunError
            If the run belongs to another user.
        RequestRefusedError
            If the driver can't do it: only its owner scales a cluster that was passed.
        """
        value: Any = workers if most is None else (workers, most)
        checks.workers("workers", value)
        low, high = value if isinstance(value, tuple) else (value, value)
        ask(self._directory, Request(scale=(low, high)), timeout_s=timeout_s)

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """Stop the run as Ctrl-C does where its driver runs; it can be resumed.

        This returns when the driver begins to stop; its jobs end some seconds later. The call that
        the driver is in raises `RunStopped`.

        Parameters
        ----------
        timeout_s : float, default 15
            Seconds to wait for the driver's answer; 0 does not wait.

        Raises
        ------
        NoDriverError
            If no driver works on the run.
        NotAnsweredError
            If the driver has not answered in time. It still carries out the request later.
        NotYourRunError
            If the run belongs to another user.
        """
        ask(self._directory, Request(), timeout_s=timeout_s)


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

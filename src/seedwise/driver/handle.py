"""A run that others work on, as one who looks at it has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seedwise.folder.directory import RunDirectory
from seedwise.folder.requests import Request, ask
from seedwise.folder.status import read_status
from seedwise.model.options import checks
from seedwise.model.status import RunStatus


class RunHandle:
    """A run in a folder, which a driver works on, in this process or another. Made by `connect`.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        """Return the folder, and how far the run is."""
        status = self.status()
        told = f"{status.state}, {status.n_told} of {status.n_trials} trials told"
        return f"<RunHandle {str(self.path)!r}: {told}>"

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._directory.path

    def status(self) -> RunStatus:
        """Return how far the run is, as `run_status` does.

        Raises
        ------
        NotARunError
            If the folder holds no run any more.
        """
        return read_status(self._directory)

    def scale(
        self, workers: int | tuple[int, int], most: int | None = None, *, timeout_s: float = 15.0
    ) -> None:
        """Change the number of workers, of this driver; the run's options stay as they are.

        Parameters
        ----------
        workers : int or (min, max)
            Workers, or bounds between which their number follows the work.
        most : int, optional
            The upper bound, if `workers` is the lower one.
        timeout_s : float, default 15
            Seconds to wait for the driver's answer; 0 only asks.

        Raises
        ------
        OptionError
            If the numbers are not allowed.
        NoDriverError
            If no driver works on the run.
        NotAnsweredError
            If the driver has not answered in time. It will do it when it gets to it.
        NotYourRunError
            If the run is another user's.
        RequestRefusedError
            If the driver can't do it: a cluster that was passed is its owner's to scale.
        """
        value: Any = workers if most is None else (workers, most)
        checks.workers("workers", value)
        low, high = value if isinstance(value, tuple) else (value, value)
        ask(self._directory, Request(scale=(low, high)), timeout_s=timeout_s)

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """Stop the run in order, as Ctrl-C does where its driver runs: it can be gone on with.

        It returns when the driver begins to end; its jobs are gone some seconds later. The
        function that the driver called raises `RunStopped`.

        Parameters
        ----------
        timeout_s : float, default 15
            Seconds to wait for the driver's answer; 0 only asks.

        Raises
        ------
        NoDriverError
            If no driver works on the run.
        NotAnsweredError
            If the driver has not answered in time. It will do it when it gets to it.
        NotYourRunError
            If the run is another user's.
        """
        ask(self._directory, Request(), timeout_s=timeout_s)

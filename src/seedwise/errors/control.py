"""Errors of requests to an existing run, such as to scale or stop it."""

from __future__ import annotations

from pathlib import Path

from seedwise.errors.base import SeedwiseError
from seedwise.errors.commands import resume_command


class NoDriverError(SeedwiseError, RuntimeError):
    """Raised when no driver works on a run that is to be scaled or stopped.

    Attributes
    ----------
    run_dir, state : pathlib.Path, {"running", "finished", "stopped"}
        The run's folder, and its state.
    """

    def __init__(self, run_dir: Path, state: str) -> None:
        self.run_dir = run_dir
        self.state = state
        advice = (
            "Nothing is left to do."
            if state == "finished"
            else f"To resume it: {resume_command(run_dir)}"
        )
        super().__init__(f"no driver works on {run_dir}, which is {state}. {advice}")


class NotAnsweredError(SeedwiseError, TimeoutError):
    """Raised when the driver of a run has not answered in time; it may still do so.

    Attributes
    ----------
    run_dir, holder : pathlib.Path, str
        The run's folder, and who works on it.
    timeout_s : float
        How long the answer was waited for, in seconds.
    """

    def __init__(self, run_dir: Path, holder: str, timeout_s: float) -> None:
        self.run_dir = run_dir
        self.holder = holder
        self.timeout_s = timeout_s
        super().__init__(
            f"{holder}, which works on {run_dir}, has not answered within {timeout_s:g} s. The "
            "request stays, and takes effect when the driver gets to it. The driver may be in the "
            "middle of a long step, or have been killed on another machine."
        )


class NotYourRunError(SeedwiseError, PermissionError):
    """Raised when a run of another user is to be looked at, scaled, stopped or cleaned.

    Attributes
    ----------
    run_dir, owner : pathlib.Path, str
        The run's folder, and the user that it belongs to.
    """

    def __init__(self, run_dir: Path, owner: str) -> None:
        self.run_dir = run_dir
        self.owner = owner
        who = "root" if owner == "root" else f"{owner}, or root,"
        super().__init__(f"{run_dir} belongs to user {owner}: only {who} can do this with it.")


class RequestRefusedError(SeedwiseError, RuntimeError):
    """Raised when the driver of a run refuses a request.

    Attributes
    ----------
    run_dir, why : pathlib.Path, str
        The run's folder, and the driver's answer.
    """

    def __init__(self, run_dir: Path, why: str) -> None:
        self.run_dir = run_dir
        self.why = why
        super().__init__(f"the driver of {run_dir} refuses: {why}")

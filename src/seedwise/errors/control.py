"""Errors of asking for something to be done with a run that is there."""

from __future__ import annotations

from pathlib import Path

from seedwise.errors.base import SeedwiseError
from seedwise.errors.run import resume_command

__all__ = ["NoDriverError", "NotAnsweredError", "NotYourRunError", "RequestRefusedError"]


class NoDriverError(SeedwiseError, RuntimeError):
    """Raised when a run that is to be scaled or stopped is worked on by nobody.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    state : {"running", "finished", "stopped"}
        The run's state.
    """

    def __init__(self, run_dir: Path, state: str) -> None:
        self.run_dir = run_dir
        self.state = state
        advice = (
            "Nothing is left to do."
            if state == "finished"
            else f"To go on with it: {resume_command(run_dir)}"
        )
        super().__init__(
            f"no driver works on {run_dir}, which is {state}, so there is nobody to ask. {advice}"
        )


class NotAnsweredError(SeedwiseError, TimeoutError):
    """Raised when the driver of a run has not answered in time; it may do so later.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    holder : str
        Who works on it.
    timeout_s : float
        Seconds that were waited.
    """

    def __init__(self, run_dir: Path, holder: str, timeout_s: float) -> None:
        self.run_dir = run_dir
        self.holder = holder
        self.timeout_s = timeout_s
        super().__init__(
            f"{holder}, who works on {run_dir}, has not answered within {timeout_s:g} s. What was "
            "asked for stays, and takes effect when it gets to it; it may be in the middle of a "
            "long step, or have been killed on another machine."
        )


class NotYourRunError(SeedwiseError, PermissionError):
    """Raised when a run is to be looked at, scaled, stopped or cleaned by another user.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    owner : str
        The user whom it belongs to.
    """

    def __init__(self, run_dir: Path, owner: str) -> None:
        self.run_dir = run_dir
        self.owner = owner
        who = "root" if owner == "root" else f"{owner}, or root,"
        super().__init__(f"{run_dir} belongs to user {owner}: only {who} can do this with it.")


class RequestRefusedError(SeedwiseError, RuntimeError):
    """Raised when the driver of a run answers that it can't do what was asked for.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    why : str
        Its answer.
    """

    def __init__(self, run_dir: Path, why: str) -> None:
        self.run_dir = run_dir
        self.why = why
        super().__init__(f"the driver of {run_dir} refuses: {why}")

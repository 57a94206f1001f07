"""Errors of a run: how it ends early, who works on it, and what is asked of its driver."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedwise.errors.advice import remedy_command, replay_command, resume_command
from seedwise.errors.base import SeedwiseError
from seedwise.errors.call import NOT_FINITE


def _advice(failure: str, replay: str, what: str, run_dir: Path, resume_dir: Path | None) -> str:
    """Say how to evaluate `what` again: with more of what it lacked, or with a corrected loss."""
    home = resume_dir or run_dir
    if (found := remedy_command(failure, home)) is not None:
        return found
    name = "run_name" if home == run_dir else "run_name_prefix"
    return (
        f"To see it happen here: {replay} --pdb\n"
        f"To evaluate {what} again with a corrected loss: run the script again with "
        f"{name}={home.name!r}, accept_changes=True, retry_failed=True, or "
        f"{resume_command(home)} --code SCRIPT.py --accept-changes --retry-failed"
    )


class LossFailedError(SeedwiseError, RuntimeError):
    """Raised when the loss failed on a seed and `fail_on_chunk_error` is True.

    Attributes
    ----------
    trial, params : int, dict
        The trial's number and parameters.
    seed : int or None
        The first seed that failed, in the order of the seed plan; None if no single seed is to
        blame.
    chunk_start : int
        First seed of the chunk that failed.
    exception_type, message, traceback : str
        The exception that the loss raised on the worker, its text in one line, and its traceback.
    run_dir : pathlib.Path
        The run's folder.
    """

    def __init__(  # noqa: PLR0913 - data of an error
        self,
        trial: int,
        seed: int | None,
        chunk_start: int,
        params: Mapping[str, object],
        exception_type: str,
        traceback: str,
        *,
        run_dir: Path,
        resume_dir: Path | None = None,
        message: str = "",
    ) -> None:
        self.trial, self.seed, self.chunk_start = trial, seed, chunk_start
        self.params, self.exception_type, self.message = dict(params), exception_type, message
        self.traceback, self.run_dir = traceback, run_dir
        begin = f"the chunk that begins with seed {chunk_start}"
        where = begin if seed is None else f"seed {seed}"
        failure, replay = f"{exception_type}: {message}", replay_command(run_dir, trial, seed)
        resume = resume_command(resume_dir or run_dir)
        others = (
            f"\nTo resume without this trial: {resume}\n"
            f"To resume without any that fails: {resume} --no-fail-on-chunk-error"
        )
        if exception_type == "LossValueError" and f": {NOT_FINITE}. " not in message:
            others = ""  # a function without a return fails in each trial
        super().__init__(
            f"the loss failed in trial {trial}, {where}, with params {self.params!r}:\n\n"
            f"{traceback.rstrip()}\n\n"
            f"{_advice(failure, replay, 'the trial', run_dir, resume_dir)}{others}"
        )


def in_a_line(error: Exception) -> str:
    """Return an error in one line, without traceback; of a loss that failed, what it raised."""
    if isinstance(error, LossFailedError):
        return ": ".join(filter(None, (error.exception_type, error.message)))
    first, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first.rstrip(':')}"


class NoCompleteTrialError(SeedwiseError, ValueError):
    """Raised at the end of a run without a complete trial, so that there is no best one.

    Attributes
    ----------
    run_dir, n_failed : pathlib.Path, int
        The run's folder, and how many trials failed.
    """

    def __init__(
        self, run_dir: Path, n_failed: int, example: str | None, resume_dir: Path | None = None
    ) -> None:
        self.run_dir, self.n_failed = run_dir, n_failed
        problem = f"none was finished by now or before the timeout. The run's folder is {run_dir}."
        if n_failed:
            replay = replay_command(run_dir, 0, None)
            advice = _advice(example or "", replay, "them", run_dir, resume_dir)
            problem = f"all {n_failed} trials failed, the first with: {example}\n{advice}"
        super().__init__(f"no trial was completed: {problem}")


class AllEntriesFailedError(SeedwiseError, RuntimeError):
    """Raised at the end of a run of entries if all of them failed.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder, which holds the folders of the entries.
    failed : dict of str to Exception
        The error of each entry.
    """

    def __init__(self, run_dir: Path, failed: Mapping[str, Exception]) -> None:
        self.run_dir, self.failed = run_dir, dict(failed)
        entry, error = next(iter(failed.items()))
        super().__init__(
            f"all {len(failed)} entries of {run_dir} failed, the first, {entry!r}, with "
            f"{type(error).__name__}: {error}"
        )


class RunStopped(KeyboardInterrupt, SystemExit):
    """Raised when a run was stopped: by Ctrl-C, SIGTERM, SIGHUP, or ``seedwise stop``.

    Everything that was evaluated is kept; the run can be resumed. It is both a KeyboardInterrupt,
    which is what callers expect of Ctrl-C, and a SystemExit, so that a script that does not catch
    it ends without a traceback and with the exit code that shells expect.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    signal : signal.Signals or None
        The signal; None for ``seedwise stop``.
    code : int
        The exit code: 128 plus the signal's number; 75 ("try again later") for ``seedwise stop``.
    """

    def __init__(self, run_dir: Path, number: int | None) -> None:
        self.run_dir = run_dir
        self.signal = None if number is None else signal.Signals(number)
        by = "seedwise stop" if self.signal is None else self.signal.name
        super().__init__(f"stopped by {by}; to resume: {resume_command(run_dir)}")
        self.code = os.EX_TEMPFAIL if number is None else 128 + number

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by data."""
        return type(self), (self.run_dir, self.signal)


class RunLockedError(SeedwiseError, RuntimeError):
    """Raised when another driver works on the run.

    Attributes
    ----------
    run_dir, holder : pathlib.Path, str
        The run's folder, and who works on it.
    """

    def __init__(self, run_dir: Path, holder: str, advice: str) -> None:
        self.run_dir, self.holder = run_dir, holder
        super().__init__(f"{run_dir} is being worked on by {holder}. {advice}")


class LeaseLostError(SeedwiseError, RuntimeError):
    """Raised when another driver has taken over the run, so that this one must not write.

    Attributes
    ----------
    run_dir, holder : pathlib.Path, str
        The run's folder, and who works on it now.
    """

    def __init__(self, run_dir: Path, holder: str) -> None:
        self.run_dir, self.holder = run_dir, holder
        super().__init__(
            f"{run_dir} was taken over by {holder}, so this driver stops. It has written nothing "
            "since then."
        )


class NoDriverError(SeedwiseError, RuntimeError):
    """Raised when no driver works on a run that is to be scaled or stopped.

    Attributes
    ----------
    run_dir, state : pathlib.Path, {"running", "finished", "stopped"}
        The run's folder, and its state.
    """

    def __init__(self, run_dir: Path, state: str) -> None:
        self.run_dir, self.state = run_dir, state
        resume = f"To resume it: {resume_command(run_dir)}"
        advice = "Nothing is left to do." if state == "finished" else resume
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
        self.run_dir, self.holder, self.timeout_s = run_dir, holder, timeout_s
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
        self.run_dir, self.owner = run_dir, owner
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
        self.run_dir, self.why = run_dir, why
        super().__init__(f"the driver of {run_dir} refuses: {why}")

"""Errors of a run: how it ends early, and what is wrong with its folder."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedwise.errors.base import SeedwiseError, shown

__all__ = [
    "AllEntriesFailedError",
    "ChangedRunError",
    "CleanRefusedError",
    "DamagedFileError",
    "EntryOfARunError",
    "LeaseLostError",
    "LedgerMismatchError",
    "LossFailedError",
    "NoCompleteTrialError",
    "NotARunError",
    "RunExistsError",
    "RunFileError",
    "RunLockedError",
    "RunStopped",
    "StudyFileError",
    "replay_command",
    "resume_command",
]


def resume_command(run_dir: Path) -> str:
    """Return the command that resumes a run."""
    return f"seedwise resume {shlex.quote(str(run_dir))}"


def replay_command(run_dir: Path, trial: int, seed: int | None) -> str:
    """Return the command that evaluates a trial again on one seed; None means all seeds."""
    which = "" if seed is None else f" --seed {seed}"
    return f"seedwise replay {shlex.quote(str(run_dir))} --trial {trial}{which}"


def _retry_advice(run_dir: Path, resume_dir: Path | None) -> str:
    home = resume_dir or run_dir
    name = "run_name" if home == run_dir else "run_name_prefix"
    return (
        f"with a corrected loss: run the script again with {name}={home.name!r}, "
        "accept_changes=True, retry_failed=True"
    )


class LossFailedError(SeedwiseError, RuntimeError):
    """Raised when the loss failed on a seed and `fail_on_chunk_error` is True.

    Attributes
    ----------
    trial : int
        The trial's number.
    seed : int or None
        The first seed that failed, in the order of the seed plan; None if no single seed is to
        blame.
    chunk_start : int
        First seed of the chunk that failed.
    params : dict
        The parameters of the trial.
    exception_type, traceback : str
        The exception that the loss raised on the worker, and its traceback, as text.
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
    ) -> None:
        self.trial = trial
        self.seed = seed
        self.chunk_start = chunk_start
        self.params = dict(params)
        self.exception_type = exception_type
        self.traceback = traceback
        self.run_dir = run_dir
        where = (
            f"the chunk that begins with seed {chunk_start}" if seed is None else f"seed {seed}"
        )
        advice = _ADVICE.get(exception_type)
        resume = resume_command(resume_dir or run_dir)
        super().__init__(
            f"the loss failed in trial {trial}, {where}, with params {self.params!r}:\n\n"
            f"{traceback.rstrip()}\n\n"
            f"To see it happen here: {replay_command(run_dir, trial, seed)} --pdb\n"
            f"{advice or ''}"
            f"To evaluate the trial again {_retry_advice(run_dir, resume_dir)}\n"
            f"To resume without this trial: {resume}\n"
            f"To resume without any that fails: {resume} --no-fail-on-chunk-error"
        )


_ADVICE = {
    "TrialTimeout": "Raise slurm_timeout_minutes if the loss may take that long.\n",
}


class NoCompleteTrialError(SeedwiseError, ValueError):
    """Raised at the end of a run without a complete trial, so that there is no best one.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    n_failed : int
        How many trials failed.
    """

    def __init__(
        self, run_dir: Path, n_failed: int, example: str | None, resume_dir: Path | None = None
    ) -> None:
        self.run_dir = run_dir
        self.n_failed = n_failed
        if n_failed:
            problem = (
                f"all {n_failed} trials failed, the first with: {example}\n"
                f"To see it happen here: {replay_command(run_dir, 0, None)} --pdb\n"
                f"To evaluate them again {_retry_advice(run_dir, resume_dir)}"
            )
        else:
            problem = f"none was started before the timeout. The run's folder is {run_dir}."
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
        self.run_dir = run_dir
        self.failed = dict(failed)
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


class RunExistsError(SeedwiseError, FileExistsError):
    """Raised when a new run's folder already exists and holds no run. `run_dir` is the folder.

    A folder that holds a run is resumed.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        super().__init__(
            f"{run_dir} already exists and holds no run that could be resumed, and nothing is "
            "ever overwritten. Give another run_name, or none to get the next free number."
        )


class NotARunError(SeedwiseError, FileNotFoundError):
    """Raised when a folder that is to be resumed or replayed holds no run.

    Attributes
    ----------
    run_dir : pathlib.Path
        The folder.
    """

    def __init__(self, run_dir: Path, problem: str) -> None:
        self.run_dir = run_dir
        super().__init__(
            f"{run_dir}: {problem}. Give the folder that optimize_run printed, such as "
            "runs/walk_v0001."
        )


class EntryOfARunError(SeedwiseError, ValueError):
    """Raised when an entry of a run is to be resumed alone.

    Attributes
    ----------
    run_dir : pathlib.Path
        The entry's folder.
    parent : pathlib.Path
        The folder of the run that it is part of.
    """

    def __init__(self, run_dir: Path, parent: Path) -> None:
        self.run_dir = run_dir
        self.parent = parent
        super().__init__(
            f"{run_dir} is an entry of {parent}, which can only be resumed as a whole: "
            f"{resume_command(parent)}"
        )


class CleanRefusedError(SeedwiseError, RuntimeError):
    """Raised when a run is not removed, though `clean_run_dir` was given. `run_dir` is its folder.

    Removing needs a yes on a terminal, or ``assume_yes=True``, and a Slurm that answers.
    """

    def __init__(self, run_dir: Path, why: str, advice: str | None = None) -> None:
        self.run_dir = run_dir
        what_to_do = advice or "Pass assume_yes=True to remove it without asking"
        super().__init__(
            f"{run_dir} is not removed: {why}. {what_to_do}, or leave clean_run_dir out to resume "
            "the run."
        )


class RunLockedError(SeedwiseError, RuntimeError):
    """Raised when another driver works on the run.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    holder : str
        Who works on it.
    """

    def __init__(self, run_dir: Path, holder: str, advice: str) -> None:
        self.run_dir = run_dir
        self.holder = holder
        super().__init__(f"{run_dir} is being worked on by {holder}. {advice}")


class LeaseLostError(SeedwiseError, RuntimeError):
    """Raised when another driver has taken over the run, so that this one must not write.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    holder : str
        Who works on it now.
    """

    def __init__(self, run_dir: Path, holder: str) -> None:
        self.run_dir = run_dir
        self.holder = holder
        super().__init__(
            f"{run_dir} was taken over by {holder}, so this driver stops. It has written nothing "
            "since then."
        )


class ChangedRunError(SeedwiseError, ValueError):
    """Raised when a run is resumed with options that would change its results.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    changes : dict of str to (old, new)
        Each option that differs, with its value then and now.
    code_changes : str
        What differs in the code of the loss, function by function; empty if nothing does.
    """

    def __init__(
        self,
        run_dir: Path,
        changes: Mapping[str, tuple[object, object]],
        code_changes: str = "",
    ) -> None:
        self.run_dir = run_dir
        self.changes = dict(changes)
        self.code_changes = code_changes
        lines = "".join(
            f"\n  {name}: was {shown(old)}, is {shown(new)}"
            for name, (old, new) in changes.items()
        )
        super().__init__(
            f"{run_dir} was begun with other options; resuming it would mix two runs:{lines}\n"
            f"{code_changes}"
            "Put them back, give another run_name for a new run, or pass accept_changes=True "
            "(--accept-changes) to resume it anyway; the run's meta.json will record it."
        )


class RunFileError(SeedwiseError, OSError):
    """Raised when a file of the run can't be written, for example because the disk is full.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    """

    def __init__(self, path: Path, problem: str, run_dir: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} can't be written: {problem}. No finished trial is lost. Make room, then "
            f"resume the run: {resume_command(run_dir)}"
        )


class DamagedFileError(SeedwiseError, ValueError):
    """Raised when a file of the run is damaged before its end.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    position : int
        Where the damaged record begins, in bytes from the start of the file.
    """

    def __init__(self, path: Path, position: int, problem: str) -> None:
        self.path = path
        self.position = position
        super().__init__(
            f"{path} is damaged at byte {position}: {problem}. A crash can only damage a file's "
            "end, which is repaired; this is something else, such as a failing disk or an editor. "
            "Restore the file from a backup."
        )


class LedgerMismatchError(SeedwiseError, ValueError):
    """Raised when the ledger holds a trial's losses at other params than the study has.

    Attributes
    ----------
    path : pathlib.Path
        The ledger.
    trial : int
        The trial's number.
    params : dict
        The params that the study has.
    """

    def __init__(self, path: Path, trial: int, params: Mapping[str, object]) -> None:
        self.path = path
        self.trial = trial
        self.params = dict(params)
        super().__init__(
            f"{path} holds losses of trial {trial} at other params than the study has, which are "
            f"{self.params!r}. The end of the study was lost, and the sampler then gave another "
            "point, because it has no seed or because Optuna was updated. Put the old version "
            "back, or pass accept_changes=True (--accept-changes) to evaluate the new point."
        )


class StudyFileError(SeedwiseError, OSError):
    """Raised when the Dask scheduler can't keep the study file in the run's folder.

    `path` is the file.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(
            f"study file {path}: {problem}. The Dask scheduler writes it, so run_root must be a "
            "folder that the scheduler's machine shares with this one."
        )

"""Errors about a run's folder and the files in it."""

from collections.abc import Mapping
from pathlib import Path

from seedwise.errors.advice import resume_command
from seedwise.errors.base import SeedwiseError, shown


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
    """Raised when a folder, `run_dir`, that is to be resumed or replayed holds no run."""

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
    run_dir, parent : pathlib.Path
        The entry's folder, and that of the run that it is part of.
    """

    def __init__(self, run_dir: Path, parent: Path) -> None:
        self.run_dir, self.parent = run_dir, parent
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
        advice = advice or "Pass assume_yes=True to remove it without asking"
        super().__init__(
            f"{run_dir} is not removed: {why}. {advice}, or leave clean_run_dir out to resume the "
            "run."
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
        self, run_dir: Path, changes: Mapping[str, tuple[object, object]], code_changes: str = ""
    ) -> None:
        self.run_dir, self.changes, self.code_changes = run_dir, dict(changes), code_changes
        lines = "".join(
            f"\n  {name}: was {shown(old)}, is {shown(new)}"
            for name, (old, new) in changes.items()
        )
        super().__init__(
            f"{run_dir} was begun with other options or code; resuming it would mix two runs:"
            f"{lines}\n{code_changes}"
            "Put them back, give another run_name for a new run, or pass accept_changes=True "
            "(--accept-changes) to resume it anyway; the run's meta.json will record it."
        )


class RunFileError(SeedwiseError, OSError):
    """Raised when a file of the run, `path`, can't be written, such as when the disk is full."""

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
    path, position : pathlib.Path, int
        The file, and where its damaged record begins, in bytes from the start.
    """

    def __init__(self, path: Path, position: int, problem: str) -> None:
        self.path, self.position = path, position
        super().__init__(
            f"{path} is damaged at byte {position}: {problem}. A crash can only damage a file's "
            "end, which is repaired; this is something else, such as a failing disk or an editor. "
            "Restore the file from a backup."
        )


class LedgerMismatchError(SeedwiseError, ValueError):
    """Raised when the ledger holds a trial's losses at other params than the study has.

    Attributes
    ----------
    path, trial, params : pathlib.Path, int, dict
        The ledger, the trial's number, and the params that the study has.
    """

    def __init__(self, path: Path, trial: int, params: Mapping[str, object]) -> None:
        self.path, self.trial, self.params = path, trial, dict(params)
        super().__init__(
            f"{path} holds losses of trial {trial} at other params than the study has, which are "
            f"{self.params!r}. The end of the study was lost, and the sampler then gave another "
            "point, because it has no seed or because Optuna was updated. Put the old version "
            "back, or pass accept_changes=True (--accept-changes) to evaluate the new point."
        )


class StudyFileError(SeedwiseError, OSError):
    """Raised when the Dask scheduler can't keep the study file, `path`, in the run's folder."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(
            f"study file {path}: {problem}. The Dask scheduler writes it, so run_root must be a "
            "folder that the scheduler's machine shares with this one."
        )

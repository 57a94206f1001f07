"""The run folder: the one owner of its file names and formats."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import NotARunError, OptionError, RunExistsError, writing
from seedwise.model.records import TrialResult, TrialState
from seedwise.run.environment import environment

__all__ = [
    "FORMAT_VERSION",
    "RunDirectory",
    "existing_run",
    "open_run_directory",
    "utc_now",
]

#: 2: ledger, checkpoints, lease; runs of format 1 can be read, and not resumed.
FORMAT_VERSION = 2

_GITIGNORE = b"*\n"
_BEFORE_IT_BEGINS = {
    ".gitignore",
    "chunks.ledger",
    "driver.lease",
    "driver.lease.lock",
    "environment.json",
    "run.pickle",
}


@attrs.frozen
class RunDirectory:
    """A run's folder.

    Attributes
    ----------
    path : pathlib.Path
        The folder, absolute.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def study_file(self) -> Path:
        """Optuna's record of the trials, in its journal format."""
        return self.path / "study.journal"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """The sampler's state, saved in turn in two files."""
        return self.path / "sampler-a.checkpoint", self.path / "sampler-b.checkpoint"

    @property
    def ledger(self) -> Path:
        """The record of chunk results."""
        return self.path / "chunks.ledger"

    @property
    def lease(self) -> Path:
        """Who works on the run."""
        return self.path / "driver.lease"

    @property
    def log_dir(self) -> Path:
        """Logs of the Slurm jobs."""
        return self.path / "slurm"

    @property
    def has_begun(self) -> bool:
        """Whether there is a run that could be resumed."""
        return self._meta_file.exists()

    @property
    def _meta_file(self) -> Path:
        return self.path / "meta.json"

    @property
    def _parts_file(self) -> Path:
        return self.path / "run.pickle"

    def write_meta(self, meta: Mapping[str, Any]) -> None:
        """Write ``meta.json``: what was asked for, and when the run began and ended."""
        self._write_json(self._meta_file, meta)

    def read_meta(self) -> dict[str, Any]:
        """Read ``meta.json``.

        Raises
        ------
        NotARunError
            If there is none, or if it was written by a version that this one does not know.
        """
        try:
            meta = json.loads(self._meta_file.read_text(encoding="utf-8"))
            version = meta.pop("format_version")
        except FileNotFoundError:
            raise NotARunError(self.path, "there is no meta.json, so this is no run") from None
        except (ValueError, KeyError, AttributeError, TypeError):
            raise NotARunError(self.path, "meta.json is none that seedwise wrote") from None
        if version != FORMAT_VERSION:
            problem = (
                f"the run has format {version}, and this version of seedwise resumes format "
                f"{FORMAT_VERSION} only"
            )
            raise NotARunError(self.path, problem)
        content: dict[str, Any] = meta
        return content

    def write_parts(self, pickled: bytes) -> None:
        """Write the pickled loss and options, from which the run can be resumed alone."""
        self._write(self._parts_file, pickled)

    def read_parts(self) -> bytes:
        """Read the pickled loss and options.

        Raises
        ------
        NotARunError
            If there are none, or if somebody else could have written them: they are programs.
        """
        self.require_own(self._parts_file)
        return self._parts_file.read_bytes()

    def require_own(self, *files: Path) -> None:
        """Refuse a folder that others can write to: checkpoints and parts are programs.

        Parameters
        ----------
        *files : pathlib.Path
            Files of it that must be there, and be our own, too.

        Raises
        ------
        NotARunError
            If somebody else could have written to it, or a file is not there.
        """
        for path in (self.path, *files):
            try:
                found = path.stat()
            except FileNotFoundError:
                raise NotARunError(self.path, f"there is no {path.name}") from None
            if found.st_uid not in (os.getuid(), 0) or found.st_mode & 0o022:
                problem = (
                    f"{path.name} belongs to user {found.st_uid} with mode "
                    f"{found.st_mode & 0o777:o}, so others could have put a program into it; "
                    "chmod go-w it if you trust it"
                )
                raise NotARunError(self.path, problem)

    def sweep(self) -> None:
        """Remove what a driver that was killed in the middle of writing left."""
        for aside in self.path.glob(".*.new"):
            if not aside.name.startswith(f".{self.lease.name}"):  # that may be a driver's, now
                aside.unlink(missing_ok=True)

    def write_summary(
        self, best: TrialResult | None, counts: Mapping[TrialState, int], n_trials: int
    ) -> None:
        """Write ``summary.json``: the best trial so far, and how many trials are told."""
        self._write_json(
            self.path / "summary.json",
            {
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
                "best_stderr": best.stderr if best else None,
                "best_n_seeds": best.n_seeds if best else None,
                "best_trial": best.number if best else None,
                "n_trials": n_trials,
                "n_told": sum(counts.values()),
                "n_failed": counts.get(TrialState.FAIL, 0),
            },
            durable=False,  # the study has it all; this is written once a trial
        )

    def n_told(self) -> int:
        """Return how many trials ``summary.json`` says are told; 0 if there is none."""
        try:
            text = (self.path / "summary.json").read_text(encoding="utf-8")
            n_told: int = json.loads(text)["n_told"]
        except (FileNotFoundError, ValueError, KeyError):  # it is not synced: a power cut tears it
            return 0
        return n_told

    def read_environment(self) -> dict[str, Any]:
        """Read ``environment.json``."""
        text = (self.path / "environment.json").read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text)
        return content

    def cut_back(self, path: Path, length: int, *, fence: bool) -> None:
        """Cut a file of the run back to a length; what is cut off is kept aside, under ``cut/``.

        Parameters
        ----------
        path : pathlib.Path
            The file; if there is none, nothing is done.
        length : int
            Bytes to keep.
        fence : bool
            Whether to make a new file of what is kept, so that a driver that still has the old
            one open writes into nothing.
        """
        if not path.exists():
            return
        with writing(path):
            if path.stat().st_size > length:
                self._keep_aside(path, length)
                os.truncate(path, length)
            if fence:
                self._write(path, path.read_bytes())

    def furnish(self) -> None:
        """Make what any run's folder has, before anything of the run is in it."""
        self._write(self.path / ".gitignore", _GITIGNORE)
        self.log_dir.mkdir(mode=0o700, exist_ok=True)
        self._write_json(self.path / "environment.json", environment())

    def discard(self) -> None:
        """Remove what was made of a run that could not begin, and its folder if that is all."""
        shutil.rmtree(self.log_dir, ignore_errors=True)
        for name in _BEFORE_IT_BEGINS | {"meta.json"}:
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of somebody else's is in it
            self.path.rmdir()

    def _keep_aside(self, path: Path, length: int) -> None:
        folder = self.path / "cut"
        folder.mkdir(mode=0o700, exist_ok=True)
        with path.open("rb") as file:
            file.seek(length)
            tail = file.read()
        (folder / f"{path.name}-from-{length}-{time.time_ns()}").write_bytes(tail)

    def _write_json(self, path: Path, content: Mapping[str, Any], *, durable: bool = True) -> None:
        text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=2, default=str)
        self._write(path, f"{text}\n".encode(), durable=durable)

    def _write(self, path: Path, content: bytes, *, durable: bool = True) -> None:
        # Aside, then renamed: a reader sees the old file or the new one, never half of one.
        # Two drivers may make the same new run, until the lease decides: each has its own aside.
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
        with writing(path):
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    if durable:
                        file.flush()
                        os.fsync(file.fileno())
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)


def existing_run(path: str | Path) -> RunDirectory:
    """Return the folder of a run that is there.

    Raises
    ------
    NotARunError
        If there is none.
    """
    directory = RunDirectory(Path(path).expanduser().absolute())
    if not directory.path.is_dir():
        raise NotARunError(directory.path, "there is no such folder")
    if not directory.has_begun:
        raise NotARunError(directory.path, "there is no meta.json, so this is no run")
    return directory


def open_run_directory(run_root: Path, run_name: str | None, loss_name: str) -> RunDirectory:
    """Make the folder of a new run, or find the one of a run that is to be gone on with.

    Parameters
    ----------
    run_root : pathlib.Path
        Folder of the run folders; made if there is none.
    run_name : str or None
        Name of the folder. None is the loss's name and the next free number, such as
        ``walk_v0001``.
    loss_name : str
        The loss's name.

    Returns
    -------
    RunDirectory
        The folder; a new one has mode 0700.

    Raises
    ------
    RunExistsError
        If `run_name` is a folder that holds no run.
    OptionError
        If `run_root` can't be made.
    """
    root = run_root.expanduser().absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        allowed = "a folder, or where one can be made"
        raise OptionError("run_root", str(root), allowed, f"The system says: {error}") from error
    if run_name is None:
        path = _next_free(root, re.sub(r"[^A-Za-z0-9._-]", "_", loss_name))
    else:
        path = root / run_name
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    directory = RunDirectory(path)
    if path.is_dir():
        directory.require_own()
    if not directory.has_begun:
        if not _is_unborn(path):
            raise RunExistsError(path)
        directory.furnish()
    return directory


def _is_unborn(path: Path) -> bool:
    """Tell whether a folder holds nothing, or what was made of a run before it began."""
    if not path.is_dir():
        return False
    for entry in path.iterdir():
        if entry.name == "slurm":
            ours = entry.is_dir() and not any(entry.iterdir())
        elif entry.name == ".gitignore":
            ours = entry.read_bytes() == _GITIGNORE
        else:
            made_aside = re.fullmatch(r"\.(.+?)\.[0-9a-f]+\.new", entry.name)
            ours = entry.name in _BEFORE_IT_BEGINS or (
                made_aside is not None and made_aside[1] in _BEFORE_IT_BEGINS | {"meta.json"}
            )
        if not ours:
            return False
    return True


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def _next_free(root: Path, stem: str) -> Path:
    pattern = re.compile(rf"{re.escape(stem)}_v(\d{{4,}})")
    taken = [int(match[1]) for entry in root.iterdir() if (match := pattern.fullmatch(entry.name))]
    number = max(taken, default=0) + 1
    while True:
        path = root / f"{stem}_v{number:04d}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:  # another run took the number in this moment
            number += 1
        else:
            return path

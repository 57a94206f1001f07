"""The run folder: the one owner of its file names and formats."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import NotARunError, writing
from seedwise.folder.environment import environment

#: 2: ledger, checkpoints, lease. 3: entries and sweeps. 4: run.json and failure.json.
FORMAT_VERSION = 4

GITIGNORE = b"*\n"

#: What may be in a folder before the run in it has begun.
BEFORE_IT_BEGINS = {
    ".gitignore",
    "chunks.ledger",
    "driver.lease",
    "driver.lease.lock",
    "environment.json",
    "events.jsonl",
    "run.json",
}


@attrs.frozen
class RunDirectory:
    """A run's folder."""

    #: The folder, absolute.
    path: Path
    #: Of an entry's folder, that of the run that it is part of: loss, lease, logs and environment
    #: are there.
    parent: RunDirectory | None = None

    @property
    def home(self) -> RunDirectory:
        """The folder in which the run is that this is a part of, or is."""
        return self.parent or self

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
    def trial_table(self) -> Path:
        """The told trials of a sweep."""
        return self.path / "trials.table"

    @property
    def entries(self) -> Path:
        """Folder of the entries' folders."""
        return self.path / "entries"

    @property
    def lease(self) -> Path:
        """Who works on the run."""
        return self.home.path / "driver.lease"

    @property
    def log_dir(self) -> Path:
        """Logs of the Slurm jobs."""
        return self.home.path / "slurm"

    @property
    def key_dir(self) -> Path:
        """Keys of the connections between driver and workers; there while a driver works."""
        return self.home.path / "keys"

    @property
    def jobs_file(self) -> Path:
        """Ids of the Slurm jobs, a line each."""
        return self.log_dir / "jobs.jsonl"

    @property
    def event_log(self) -> Path:
        """What happened to the run and its workers, a JSON object a line."""
        return self.home.path / "events.jsonl"

    @property
    def control(self) -> Path:
        """Folder of what others ask of the driver that works on the run, and of its answers."""
        return self.home.path / "control"

    @property
    def has_begun(self) -> bool:
        """Whether there is a run that could be resumed."""
        return self._meta_file.exists()

    @property
    def has_results(self) -> bool:
        """Whether something was asked for, so that there is something to keep."""
        return any(path.exists() for path in (self.study_file, self.trial_table, self.entries))

    @property
    def _meta_file(self) -> Path:
        return self.path / "meta.json"

    @property
    def _failure_file(self) -> Path:
        return self.path / "failure.json"

    @property
    def _parts_file(self) -> Path:
        return self.home.path / "run.json"

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
                f"the run has format {version}, and this version of seedwise reads format "
                f"{FORMAT_VERSION} only: use the version that began the run"
            )
            raise NotARunError(self.path, problem)
        content: dict[str, Any] = meta
        return content

    def require_kind(self, kind: str) -> None:
        """Refuse a folder of another kind of run.

        Raises
        ------
        NotARunError
            If the run in it was begun by another function.
        """
        found = self.read_meta().get("kind", kind)
        if found != kind:
            problem = f"it holds a run of kind {found!r}, which can't be gone on with as {kind!r}"
            raise NotARunError(self.path, problem)

    def write_parts(self, content: Mapping[str, Any]) -> None:
        """Write ``run.json``: loss and options, from which the run can be resumed alone."""
        self._write_json(self._parts_file, content)

    def read_parts(self) -> dict[str, Any]:
        """Read ``run.json``; it is empty if it is not JSON.

        Raises
        ------
        NotARunError
            If there are none, or if somebody else could have written them: they are programs.
        """
        self.require_own(self._parts_file)
        return self._read_json(self._parts_file)

    def write_failure(self, content: Mapping[str, Any]) -> None:
        """Write ``failure.json``: why the study stopped."""
        self._write_json(self._failure_file, content)

    def read_failure(self) -> dict[str, Any]:
        """Read ``failure.json``; it is empty if the study did not stop."""
        return self._read_json(self._failure_file)

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

    def sweep(self) -> list[Path]:
        """Remove what a driver that was killed in the middle of writing left; return its paths."""
        asides = sorted(self.path.glob(".*.new"))
        # That of the lease may be a driver's, now.
        left = [path for path in asides if not path.name.startswith(f".{self.lease.name}")]
        for aside in left:
            aside.unlink(missing_ok=True)
        return left

    def write_summary(self, content: Mapping[str, Any]) -> None:
        """Write ``summary.json``: what is known of the result so far."""
        # The study, or the table, has it all; this is written once a trial.
        self._write_json(self.path / "summary.json", content, durable=False)

    def write_status(self, content: Mapping[str, Any]) -> None:
        """Write ``status.json``: how far the run is."""
        self._write_json(self.path / "status.json", content, durable=False)

    def read_status(self) -> dict[str, Any]:
        """Read ``status.json``; it is empty if there is none, or if a power cut tore it."""
        return self._read_json(self.path / "status.json")

    def read_summary(self) -> dict[str, Any]:
        """Read ``summary.json``; it is empty if there is none, or if a power cut tore it."""
        return self._read_json(self.path / "summary.json")

    def summary_written_s(self) -> float | None:
        """Return when ``summary.json`` was written, since the epoch; None if there is none."""
        try:
            return (self.path / "summary.json").stat().st_mtime
        except FileNotFoundError:
            return None

    def n_told(self) -> int:
        """Return how many trials ``summary.json`` says are told; 0 if there is none."""
        n_told: int = self.read_summary().get("n_told", 0)
        return n_told

    def read_environment(self) -> dict[str, Any]:
        """Read ``environment.json``."""
        text = (self.home.path / "environment.json").read_text(encoding="utf-8")
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
        self._write(self.path / ".gitignore", GITIGNORE)
        self.log_dir.mkdir(mode=0o700, exist_ok=True)
        self._write_json(self.path / "environment.json", environment())

    def discard(self) -> None:
        """Remove what was made of a run that could not begin, and its folder if that is all."""
        for folder in (self.log_dir, self.control):
            shutil.rmtree(folder, ignore_errors=True)
        for name in BEFORE_IT_BEGINS | {"meta.json"}:
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

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

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


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)

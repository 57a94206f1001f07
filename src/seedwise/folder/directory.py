"""The run folder: the names of its files, and the readers and writers of the simple ones."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from seedwise.disk.files import append_lines, parsed, read_lines, remove, replace_file, writing
from seedwise.errors import NotARunError
from seedwise.folder.owner import require_own
from seedwise.model.status import PoolNews

_logger = logging.getLogger("seedwise")

#: 2: ledger, checkpoints, lease. 3: entries and sweeps. 4: run.json and failure.json. 5: code/
FORMAT_VERSION = 5

GITIGNORE = b"*\n"

_PACKAGES = (
    *("seedwise", "dask", "distributed", "dask-jobqueue", "optuna", "optuna-integration"),
    *("numpy", "scipy"),
)

#: What may be in a folder before the run in it has begun.
BEFORE_IT_BEGINS = {
    *(".gitignore", "chunks.ledger", "code", "driver.lease", "driver.lease.lock"),
    *("environment.json", "events.jsonl", "run.json"),
}


@attrs.frozen
class JsonFile:
    """A small file of a run's folder."""

    path: Path
    #: Whether it is on disk when `write` returns.
    durable: bool = True

    @property
    def version(self) -> tuple[int, int]:
        """What is another after each write; zeros without a file."""
        with contextlib.suppress(FileNotFoundError):
            found = self.path.stat()
            return found.st_ino, found.st_mtime_ns
        return 0, 0

    def read(self) -> dict[str, Any]:
        """Return the content; empty if there is no file, or if a power cut tore it."""
        with contextlib.suppress(FileNotFoundError):
            return parsed(self.path.read_bytes()) or {}
        return {}

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the content, and the format's version."""
        text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=2, default=str)
        _write(self.path, f"{text}\n".encode(), durable=self.durable)


# The study, or the table, has all that is in such files.
_undurable = functools.partial(JsonFile, durable=False)


def _write(path: Path, content: bytes, *, durable: bool = True) -> None:
    with writing(path):
        replace_file(path, content, durable=durable)


def _derived(derive: Callable[[Any], Any]) -> Any:
    """Return a field that follows from the others."""
    default = attrs.Factory(derive, takes_self=True)
    return attrs.field(init=False, eq=False, repr=False, default=default)


def _in_folder(name: str, kind: Callable[[Path], Any] = Path) -> Any:
    """Return a field: a path, or a file of a kind, in the folder itself."""
    return _derived(lambda directory: kind(directory.path / name))


def _in_home(name: str, kind: Callable[[Path], Any] = Path) -> Any:
    """Return a field: the same in the folder of the run that this folder is, or belongs to."""
    return _derived(lambda directory: kind(directory.home.path / name))


@attrs.frozen
class RunDirectory:
    """A run's folder."""

    #: Absolute.
    path: Path
    #: The run of an entry's folder, where loss, lease, logs and environment are; None for a run.
    parent: "RunDirectory | None" = None

    name: str = _derived(lambda directory: directory.path.name)
    #: Optuna's record of the trials, in its journal format.
    study_file: Path = _in_folder("study.journal")
    #: The sampler's state, saved in turn in two files.
    checkpoints: tuple[Path, Path] = _derived(
        lambda directory: tuple(directory.path / f"sampler-{x}.checkpoint" for x in "ab")
    )
    ledger: Path = _in_folder("chunks.ledger")
    #: The record of chunk results on fresh seeds.
    validation_ledger: Path = _in_folder("validation.ledger")
    #: Folder of the files that the loss wrote on fresh seeds.
    validation: Path = _in_folder("validation")
    trial_table: Path = _in_folder("trials.table")
    entries: Path = _in_folder("entries")
    lease: Path = _in_home("driver.lease")
    code: Path = _in_home("code")
    #: Logs of the Slurm jobs.
    log_dir: Path = _in_home("slurm")
    #: Ids of the Slurm jobs, one per line.
    jobs_file: Path = _in_home("slurm/jobs.jsonl")
    #: Keys of the connections between driver and workers, while a driver works.
    key_dir: Path = _in_home("keys")
    event_log: Path = _in_home("events.jsonl")
    #: Folder of the requests to the driver that works on the run, and of its answers.
    control: Path = _in_home("control")

    #: A seed and its loss, for workers to compare theirs with.
    reference: JsonFile = _in_folder("reference.json", JsonFile)
    #: Why the study stopped.
    failure: JsonFile = _in_folder("failure.json", JsonFile)
    #: Of what the validation is, and what it found.
    validation_record: JsonFile = _in_folder("validation.json", JsonFile)
    summary: JsonFile = _in_folder("summary.json", _undurable)
    status: JsonFile = _in_folder("status.json", _undurable)
    environment: JsonFile = _in_home("environment.json", JsonFile)

    #: What was asked for, and when the run began and ended; `read_meta` checks its format.
    meta: JsonFile = _in_folder("meta.json", JsonFile)
    #: Loss and options, from which the run can be resumed alone; `read_parts` checks whose it is.
    parts: JsonFile = _in_home("run.json", JsonFile)

    @property
    def home(self) -> "RunDirectory":
        """The folder of the run that this folder is, or belongs to."""
        return self.parent or self

    @property
    def has_begun(self) -> bool:
        """Whether there is a run that could be resumed."""
        return self.meta.path.exists()

    @property
    def has_results(self) -> bool:
        """Whether a point was asked for, so that there is something to keep."""
        return any(path.exists() for path in (self.study_file, self.trial_table, self.entries))

    def read_meta(self) -> dict[str, Any]:
        """Read ``meta.json``, or raise NotARunError, also if it has another format."""
        try:
            meta: dict[str, Any] = json.loads(self.meta.path.read_text(encoding="utf-8"))
            version = meta.pop("format_version")
        except FileNotFoundError:
            raise NotARunError(self.path, "there is no meta.json, so this is not a run") from None
        except (ValueError, KeyError, AttributeError, TypeError):
            raise NotARunError(self.path, "meta.json was not written by seedwise") from None
        if version != FORMAT_VERSION:
            problem = (
                f"the run has format {version}, and this version of seedwise reads format "
                f"{FORMAT_VERSION} only: use the version that began the run"
            )
            raise NotARunError(self.path, problem)
        return meta

    def require_kind(self, kind: str) -> None:
        """Raise NotARunError if the run was begun as another kind."""
        found = self.read_meta().get("kind", kind)
        if found != kind:
            problem = f"it holds a run of kind {found!r}, which can't be resumed as {kind!r}"
            raise NotARunError(self.path, problem)

    def read_parts(self) -> dict[str, Any]:
        """Read ``run.json``, which must be our own: it holds programs; empty if it is not JSON."""
        require_own(self.path, self.parts.path)
        return self.parts.read()

    def sweep(self) -> list[Path]:
        """Remove what a driver left that was killed while it wrote; return the paths."""
        asides = sorted([*self.path.glob(".*.new"), *self.path.glob("code/.*.new")])
        # A driver may be writing the lease at this moment.
        left = [path for path in asides if not path.name.startswith(f".{self.lease.name}")]
        for aside in left:
            remove(aside)
        return left

    def n_told(self) -> int:
        """Return how many trials ``summary.json`` says are told; 0 if there is none."""
        return int(self.summary.read().get("n_told", 0))

    def cut_back(self, path: Path, length: int, *, fence: bool) -> None:
        """Cut a file, if there is one, back to a length in bytes; keep the rest under ``cut/``.

        With a fence, a driver that still has the old file open writes into nothing.
        """
        if not path.exists():
            return
        with writing(path):
            if path.stat().st_size > length:
                folder = self.path / "cut"
                folder.mkdir(mode=0o700, exist_ok=True)
                kept = folder / f"{path.name}-from-{length}-{time.time_ns()}"
                kept.touch(mode=0o600)
                with path.open("rb") as file:
                    file.seek(length)
                    kept.write_bytes(file.read())
                os.truncate(path, length)
            if fence:
                _write(path, path.read_bytes())

    def furnish(self) -> None:
        """Make what every run's folder has, before the run begins."""
        _write(self.path / ".gitignore", GITIGNORE)
        self.log_dir.mkdir(mode=0o700, exist_ok=True)
        self.environment.write(environment())

    def discard(self) -> None:
        """Remove what was made of a run that could not begin; its folder, too, if it is empty."""
        for folder in (self.log_dir, self.control, self.code):
            shutil.rmtree(folder, ignore_errors=True)
        for name in (BEFORE_IT_BEGINS - {"code"}) | {"status.json", "summary.json"}:
            (self.path / name).unlink(missing_ok=True)
        self.meta.path.unlink(missing_ok=True)  # last: a kill before it leaves a run to resume
        with contextlib.suppress(OSError):  # there are other files in it
            self.path.rmdir()


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class EventLog:
    """Appends lines to a run's log of events. A full disk costs lines, and never the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_warned = False

    def write(self, kind: str, text: str) -> None:
        """Add something that happened to the run, in a sentence without a full stop."""
        self.write_news([PoolNews(kind=kind, text=text)])

    def write_news(self, news: Sequence[PoolNews]) -> None:
        """Add what happened to the workers."""
        if not news:
            return
        at_utc = utc_now().isoformat(timespec="milliseconds")
        events = [
            {"at_utc": at_utc, "kind": one.kind, "text": one.text, "job_id": one.job_id}
            for one in news
        ]
        try:
            append_lines(self._path, events)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning("events are missing in %s: %s", self._path, error)


def read_events(directory: RunDirectory) -> list[dict[str, Any]]:
    """Read the events of a run, or of an entry's run, in their order, without torn lines."""
    return read_lines(directory.event_log)


def write_code(directory: RunDirectory, version: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a version, by their paths in it, unless they are there as they are."""
    folder = directory.code / version
    if folder.exists() and all(
        (path := folder / name).is_file() and path.read_bytes() == content
        for name, content in files.items()
    ):
        return
    with writing(folder):
        directory.code.mkdir(mode=0o700, exist_ok=True)
        aside = Path(tempfile.mkdtemp(".new", f".{version}.", directory.code))
        for name, content in files.items():
            for above in reversed(Path(name).parents):
                (aside / above).mkdir(mode=0o700, exist_ok=True)
            replace_file(aside / name, content, durable=False)
        drop_code(directory, version)  # a file was edited, or torn by a crash
        aside.rename(folder)


def read_code(
    directory: RunDirectory, version: str, hashes: Mapping[str, str]
) -> dict[str, bytes]:
    """Read the files of a version; refuse one that is not what was written, by its SHA-256."""
    files = {}
    for name, digest in hashes.items():
        path = directory.code / version / name
        require_own(directory.path, path)
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != digest:
            problem = (
                f"{path} is not the code that the run began with: it is a copy, and was changed. "
                "To change the loss, edit your own file and run it again with this run_name"
            )
            raise NotARunError(directory.path, problem)
    return files


def drop_code(directory: RunDirectory, version: str) -> None:
    """Remove a version that no trial needs any more."""
    shutil.rmtree(directory.code / version, ignore_errors=True)


def environment() -> dict[str, Any]:
    """Describe software and machine: the same bits are promised for one CPU model only."""
    return {
        "python": sys.version,
        "executable": sys.executable,
        "argv": sys.argv,
        "packages": {name: _version(name) for name in _PACKAGES},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_model": _cpu_model(),
        "n_cpus": os.cpu_count(),
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _cpu_model() -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _git_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip() or None
    return None

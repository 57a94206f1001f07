"""The run folder: the one owner of its file names and formats."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import OptionError, RunExistsError
from seedwise.model.records import TrialResult, TrialState

__all__ = ["FORMAT_VERSION", "RunDirectory", "create_run_directory", "environment", "utc_now"]

FORMAT_VERSION = 1

_PACKAGES = (
    "seedwise",
    "dask",
    "distributed",
    "dask-jobqueue",
    "optuna",
    "optuna-integration",
    "numpy",
    "scipy",
)


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
    def log_dir(self) -> Path:
        """Logs of the Slurm jobs."""
        return self.path / "slurm"

    def write_meta(self, meta: Mapping[str, Any]) -> None:
        """Write ``meta.json``: what was asked for, and when the run began and ended."""
        self._write("meta.json", meta)

    def write_summary(
        self, best: TrialResult | None, counts: Mapping[TrialState, int], n_trials: int
    ) -> None:
        """Write ``summary.json``: the best trial so far, and how many trials are told."""
        self._write(
            "summary.json",
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

    def write_environment(self) -> None:
        """Write ``environment.json``: the software and the machine."""
        self._write("environment.json", environment())

    def discard(self) -> None:
        """Remove the folder of a run that could not begin."""
        shutil.rmtree(self.path)

    def _write(self, name: str, content: Mapping[str, Any], *, durable: bool = True) -> None:
        # Aside, then renamed: a reader sees the old file or the new one, never half of one.
        text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=2, default=str)
        aside = self.path / f".{name}.new"
        with aside.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(self.path / name)


def create_run_directory(run_root: Path, run_name: str | None, loss_name: str) -> RunDirectory:
    """Make the folder of a new run.

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
        The new folder, of mode 0700.

    Raises
    ------
    RunExistsError
        If `run_name` is taken.
    OptionError
        If `run_root` can't be made.
    """
    root = run_root.expanduser().absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        allowed = "a folder, or where one can be made"
        raise OptionError("run_root", str(root), allowed, f"The system says: {error}") from error
    if run_name is not None:
        path = root / run_name
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            raise RunExistsError(path) from None
    else:
        path = _next_free(root, re.sub(r"[^A-Za-z0-9._-]", "_", loss_name))
    directory = RunDirectory(path)
    (path / ".gitignore").write_text("*\n", encoding="utf-8")
    directory.log_dir.mkdir(mode=0o700)
    directory.write_environment()
    return directory


def environment() -> dict[str, Any]:
    """Describe the software and the machine: bits are promised for a CPU model only."""
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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None

"""The places where a loss runs, each with a real driver in a process of its own."""

from __future__ import annotations

import ast
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from seedwise.folder.directory import RunDirectory
from seedwise.study.proposer import read_trials
from tests.sameness import trap
from tests.sameness.situation import Situation
from tests.testbed.daemons import HANGS_S

_COMMAND = Path(sys.executable).parent / "seedwise"

_Done = subprocess.CompletedProcess[str]


class Project:
    """A situation's project in a folder. Each method runs it, and tells the loss by its place.

    A loss is its repr, or what went wrong instead, so that a comparison shows all places.
    """

    def __init__(self, situation: Situation, folder: Path) -> None:
        self._situation = situation
        self._folder = folder
        (folder / "project").mkdir()
        (folder / "tmp").mkdir()
        for path, content in situation.written.items():
            file = folder / "project" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def by_hand(self) -> dict[str, str]:
        done = self._script({})
        if done.returncode != 0:
            return {"by hand": _last_line(done)}
        losses = ast.literal_eval(done.stdout.splitlines()[-1])
        return {"by hand": repr(math.fsum(losses) / len(losses))}

    def in_processes(self) -> dict[str, str]:
        done = self._run("processes", n_trials=1, use_processes=True)
        return {"processes": self._loss("processes", 0, done)}

    def on_slurm(self) -> dict[str, str]:
        environment = {"DASK_JOBQUEUE__SLURM__INTERFACE": "lo"}
        done = self._run("slurm", environment, n_trials=1, cluster="slurm")
        return {"Slurm": self._loss("slurm", 0, done)}

    def in_threads_and_disturbed(self) -> dict[str, str]:
        """Carry out a run of three trials: see `tests.sameness.trap` for what happens to it.

        It is resumed, and its first trial replayed, from another folder than the script's.
        """
        log = self._folder / "trap.log"
        environment = {
            trap.LOG_VARIABLE: str(log),
            "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": repr([trap.__file__]),
        }
        killed = self._run("local", environment, n_trials=3)
        found = {
            "threads": self._loss("local", 0, killed),
            "isolated": self._loss("local", 1, killed),
        }
        if killed.returncode != -signal.SIGKILL:
            return {**found, "resumed": "was not killed", "replayed": self._replayed("local")}
        if (seen := log.read_text()) != trap.LOG_OF_A_RUN:
            found["isolated"] += f", not seen to be isolated: {seen!r}"
        resumed = self._process([_COMMAND, "resume", self._run_folder("local")], self._folder)
        found["resumed"] = self._loss("local", 2, resumed)
        return {**found, "replayed": self._replayed("local")}

    def _replayed(self, name: str) -> str:
        command = [_COMMAND, "replay", self._run_folder(name), "--trial", "0"]
        done = self._process(command, self._folder)
        if done.returncode != 0:
            return _last_line(done)
        _, *lines = done.stdout.splitlines()
        losses = [float(line.partition(": ")[2]) for line in lines]
        return repr(math.fsum(losses) / len(losses))

    def _run_folder(self, name: str) -> Path:
        return self._folder / "runs" / name

    def _run(self, name: str, environment: dict[str, str] | None = None, **options: Any) -> _Done:
        fixed = {
            "run_root": str(self._folder / "runs"),
            "run_name": name,
            "n_seeds": 2,
            "chunk_size": 2,
        }
        once = {"workers": 1, "fail_on_chunk_error": False, "trial_retry_attempts": 0}
        text = json.dumps({**fixed, **once, **options, **self._situation.options})
        return self._script({**(environment or {}), "OPTIONS": text})

    def _script(self, environment: dict[str, str]) -> _Done:
        command, program = self._situation.command, self._situation.program
        return self._process(
            [sys.executable, *command, *([program] if command[0] == "-c" else [])],
            self._folder / "project" / self._situation.folder,
            environment,
            program if command[0] == "-" else "",
        )

    def _process(
        self, command: list[Any], cwd: Path, environment: dict[str, str] | None = None, text=""
    ) -> _Done:
        # What a killed driver leaves there is the test's own.
        own = {"TMPDIR": str(self._folder / "tmp")}
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **own, **(environment or {})},
            input=text,
            capture_output=True,
            text=True,
            timeout=HANGS_S,
            check=False,
        )

    def _loss(self, name: str, number: int, done: _Done) -> str:
        directory = RunDirectory(self._run_folder(name))
        if not directory.study_file.exists():
            return _last_line(done)
        trials = read_trials(directory.study_file, directory.read_meta()["study_name"])
        for trial in trials:
            if trial.number == number:
                return str(trial.error) if trial.value is None else repr(trial.value)
        return _last_line(done)


def _last_line(done: _Done) -> str:
    lines = done.stderr.strip().splitlines() or ["nothing on stderr"]
    return f"exit code {done.returncode}: {lines[-1]}"

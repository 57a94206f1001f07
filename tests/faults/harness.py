"""Drivers to be disturbed, and what can be told of a run from its folder."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from distributed import Client
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Ledger
from seedwise.model.trials import Proposal
from tests.faults import loss
from tests.faults.driver import carry_out
from tests.faults.loss import LOG_VARIABLE, PACE_VARIABLE, TRAP_VARIABLE
from tests.testbed.daemons import HANGS_S, poll

ROOT = Path(__file__).parent.parent.parent

# Options that make no difference to the trials.
_NO_MATTER = ("chunk_size", "progress", "workers")
# Options that say where a run is carried out.
_PLACE = (
    "cluster",
    "workers",
    "cpus_per_task",
    "mem_per_cpu",
    "slurm_qos",
    "use_processes",
    "worker_parallelism",
    "worker_time_limit_s",
)

#: What a driver ends is gone by then; a worker without a driver ends by itself after a minute.
GONE_S = 30.0

#: A run with several chunks a trial; the first ten trials of TPE are random.
RUN = {"n_trials": 20, "n_seeds": 24, "chunk_size": 6, "workers": 2}


class Driver:
    """A process that carries out a run, in a session of its own.

    Parameters
    ----------
    folder : pathlib.Path
        Where the runs, tables and logs go.
    name : str
        The run's name.
    keywords : mapping
        Further keywords of optimize_run, ``loss`` among them.
    pace_s : float or pathlib.Path
        Seconds that a seed takes, or a file of the test that says so.
    trap : str
        See `tests.faults.loss`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        keywords: Mapping[str, Any],
        *,
        pace_s: float | Path = 0.0,
        trap: str = "",
    ) -> None:
        self.folder = folder
        self.name = name
        self.directory = RunDirectory(folder / "runs" / name)
        self.table_file = folder / f"{name}.table"
        self.evaluation_log = folder / f"{name}.evaluations"
        self.stderr_file = folder / f"{name}.stderr"
        here = {"run_root": str(folder / "runs"), "run_name": name}
        # Each evaluation is counted.
        self._keywords = {"self_check": False, **keywords, **here}
        self._pace_file = pace_s if isinstance(pace_s, Path) else folder / f"{name}.pace"
        if not isinstance(pace_s, Path):
            self.set_pace(pace_s)
        scratch = folder / f"{name}.tmp"
        scratch.mkdir(exist_ok=True)
        self.environment = {
            **os.environ,
            LOG_VARIABLE: str(self.evaluation_log),
            PACE_VARIABLE: str(self._pace_file),
            TRAP_VARIABLE: trap,
            "TMPDIR": str(scratch),  # where what a killed driver leaves is the test's own
        }
        self.process: subprocess.Popen[bytes]

    def start(self, **keywords: Any) -> None:
        """Start the process; once more resumes the run."""
        with self.stderr_file.open("ab") as stderr:
            self.process = subprocess.Popen(
                self.command(**keywords),
                cwd=ROOT,
                env=self.environment,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    def command(self, **keywords: Any) -> list[str]:
        """Return the command that carries out the run, or resumes it, in folder `ROOT`."""
        options = {**self._keywords, **keywords, "table": str(self.table_file)}
        return [sys.executable, "-m", "tests.faults.driver", json.dumps(options)]

    def set_pace(self, seconds: float) -> None:
        """Have a seed take that long from now on."""
        aside = self._pace_file.with_suffix(".new")
        aside.write_text(str(seconds))
        aside.replace(self._pace_file)

    @property
    def stderr(self) -> str:
        return self.stderr_file.read_text()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float = HANGS_S) -> int:
        return self.process.wait(seconds)

    def kill(self) -> bool:
        """Kill -9 the driver; tell whether it was still at work."""
        hit = self.running
        if hit:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(HANGS_S)
        return hit and self.process.returncode == -signal.SIGKILL

    def call_again(self) -> str:
        """Have another driver resume the run by the same call; return the table."""
        self.start()
        assert self.wait() == 0, self.stderr
        return self.table

    def finish(self, client: Client) -> str:
        """Resume the run in this process, and return its table."""
        _log_to(client, str(self.evaluation_log))
        try:
            return carry_out_here(client, self.folder, self.name, self._keywords)
        finally:
            _log_to(client, "")

    @property
    def table(self) -> str:
        return self.table_file.read_text()

    def wait_for(self, count: int) -> None:
        """Wait until that many more seeds were evaluated, or the driver has ended."""
        before = self.n_evaluations
        poll(
            lambda: self.n_evaluations >= before + count or not self.running,
            f"{count} more evaluations of {self.name}: {self.stderr_file}",
            pause=0.01,
        )

    def wait_until_told(self, count: int) -> None:
        """Wait until that many trials are told, and see that the driver is at work then."""
        poll(
            lambda: len(told_values(self.directory)) >= count or not self.running,
            f"{count} trials to be told: {self.stderr_file}",
        )
        assert self.running, self.stderr

    @property
    def n_evaluations(self) -> int:
        log = self.evaluation_log
        return log.read_bytes().count(b"\n") if log.exists() else 0


@contextmanager
def driver(*args: Any, **keywords: Any) -> Iterator[Driver]:
    """Give a driver, and make sure that it has ended."""
    made = Driver(*args, **keywords)
    try:
        yield made
    finally:
        if hasattr(made, "process") and made.running:
            made.kill()


def _log_to(client: Client, path: str) -> None:
    """Set the variable on the workers, by no function of ours.

    Its module would stay there, and later losses would be loaded in processes of their own.
    """
    client.run(exec, f"import os; os.environ[{LOG_VARIABLE!r}] = {path!r}")


def carry_out_here(client: Client, folder: Path, name: str, keywords: Mapping[str, Any]) -> str:
    """Carry out a run in this process, on workers that are there already; return its table."""
    options = {option: value for option, value in keywords.items() if option not in _PLACE}
    which = getattr(loss, options.pop("loss", "noted"))
    here = {"cluster": client, "run_root": folder / "runs", "run_name": name, "progress": False}
    return carry_out(which, {**options, **here})


def undisturbed(client: Client, folder: Path, keywords: Mapping[str, Any]) -> str:
    """Return the table of the run that nothing happens to."""
    return carry_out_here(client, folder, "undisturbed", keywords)


def expected_table(client: Client, keywords: Mapping[str, Any]) -> str:
    """Return the table that a run comes to, whatever happens to it; each run is made but once."""
    no_matter = (*_NO_MATTER, *_PLACE)
    decides = {name: value for name, value in keywords.items() if name not in no_matter}
    return _expected_table(client, json.dumps(decides, sort_keys=True))


@functools.cache
def _expected_table(client: Client, decides: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return undisturbed(client, Path(folder), {**json.loads(decides), "chunk_size": 6})


def stock_trials(directory: RunDirectory) -> list[optuna.trial.FrozenTrial]:
    """Return the trials as stock Optuna reads them, whatever state the file is in."""
    if not directory.study_file.exists():
        return []
    try:
        storage = JournalStorage(JournalFileBackend(str(directory.study_file)))
        (name,) = (study.study_name for study in storage.get_all_studies())
    except ValueError:  # no study is in it yet
        return []
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def told_values(directory: RunDirectory) -> dict[int, tuple[Any, ...]]:
    """Return params, value and state of the trials that are told, by number."""
    return {
        trial.number: (trial.params, trial.value and trial.value.hex(), trial.state)
        for trial in stock_trials(directory)
        if trial.state.is_finished()
    }


def in_flight(directory: RunDirectory, n_seeds: int) -> set[tuple[int, int]]:
    """Return trial and seed of what was asked for, not told, and is not on record."""
    running = [trial for trial in stock_trials(directory) if not trial.state.is_finished()]
    if not running:
        return set()
    found = set()
    with Ledger(_whole_copy(directory)) as ledger:
        for trial in running:
            recorded = ledger.recorded(Proposal(trial.number, trial.params))
            covered = {
                result.start + offset for result in recorded for offset in range(result.n_seeds)
            }
            found |= {(trial.number, seed) for seed in set(range(n_seeds)) - covered}
    return found


def _whole_copy(directory: RunDirectory) -> Path:
    from tests.builders import ledger_end

    copy = directory.path.parent / "ledger-as-it-was"
    data = directory.ledger.read_bytes() if directory.ledger.exists() else b""
    copy.write_bytes(data)
    end = ledger_end(copy)
    copy.write_bytes(data[:end])
    return copy

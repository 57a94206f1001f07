"""Losses of the fault tests: each notes what it evaluates, so that repeated work can be counted.

What they need to know comes by the environment, which workers inherit.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from pathlib import Path

import psutil

import seedwise as sw

#: A file to which each evaluation adds a line: pid, trial, seed.
LOG_VARIABLE = "SEEDWISE_FAULTS_LOG"
#: A file that says how many seconds a seed takes, which the test may change.
PACE_VARIABLE = "SEEDWISE_FAULTS_PACE_S"
#: What happens in the bad region of `treacherous`.
TRAP_VARIABLE = "SEEDWISE_FAULTS_TRAP"

SPACE = {
    "x": (-2.0, 2.0),
    "rate": sw.search_param(range=(1e-3, 1.0), log=True),
    "n": sw.search_param(range=(1, 9), dtype="int"),
    "kind": sw.search_param(allowed=["plain", "fancy"]),
}
TRAP_SEED = 5
#: This entry of `of_entry` fails at its first fancy trial.
FAILING_ENTRY = 2


def value(params, seed):
    noise = random.Random(seed).gauss(0.0, 1.0) * (1.1 if params["kind"] == "fancy" else 0.9)
    return (params["x"] - 0.5) ** 2 + abs(params["rate"] - 0.1) + params["n"] / 7 + noise


def note(trial, seed):
    log = os.environ.get(LOG_VARIABLE)
    if log:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"{os.getpid()} {trial} {seed}\n".encode())
        os.close(handle)
    pace = os.environ.get(PACE_VARIABLE)
    time.sleep(float(Path(pace).read_text() or 0.0) if pace else 0.0)


def evaluations(log: Path) -> list[tuple[int, int, int]]:
    """Return what was evaluated: pid, trial and seed of each evaluation."""
    if not log.exists():
        return []
    lines = [line.split() for line in log.read_text().splitlines()]
    return [(int(pid), int(trial), int(seed)) for pid, trial, seed in lines]


@sw.loss(name="noted", description="a noisy bowl that notes its seeds", parameter_space=SPACE)
def noted(params, seed, context):
    note(context["trial_number"], seed)
    return value(params, seed)


@sw.loss(name="of_entry", description="a bowl for each entry", parameter_space=SPACE)
def of_entry(params, seed, context):
    entry = int(context["entry_id"].removeprefix("p"))
    note(1000 * entry + context["trial_number"], seed)
    if entry == FAILING_ENTRY and params["kind"] == "fancy" and seed == TRAP_SEED:
        raise ValueError("no way")
    return value(params, seed) + (params["x"] - entry / 10) ** 2


@sw.loss(name="filed", description="a bowl that writes files", parameter_space=SPACE)
def filed(params, seed, context):
    note(context["trial_number"], seed)
    if seed % 4 == 0:
        (context["trial_dir"] / f"seed_{seed}.txt").write_text(f"{params['x']!r}")
    return {"total_loss": value(params, seed), "components": {"x": params["x"], "seed": seed}}


@sw.loss(name="treacherous", description="a bowl with a trap", parameter_space=SPACE)
def treacherous(params, seed, context):
    note(context["trial_number"], seed)
    if params["x"] > 0.3 and seed == TRAP_SEED:
        spring(os.environ.get(TRAP_VARIABLE))
    return value(params, seed)


def end_job():
    """Kill the nanny of this worker, so that nobody mends it, and all processes up to it."""
    killed = [psutil.Process()]
    while "distributed.cli.dask_worker" not in killed[-1].cmdline():
        killed.append(killed[-1].parent())
    for process in reversed(killed):
        process.kill()


def spring(trap):
    if trap == "segfault":
        ctypes.string_at(0)
    elif trap == "exit":
        os._exit(3)
    elif trap == "job":
        end_job()
    elif trap == "loop":
        while True:
            pass
    elif trap == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(10_000_000))
    else:
        raise ValueError("no way")

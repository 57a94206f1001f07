"""Records that many tests need, with values that a test may change."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import cloudpickle

from seedwise.disk.frames import frames_end
from seedwise.folder import ledger, trial_table
from seedwise.model.loss import LossDefinition
from seedwise.model.status import PoolStatus, RunStatus
from seedwise.model.trials import TrialResult, TrialState
from seedwise.usercode.code import Code, Module
from seedwise.usercode.shipment import Shipment


def trial(number: int, value: float | None, params: Any = None, **more: Any) -> TrialResult:
    """Return a complete trial of four seeds, or a failed one if it has no value."""
    fields: dict[str, Any] = {"stderr": 0.5, "n_seeds": 4, "state": TrialState.COMPLETE}
    if value is None:
        fields = {"stderr": None, "n_seeds": 0, "state": TrialState.FAIL, "error": "it broke"}
    params = {"x": float(number)} if params is None else params
    return TrialResult(number, params, value, **{**fields, "duration_s": 1.25, **more})


def run_status(**more: Any) -> RunStatus:
    """Return the progress of a run of 20 trials, three of which are complete."""
    trials = {"n_trials": 20, "pending": 16, "running": 1, "done": 3, "failed": 0, "pruned": 0}
    times = {
        "started_at_utc": "2026-08-01T10:00:00+00:00",
        "updated_at_utc": "2026-08-01T10:29:59+00:00",
    }
    return RunStatus(**{"kind": "run", "state": "running", **trials, **times, **more})


def pool_status(**more: Any) -> PoolStatus:
    """Return a pool that has three of the eight workers that it wants, between 2 and 10."""
    return PoolStatus(**{"least": 2, "most": 10, "wanted": 8, "joined": 3, "pending": 5, **more})


def code(sources: dict[str, str] | None = None, **changes) -> Code:
    """Return code of modules with these sources, which lie nowhere but in the snapshot."""
    modules, content = {}, {}
    for name, text in (sources or {}).items():
        modules[name] = Module(f"/nowhere/{name}.py", f"nowhere/{name}.py")
        content[name] = text.encode()
    hashes = {
        str(modules[name].copy): hashlib.sha256(text).hexdigest() for name, text in content.items()
    }
    fields = {"folder": "/nowhere", "path": (), "n_own": 0, "cwd": ".", "argv": None}
    return Code(modules, content, hashes, **{**fields, **changes})


def shipment(loss: LossDefinition, **changes) -> Shipment:
    """Return a loss on its way by value, with no code around it."""
    pickled = cloudpickle.dumps(loss)
    fields = {
        "name": loss.name,
        "code": code(),
        "module": None,
        "variable": None,
        "digest": hashlib.sha256(pickled).hexdigest(),
        "pickled": pickled,
        "python": sys.version_info[:2],
    }
    return Shipment(**{**fields, **changes})


def imported(name: str, source: str, **changes) -> Shipment:
    """Return a loss on its way that the import of a module defines."""
    return Shipment(name, code({"made_module": source}, **changes), "made_module", None)


def ledger_end(path: Path) -> int:
    """Return where the last whole record of a ledger ends."""
    return frames_end(path, ledger.FRAMING)


def table_end(path: Path) -> int:
    """Return where the last whole record of a trial table ends."""
    return frames_end(path, trial_table.FRAMING)

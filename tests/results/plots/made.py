"""Results whose trials a test writes down, with their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np

from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Ledger, params_digest
from seedwise.folder.trial_table import TrialTable, read_rows
from seedwise.model.options.study import SweepOptions
from seedwise.model.options.work import ExecutionMode
from seedwise.model.points import Cases
from seedwise.model.sources import manual
from seedwise.model.space import checked_space, search_param, space_to_json
from seedwise.model.statistics import estimate
from seedwise.model.trials import ChunkResult, Proposal, TrialResult, TrialState
from seedwise.model.validation import ValidatedTrial, Validation
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult, SweepTrials

SPACE = {
    "x": (-1.0, 1.0),
    "rate": search_param(range=(1e-3, 1.0), log=True),
    "kind": search_param(allowed=["plain", "fancy"]),
}


def point(number: int) -> dict[str, Any]:
    """Return params that differ from trial to trial."""
    x = -0.9 + 0.12 * (number * 7 % 16)
    kind = "plain" if number % 3 else "fancy"
    return {"x": x, "rate": 10.0 ** -(number * 5 % 16 / 6), "kind": kind}


def trial(number: int, value: float | None, **more: Any) -> TrialResult:
    """Return a complete trial of 8 seeds, or a failed one if it has no value."""
    fields: dict[str, Any] = {"stderr": 0.5, "n_seeds": 8, "state": TrialState.COMPLETE}
    if value is None:
        fields = {"stderr": None, "n_seeds": 0, "state": TrialState.FAIL, "error": "it broke"}
    params = point(number)
    return TrialResult(number, params, value, **{**fields, "duration_s": 1.0, **more})


def run(path: Path, trials: Any, space: Any = None, race: Any = False, **more) -> OptimizeResult:
    """Return the result of a run, with its meta.json; a value is a trial with it."""
    trials = tuple(
        one if isinstance(one, TrialResult) else trial(number, one)
        for number, one in enumerate(trials)
    )
    write_meta(path, space or SPACE, race)
    fields = {"direction": "minimize", "seeds": np.arange(8), "trials": trials, **more}
    return OptimizeResult("walk", "walk", str(path), ExecutionMode.SINGLE, **fields)


def of_losses(path: Path, losses: Any, **more: Any) -> OptimizeResult:
    """Return the result of a run whose trials have these losses, in its ledger."""
    trials, records = [], []
    for number, row in enumerate(losses):
        array = np.asarray(row, float)
        found = estimate(array)
        of_row = {"stderr": found.stderr, "n_seeds": found.n_seeds}
        trials.append(trial(number, found.mean, **of_row))
        result = ChunkResult(number, 0, 1, 0, len(array), losses=array)
        records.append((Proposal(number, point(number)), result))
    with Ledger(path / "chunks.ledger") as ledger:
        ledger.record(records)
    return run(path, trials, **{"seeds": np.arange(max(map(len, losses))), **more})


def sweep(path: Path, values: Any, space: Any = None, params: Any = point) -> SweepResult:
    """Return the result of a sweep, whose trials have these values, None for failed ones."""
    write_meta(path, space or SPACE, None)
    points = [params(number) for number in range(len(values))]
    trials = [attrs.evolve(trial(n, value), params=points[n]) for n, value in enumerate(values)]
    with TrialTable(path / "trials.table") as table:
        table.add(trials, [params_digest(one) for one in points])
    rows = read_rows(path / "trials.table")
    cases = Cases(manual(points or [point(0)]), SweepOptions(), checked_space(space or SPACE))
    fields = {"mode": ExecutionMode.SINGLE, "direction": "minimize", "seeds": np.arange(8)}
    of_trials = {"n_trials": len(trials), "trials": SweepTrials(rows, cases)}
    return SweepResult("walk", str(path), **fields, **of_trials, rows=rows, cases=cases)


def write_meta(path: Path, space: Any, race: Any) -> None:
    space = space_to_json(checked_space(space))
    options = {"overrides": None, **({} if race is None else {"race": race})}
    RunDirectory(path).meta.write({"kind": "run", "parameter_space": space, "options": options})


def validated(*numbers: int, value: float = 1.5) -> Validation:
    """Return a validation with these candidates, the winner first, of 1.2 to 1.9."""
    candidates = tuple(
        ValidatedTrial(number, point(number), value, 0.5, 8, value, 0.2) for number in numbers
    )
    return Validation(candidates, numbers[0], point(numbers[0]), value, 0.2, (1.2, 1.9), 32)

"""The trial table as bits, the modes of a run's files, and the tables of a test's cases."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import seedwise as sw


def some(cases: Iterable[tuple[Any, ...]], *chosen: tuple[Any, ...]) -> list[Any]:
    """Return cases for `parametrize`: those that are chosen, and all others marked ``full``."""
    cases = list(cases)
    assert all(case in cases for case in chosen)
    return [
        pytest.param(*case, marks=[] if case in chosen else pytest.mark.full) for case in cases
    ]


def bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else (type(value).__name__, value)


def table(result: sw.OptimizeResult | sw.SweepResult) -> list[tuple[Any, ...]]:
    rows = [
        (
            trial.number,
            tuple((name, bits(value)) for name, value in trial.params.items()),
            bits(trial.value),
            bits(trial.stderr),
            bits(trial.raw_value),
            trial.n_seeds,
            trial.state,
            tuple((name, bits(part)) for name, part in sorted(trial.components.items())),
        )
        for trial in result.trials
    ]
    if isinstance(result, sw.SweepResult):
        return [*rows, result.best and result.best.number]
    rows.append((bits(result.best_value), result.best_params))
    return [*rows, repr(result.validation)] if result.validation is not None else rows


def summary(result: sw.OptimizeResult) -> dict[str, Any]:
    """Return what ``summary.json`` says, whose floats are exact."""
    found: dict[str, Any] = json.loads((Path(result.run_dir) / "summary.json").read_text())
    return found


def others_may_read(run_dir: str | Path) -> list[str]:
    """Return what in a run's folder is not for its owner alone."""
    return [str(path) for path in Path(run_dir).rglob("*") if path.stat().st_mode & 0o077]

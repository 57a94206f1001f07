"""The trial table as bits: two runs are the same exactly if their tables are equal."""

from __future__ import annotations

from typing import Any

import seedwise as sw


def bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else (type(value).__name__, value)


def table(result: sw.OptimizeResult | sw.SweepResult) -> list[tuple[Any, ...]]:
    rows = [
        (
            trial.number,
            tuple((name, bits(value)) for name, value in trial.params.items()),
            bits(trial.value),
            bits(trial.stderr),
            trial.n_seeds,
            trial.state,
            tuple((name, bits(part)) for name, part in sorted(trial.components.items())),
        )
        for trial in result.trials
    ]
    if isinstance(result, sw.SweepResult):
        return [*rows, result.best and result.best.number]
    return [*rows, (bits(result.best_value), result.best_params)]

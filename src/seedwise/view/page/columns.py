"""The told trials as the columns that the page's figures draw; rows are only ever added."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedwise.model.space import ParameterSpace, ParamValue, SearchParam
from seedwise.model.trials import TrialResult
from seedwise.model.validation import point_in_words

#: How a trial ended, as the page tells them apart.
KINDS = ("complete", "dropped by the race", "failed")


class Axis:
    """Where the values of a parameter lie on an axis."""

    def __init__(self, name: str, param: SearchParam) -> None:
        self.name, self.column = name, f"at {name}"
        #: Whether places are logarithms, to base 10.
        self.log = param.log
        #: The values that have no order, by their place; None of numbers.
        has_order = param.dtype not in ("str", "bool")
        self.labels = None if has_order else [str(value) for value in param.allowed or ()]
        self.low, self.high = math.inf, -math.inf

    def place(self, value: ParamValue | None) -> float:
        """Return where a value lies; NaN if it can't be shown."""
        at = math.nan
        if self.labels is not None and value is not None:
            if str(value) not in self.labels:  # a case of a sweep may be outside of the space
                self.labels.append(str(value))
            at = float(self.labels.index(str(value)))
        elif isinstance(value, int | float) and (value > 0 or not self.log):
            at = math.log10(value) if self.log else float(value)
        if math.isfinite(at):
            self.low, self.high = min(self.low, at), max(self.high, at)
        return at

    def words(self, place: float) -> str:
        """Return the value at a place."""
        if not math.isfinite(place):
            return ""
        if self.labels is not None:
            return self.labels[round(place)]
        return f"{10**place if self.log else place:.4g}"


_NUMBERS = (
    *("order", "number", "n_seeds", "value", "low", "high", "best", "best_low", "best_high"),
    *("seeds", "full_seeds"),
)
_TEXTS = ("stderr", "kind", "params", "error")


class TrialColumns:
    """The trials in the order in which they came; a thread may read while another one adds."""

    def __init__(self, space: ParameterSpace, direction: str, n_plan: int) -> None:
        self.axes = [Axis(name, param) for name, param in space.items()]
        self.best: TrialResult | None = None
        self.sign = -1.0 if direction == "maximize" else 1.0
        #: Seeds of all trials together, and how many they would be if each had the whole plan.
        self.n_seeds = self.n_full_seeds = 0
        self._n_plan, self._n = n_plan, 0
        numbers = [*_NUMBERS, *(axis.column for axis in self.axes)]
        fields = [*((name, float) for name in numbers), *((name, object) for name in _TEXTS)]
        #: A row for each; replaced as a whole, so that another thread may read it.
        self.table: NDArray[Any] = np.empty(0, fields)

    def add(self, trials: Sequence[TrialResult]) -> None:
        """Add trials that were told."""
        rows = np.array([self._row(trial) for trial in trials], self.table.dtype)
        self.table = np.concatenate([self.table, rows])

    def rows(self, begin: int, end: int) -> dict[str, NDArray[Any]]:
        """Return the columns from a row up to another."""
        rows = self.table[begin:end]
        return {name: rows[name].copy() for name in rows.dtype.names or ()}

    def _row(self, trial: TrialResult) -> tuple[Any, ...]:
        value, best, kind = trial.value, self.best, KINDS[2]
        if value is not None:
            if best is None or self.sign * value < self.sign * (best.value or 0.0):
                self.best = trial
            self.n_seeds += trial.n_seeds
            self.n_full_seeds += self._n_plan
            kind = KINDS[0 if trial.raw_value is None else 1]
        self._n += 1
        stderr = "" if trial.stderr is None else f" ± {trial.stderr:.2g}"
        return (
            *(self._n, trial.number, trial.n_seeds, *_band(trial), *_band(self.best)),
            *(self.n_seeds, self.n_full_seeds),
            *(axis.place(trial.params.get(axis.name)) for axis in self.axes),
            *(stderr, kind, point_in_words(trial.params), trial.error or ""),
        )


def _band(trial: TrialResult | None) -> tuple[float, float, float]:
    """Return the value of a trial, and the value less and plus its standard error."""
    if trial is None or trial.value is None:
        return math.nan, math.nan, math.nan
    stderr = trial.stderr or 0.0
    return trial.value, trial.value - stderr, trial.value + stderr

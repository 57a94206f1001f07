"""The told trials as the columns that the page's figures draw; rows are only ever added."""

from __future__ import annotations

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

_TEXTS = ("kind", "stderr", "params", "error")
_NUMBERS = (
    *("order", "number", "n_seeds", "value", "low", "high"),
    *("best", "best_low", "best_high", "seeds", "full_seeds"),
)


class Axis:
    """Where the values of a parameter lie on an axis: text by its place in a list."""

    def __init__(self, name: str, param: SearchParam) -> None:
        self.name = name
        #: The column of its places.
        self.column = f"at {name}"
        #: Whether places are logarithms, to base 10.
        self.log = param.log
        #: The values that have no order, by their place; None of numbers.
        self.labels: list[str] | None = None
        if param.dtype in ("str", "bool"):
            self.labels = [str(value) for value in param.allowed or ()]
        self.low, self.high = math.inf, -math.inf

    def place(self, value: ParamValue) -> float:
        """Return where a value lies; NaN if it can't be shown."""
        if self.labels is not None:
            if str(value) not in self.labels:  # a case of a sweep may be outside of the space
                self.labels.append(str(value))
            at = float(self.labels.index(str(value)))
        elif isinstance(value, str):
            return math.nan
        elif self.log:
            at = math.log10(value) if value > 0 else math.nan
        else:
            at = float(value)
        if math.isfinite(at):
            self.low, self.high = min(self.low, at), max(self.high, at)
        return at

    def words(self, place: float) -> str:
        """Return the value at a place."""
        if self.labels is not None:
            return self.labels[round(place)]
        return f"{10**place if self.log else place:.4g}"


class TrialColumns:
    """The trials in the order in which they came; a thread may read while another one adds."""

    def __init__(self, space: ParameterSpace, direction: str, n_plan: int) -> None:
        self.axes = [Axis(name, param) for name, param in space.items()]
        self.best: TrialResult | None = None
        self.sign = -1.0 if direction == "maximize" else 1.0
        #: How many rows are whole.
        self.n = 0
        self._n_plan = n_plan
        names = (*_NUMBERS, *_TEXTS, *(axis.column for axis in self.axes))
        self._columns: dict[str, list[Any]] = {name: [] for name in names}

    def add(self, trials: Sequence[TrialResult]) -> None:
        """Add trials that were told."""
        for trial in trials:
            for name, value in self._row(trial).items():
                self._columns[name].append(value)
            self.n += 1

    def rows(self, begin: int = 0) -> dict[str, Any]:
        """Return the columns from a row on."""
        n = self.n
        taken = {name: column[begin:n] for name, column in self._columns.items()}
        return {
            name: column if name in _TEXTS else np.array(column, dtype=float)
            for name, column in taken.items()
        }

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers."""
        return np.array(self._columns[name][: self.n], dtype=float)

    def words(self, rows: Sequence[int]) -> list[str]:
        """Return trials in words, by their rows."""
        numbers, params = self._columns["number"], self._columns["params"]
        return [f"trial {numbers[row]}: {params[row]}" for row in rows]

    @property
    def n_seeds(self) -> int:
        """Seeds of all trials together."""
        return self._columns["seeds"][self.n - 1] if self.n else 0

    @property
    def n_full_seeds(self) -> int:
        """How many they would be if each trial had the whole plan."""
        return self._columns["full_seeds"][self.n - 1] if self.n else 0

    def _row(self, trial: TrialResult) -> dict[str, Any]:
        value = math.nan if trial.value is None else trial.value
        is_better = self.best is None or self.sign * value < self.sign * (self.best.value or 0.0)
        if trial.value is not None and is_better:
            self.best = trial
        best, best_stderr = math.nan, 0.0
        if self.best is not None and self.best.value is not None:
            best, best_stderr = self.best.value, self.best.stderr or 0.0
        stderr, ended = trial.stderr or 0.0, trial.value is not None
        kind = KINDS[2] if not ended else KINDS[0] if trial.raw_value is None else KINDS[1]
        return {
            "order": self.n + 1,
            "number": trial.number,
            "n_seeds": trial.n_seeds,
            "value": value,
            "low": value - stderr,
            "high": value + stderr,
            "stderr": "" if trial.stderr is None else f" ± {trial.stderr:.2g}",
            "kind": kind,
            "params": point_in_words(trial.params),
            "error": trial.error or "",
            "best": best,
            "best_low": best - best_stderr,
            "best_high": best + best_stderr,
            "seeds": self.n_seeds + trial.n_seeds,
            "full_seeds": self.n_full_seeds + (self._n_plan if ended else 0),
            **{
                axis.column: axis.place(trial.params[axis.name])
                if axis.name in trial.params
                else math.nan
                for axis in self.axes
            },
        }

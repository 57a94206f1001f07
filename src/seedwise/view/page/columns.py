"""The told trials as the columns that the page's figures draw; rows are only ever added."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedwise.model.space import ParameterSpace, ParamValue, SearchParam
from seedwise.model.trials import TrialResult, TrialState
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
        self.labels = None
        if param.dtype in ("str", "bool"):
            self.labels = [str(value) for value in param.allowed or ()]
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


_NO_TRIAL = TrialResult(0, {}, None, None, 0, TrialState.FAIL, 0.0)
_TEXTS = ("kind", "stderr", "params", "error")


class TrialColumns:
    """The trials in the order in which they came; a thread may read while another one adds."""

    def __init__(self, space: ParameterSpace, direction: str, n_plan: int) -> None:
        self.axes = [Axis(name, param) for name, param in space.items()]
        self.best: TrialResult | None = None
        self.sign = -1.0 if direction == "maximize" else 1.0
        #: Seeds of all trials together, and how many they would be if each had the whole plan.
        self.n_seeds = self.n_full_seeds = 0
        self._n_plan, self._n = n_plan, 0
        #: The columns, all as long; replaced as a whole, so that another thread may read them.
        self.table = _arrays([self._row(_NO_TRIAL)], 0)

    def add(self, trials: Sequence[TrialResult]) -> None:
        """Add trials that were told."""
        rows: list[dict[str, Any]] = []
        for trial in trials:
            value, best = trial.value, self.best
            if value is not None:
                if best is None or self.sign * value < self.sign * (best.value or 0.0):
                    self.best = trial
                self.n_seeds += trial.n_seeds
                self.n_full_seeds += self._n_plan
            self._n += 1
            rows.append(self._row(trial))
        if rows:
            new = _arrays(rows, len(rows))
            self.table = {
                name: np.concatenate([had, new[name]]) for name, had in self.table.items()
            }

    def rows(self, begin: int, end: int) -> dict[str, NDArray[Any]]:
        """Return the columns from a row up to another."""
        return {name: column[begin:end] for name, column in self.table.items()}

    def _row(self, trial: TrialResult) -> dict[str, Any]:
        value, low, high = _band(trial)
        best, best_low, best_high = _band(self.best)
        kind = KINDS[0 if trial.raw_value is None else 1] if trial.value is not None else KINDS[2]
        return {
            "order": self._n,
            "number": trial.number,
            "n_seeds": trial.n_seeds,
            "value": value,
            "low": low,
            "high": high,
            "stderr": "" if trial.stderr is None else f" ± {trial.stderr:.2g}",
            "kind": kind,
            "params": point_in_words(trial.params),
            "error": trial.error or "",
            "best": best,
            "best_low": best_low,
            "best_high": best_high,
            "seeds": self.n_seeds,
            "full_seeds": self.n_full_seeds,
            **{axis.column: axis.place(trial.params.get(axis.name)) for axis in self.axes},
        }


def _arrays(rows: Sequence[dict[str, Any]], n: int) -> dict[str, NDArray[Any]]:
    """Return the first rows as columns."""
    return {
        name: np.array([row[name] for row in rows[:n]], dtype=object if name in _TEXTS else float)
        for name in rows[0]
    }


def _band(trial: TrialResult | None) -> tuple[float, float, float]:
    """Return the value of a trial, and the value less and plus its standard error."""
    if trial is None or trial.value is None:
        return math.nan, math.nan, math.nan
    stderr = trial.stderr or 0.0
    return trial.value, trial.value - stderr, trial.value + stderr

"""What figures are drawn from: the trials of a result, and the axes of its parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.folder.directory import RunDirectory
from seedwise.model.options.race import race_from_json
from seedwise.model.racing import looks
from seedwise.model.space import ParamValue, SearchParam, space_from_json
from seedwise.results.tables import TrialsResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_CELLS = 100  # of a surface, along a parameter
_LONG_LABELS = 24  # characters of all categories, above which they are turned


class Trials:
    """The told trials of a result; NoCompleteTrialError if none of them is complete."""

    def __init__(self, result: TrialsResult) -> None:
        best, found, trials = result.best_trial, result.validation, result.trials
        self.result = result
        self.number = np.array([trial.number for trial in trials])
        #: NaN for those that failed, and of errors where there is none.
        self.value: Floats = np.array([trial.value for trial in trials], float)
        self.stderr: Floats = np.array([trial.stderr for trial in trials], float)
        self.n_seeds = np.array([trial.n_seeds for trial in trials])
        self.is_complete = ~np.isnan(self.value)
        self.is_dropped = np.array([trial.raw_value is not None for trial in trials])
        #: -1 if the highest value is best: times the value, the lowest is.
        self.sign = -1.0 if result.direction == "maximize" else 1.0
        won = best.number if found is None or found.number is None else found.number
        #: Row of the trial that won the validation, or else of the best one.
        self.winner = int(np.flatnonzero(self.number == won)[0])

    @property
    def and_error(self) -> str:
        """What a legend says of error bars; nothing if there are none."""
        return " ± standard error" if np.isfinite(self.stderr).any() else ""

    def best_so_far(self) -> NDArray[np.intp]:
        """Return the row of the best trial up to each one; -1 before the first complete one."""
        badness = np.where(self.is_complete, self.sign * self.value, np.inf)
        before = np.minimum.accumulate(np.concatenate([[np.inf], badness[:-1]]))
        best: NDArray[np.intp] = np.maximum.accumulate(
            np.where(badness < before, np.arange(len(badness)), -1)
        )
        return best

    def limit(self) -> float:
        """Return up to where values are shown, if a few are far worse than that; else infinity.

        It is to be minimised, as the values times `sign` are, and so is `colour_range`.
        """
        badness = self.sign * self.value[self.is_complete]
        best, most, worst = (float(q) for q in np.quantile(badness, [0, 0.9, 1]))
        is_far = 0 < 10 * (most - best) < worst - best
        return best + 1.5 * (most - best) if is_far else math.inf

    def colour_range(self) -> tuple[float, float]:
        """Return between which values colours differ: those near the best one, which matter."""
        badness = self.sign * self.value[self.is_complete]
        best, middle, worst = (float(q) for q in np.quantile(badness, [0, 0.5, 1]))
        return best, min(worst, best + 5 * (middle - best)) if middle > best else worst

    def scales(self) -> dict[str, Scale]:
        """Return the axes of the parameters that vary; of all, if none does."""
        directory = RunDirectory(Path(self.result.run_dir))
        space = space_from_json(directory.read_meta()["parameter_space"])
        scales = {
            name: Scale(name, param, [trial.params.get(name) for trial in self.result.trials])
            for name, param in space.items()
        }
        varied = {name: one for name, one in scales.items() if len({*one.values} - {None}) > 1}
        return varied or scales

    def n_plan(self) -> int:
        """Return the number of seeds of which each trial has a part; 0 if trials have no parts."""
        options = RunDirectory(Path(self.result.run_dir)).read_meta()["options"]
        n_seeds = len(self.result.seeds)
        race = race_from_json(options.get("race", False))  # a sweep has none
        return n_seeds if looks(race, n_seeds).in_parts else 0


class Scale:
    """The axis of a parameter, from the values of the trials; None of one without it."""

    def __init__(self, name: str, param: SearchParam, values: list[Any]) -> None:
        self.name, self.values = name, values
        # A sweep may have values that are not in the space.
        there = [value for value in values if value is not None]
        if param.range is None:
            allowed = tuple(dict.fromkeys([*(param.allowed or ()), *there]))
            changes: dict[str, Any] = {"allowed": allowed}
        else:
            low, high = min([*param.range, *there]), max([*param.range, *there])
            changes = {"range": (low, high), "step": None, "log": param.log and low > 0}
        #: Its range, or choices, with all values of the trials.
        self.param = attrs.evolve(param, **changes)

    @property
    def positions(self) -> Floats:
        """Where each trial is on the axis; categories are at 0, 1, 2, ..., and None is NaN."""
        return self._at(self.values)

    @property
    def spread(self) -> Floats:
        """The positions, but trials of one category beside one another, in their order."""
        if self.param.allowed is None:
            return self.positions
        return self.positions + np.linspace(-0.3, 0.3, len(self.values))

    def cells(self) -> tuple[Floats, list[Any]]:
        """Return positions along the whole axis, and the values there."""
        if self.param.allowed is not None:
            return self._at(self.param.allowed), list(self.param.allowed)
        assert self.param.range is not None  # a parameter has one of the two
        between = np.geomspace if self.param.log else np.linspace
        along = between(*self.param.range, _CELLS)
        if self.param.dtype == "int":
            along = np.unique(along.round())
        kind = int if self.param.dtype == "int" else float
        return along, [kind(value) for value in along]

    def mark(self, ax: Axes, which: str) -> None:
        """Label the axis ``"x"`` or ``"y"`` of axes with the parameter."""
        ax.set(**{f"{which}label": self.name})
        if self.param.allowed is not None:
            labels = [str(value) for value in self.param.allowed]
            ax.set(**{f"{which}ticks": range(len(labels)), f"{which}ticklabels": labels})
            ax.set(**{f"{which}lim": (-0.5, len(labels) - 0.5)})
            if which == "x" and sum(map(len, labels)) > _LONG_LABELS:
                ax.tick_params(axis="x", labelrotation=90)
        elif self.param.log:
            ax.set(**{f"{which}scale": "log"})
        elif self.param.dtype == "int":
            ax.locator_params(axis="x" if which == "x" else "y", integer=True)

    def _at(self, values: Sequence[ParamValue | None]) -> Floats:
        if self.param.allowed is None:
            return np.array(values, float)
        places: dict[Any, float] = {value: at for at, value in enumerate(self.param.allowed)}
        return np.array([places.get(value, np.nan) for value in values])

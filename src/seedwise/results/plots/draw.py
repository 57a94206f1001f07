"""What figures are drawn from, which are trials and the axes of parameters, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import MissingExtraError, OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.model.options.race import race_from_json
from seedwise.model.racing import looks
from seedwise.model.space import ParamValue, SearchParam, space_from_json
from seedwise.results.tables import TrialsResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

#: Colours that the colour-blind can tell apart (Okabe and Ito, Color universal design, 2008). In
#: grey, markers and lines tell apart what they mark.
BLACK, BLUE, VERMILLION = "#000000", "#0072B2", "#D55E00"
GREEN, ORANGE, SKY = "#009E73", "#E69F00", "#56B4E9"

#: More points than that are pixels, also in a vector file.
MANY = 1000
_PANELS_A_ROW = 3
_SMALL: dict[str, Any] = {"frameon": False, "fontsize": "small"}

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
        #: Where the worse values are, for a bar of colours.
        self.worse_end = "max" if self.sign > 0 else "min"
        #: To be minimised; NaN for those that failed.
        self.badness: Floats = self.sign * self.value
        #: Row of the trial that won the validation, or else of the best one.
        self.winner = int(np.flatnonzero(self.number == won)[0])

    @property
    def and_error(self) -> str:
        """What a legend says of error bars; nothing if there are none."""
        return " ± standard error" if np.isfinite(self.stderr).any() else ""

    def best_so_far(self) -> NDArray[np.intp]:
        """Return the row of the best trial up to each one; -1 before the first complete one."""
        badness = np.where(self.is_complete, self.badness, np.inf)
        before = np.minimum.accumulate(np.concatenate([[np.inf], badness[:-1]]))
        is_new = np.where(badness < before, np.arange(len(badness)), -1)
        best: NDArray[np.intp] = np.maximum.accumulate(is_new)
        return best

    def limit(self) -> float:
        """Return up to which badness is shown, if a few are far worse than that; else infinity."""
        best, most, worst = np.nanquantile(self.badness, [0, 0.9, 1]).tolist()
        is_far = 0 < 10 * (most - best) < worst - best
        return best + 1.5 * (most - best) if is_far else math.inf

    def colour_range(self) -> tuple[float, float]:
        """Return between which badness colours differ: near the best one, which matters."""
        best, middle, worst = np.nanquantile(self.badness, [0, 0.5, 1]).tolist()
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
            along = np.unique(along.round().astype(int))
        return along.astype(float), along.tolist()

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


def axes(figure: str, ax: Axes | None, size: tuple[float, float] = (6.4, 4.4)) -> Axes:
    """Return axes, or new ones in a figure of their own; MissingExtraError without matplotlib."""
    return _new_axes(figure, 1, size)[0] if ax is None else ax


def panels(figure: str, scales: dict[str, Scale], ax: Any, **shared: Any) -> NDArray[Any]:
    """Return axes for each parameter, new ones or those given; OptionError for too few or many."""
    n = len(scales)
    if ax is None:
        size = max(6.4, 3.2 * min(n, _PANELS_A_ROW)), 0.6 + 2.7 * -(-n // _PANELS_A_ROW)
        return _new_axes(figure, n, size, **shared)
    given = np.ravel(np.asarray(ax, dtype=object))
    if len(given) != n:
        raise OptionError("ax", ax, f"an array of {n} axes, one for each of {', '.join(scales)}")
    return given


def _new_axes(figure: str, n: int, size: tuple[float, float], **shared: Any) -> NDArray[Any]:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingExtraError(f"plot.{figure}()", extra="plot") from None
    shape = -(-n // _PANELS_A_ROW), min(n, _PANELS_A_ROW)
    _, grid = plt.subplots(*shape, squeeze=False, layout="constrained", figsize=size, **shared)
    for spare in grid.flat[n:]:
        spare.remove()
    return np.ravel(grid)[:n]


def points(ax: Axes, x: NDArray[Any], y: NDArray[Any], **style: Any) -> None:
    """Draw points, with error bars if it is given `xerr` or `yerr`; NaN is of one without."""
    small = {"ms": 2, "mew": 0.4, "elinewidth": 0.3, "rasterized": True}
    size = small if len(x) > MANY else {"ms": 4, "elinewidth": 0.8}
    ax.errorbar(x, y, **{"ls": "none", "marker": "o", **size, **style})


def trials(ax: Axes, trials: Trials, x: NDArray[Any]) -> None:
    """Draw the values of trials, and tell those apart that failed, were dropped, or are far."""
    limit, badness = trials.limit(), trials.badness
    is_far, is_near = badness > limit, badness <= limit
    if is_far.any():
        best = (badness - np.nan_to_num(trials.stderr))[is_near].min()
        ends = trials.sign * (best - 0.05 * (limit - best)), trials.sign * limit
        ax.set_ylim(min(ends), max(ends))
    arrow, edge = ("^", 0.97) if trials.sign > 0 else ("v", 0.03)
    at_edge = {"transform": ax.get_xaxis_transform(), "zorder": 3}
    for label, rows, style in (
        (f"trial{trials.and_error}", is_near & ~trials.is_dropped, {"color": BLUE}),
        ("dropped by the race", is_near & trials.is_dropped, {"color": SKY, "mfc": "white"}),
        ("far worse", is_far, {"color": BLUE, "marker": arrow, **at_edge}),
        ("failed", np.isnan(trials.value), {"color": VERMILLION, "marker": "x", **at_edge}),
    ):
        y, error = trials.value[rows], trials.stderr[rows]
        if "transform" in style:  # at the worse edge, for want of a place
            y, error = np.full(len(y), edge), None
        if len(y):
            points(ax, x[rows], y, yerr=error, label=label, **style)


def coloured(ax: Axes, trials: Trials, x: NDArray[Any], y: Floats, **style: Any) -> Any:
    """Draw complete trials, the better the darker and above the others; return what was drawn."""
    rows = np.argsort(-trials.badness, kind="stable")
    rows = rows[~np.isnan(trials.badness + x + y)[rows]]
    size = {"s": 4, "rasterized": True} if len(rows) > MANY else {"s": 18, **style}
    return ax.scatter(x[rows], y[rows], c=trials.value[rows], **size, **colours(trials))


def colours(trials: Trials) -> dict[str, Any]:
    """Return how values become colours: the better the darker; the worst are all alike."""
    low, high = sorted(trials.sign * end for end in trials.colour_range())
    return {"cmap": "cividis" if trials.sign > 0 else "cividis_r", "vmin": low, "vmax": high}


def legend(ax: Axes) -> None:
    """Say above the axes what is what, where it hides no data."""
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, **_SMALL)


def legend_of_all(axes: NDArray[Any], is_new: bool) -> None:
    """Say it once for axes of the same kind: above a figure of our own, or on the first axes."""
    handles, labels = axes[0].get_legend_handles_labels()
    if is_new:
        place = {"loc": "outside upper left", "ncols": len(labels)}
        axes[0].figure.legend(handles, labels, **place, **_SMALL)
    else:
        axes[0].legend(**_SMALL)


def label_trials(ax: Axes, trials: Trials) -> None:
    """Label the axis of the trials' numbers."""
    ax.set_xlabel("trial")
    if len(trials.number) == 1:
        ax.set_xlim(trials.number[0] - 1, trials.number[0] + 1)
    ax.locator_params(axis="x", integer=True)


def label_loss(ax: Axes, label: str = "loss") -> None:
    """Label the loss at the left of a row of axes."""
    spec = ax.get_subplotspec()
    if spec is None or spec.is_first_col():
        ax.set_ylabel(label)

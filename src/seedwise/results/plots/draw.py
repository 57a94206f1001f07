"""Axes to draw on, and what is drawn on several figures in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import MissingExtraError, OptionError
from seedwise.results.plots.trials import Floats, Scale, Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that the colour-blind can tell apart (Okabe and Ito, Color universal design, 2008). In
#: grey, markers and lines tell apart what they mark.
BLACK, BLUE, VERMILLION = "#000000", "#0072B2", "#D55E00"
GREEN, ORANGE, SKY = "#009E73", "#E69F00", "#56B4E9"

#: More points than that are pixels, also in a vector file.
MANY = 1000
_PANELS_A_ROW = 3
_SMALL: dict[str, Any] = {"frameon": False, "fontsize": "small"}


def axes(figure: str, ax: Axes | None, size: tuple[float, float] = (6.4, 4.4)) -> Axes:
    """Return axes, or new ones in a figure of their own; MissingExtraError without matplotlib."""
    return _new_axes(figure, 1, size)[0] if ax is None else ax


def panels(figure: str, scales: dict[str, Scale], ax: Any, **shared: Any) -> NDArray[Any]:
    """Return axes for each parameter, new ones or those given; OptionError for too few or many.

    `shared` is what new axes share, such as ``sharey``.
    """
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
    limit, badness = trials.limit(), trials.sign * trials.value
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
        if not rows.any():
            continue
        if "transform" in style:  # at the worse edge, for want of a place
            points(ax, x[rows], np.full(rows.sum(), edge), label=label, **style)
        else:
            error = trials.stderr[rows]
            points(ax, x[rows], trials.value[rows], yerr=error, label=label, **style)


def coloured(ax: Axes, trials: Trials, x: NDArray[Any], y: Floats, **style: Any) -> Any:
    """Draw complete trials, the better the darker and above the others; return what was drawn."""
    badness = trials.sign * trials.value
    rows = np.argsort(-badness, kind="stable")
    rows = rows[~np.isnan(badness + x + y)[rows]]
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

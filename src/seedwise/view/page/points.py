"""The figures of points in many dimensions: parallel coordinates, and a heat map of two."""

from __future__ import annotations

import math

import numpy as np
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, HoverTool, LinearColorMapper
from numpy.typing import NDArray

from seedwise.view.page.columns import Axis, TrialColumns
from seedwise.view.page.figures import GREEN, GREY, label_axis, new_figure

_MOST_LINES = 100
_MOST_CELLS = 30

_PALETTE = "Viridis256"


class Parallel:
    """The best trials as lines across the parameters, the best of them the strongest."""

    def __init__(self, columns: TrialColumns) -> None:
        names = [*(axis.name for axis in columns.axes), "loss"]
        ranges = {"x_range": (-0.45, len(names) - 0.55), "y_range": (-0.12, 1.12)}
        made = new_figure(f"The best trials, up to {_MOST_LINES}", "", "", **ranges)
        self._lines = ColumnDataSource({"xs": [], "ys": [], "alpha": [], "words": []})
        self._ends = ColumnDataSource({"x": [], "y": [], "words": [], "offset": []})
        look = {"color": GREEN, "alpha": "alpha", "width": 1.5}
        lines = made.multi_line("xs", "ys", source=self._lines, **look)
        made.text(
            "x",
            "y",
            text="words",
            y_offset="offset",
            source=self._ends,
            text_color=GREY,
            text_font_size="11px",
            text_align="center",
            text_baseline="middle",
        )
        made.add_tools(HoverTool(renderers=[lines], tooltips=[("", "@words")]))
        made.yaxis.visible = made.ygrid.visible = False
        made.xaxis.ticker = FixedTicker(ticks=list(range(len(names))))
        made.xaxis.major_label_overrides = dict(enumerate(names))
        self.figure = made

    def update(self, columns: TrialColumns) -> None:
        """Show the trials that are the best by now."""
        values = columns.numbers("value")
        order = np.argsort(columns.sign * values, kind="stable")  # NaN goes last
        best = order[: min(_MOST_LINES, int(np.isfinite(values).sum()))]
        if not len(best):
            return
        places, ends = [], []
        for axis in columns.axes:
            places.append(_scaled(columns.numbers(axis.column)[best], axis.low, axis.high))
            whole = math.isfinite(axis.low)
            ends.append([axis.words(at) if whole else "" for at in (axis.low, axis.high)])
        losses = values[best]
        places.append(_scaled(losses, losses.min(), losses.max()))
        ends.append([f"{losses.min():.4g}", f"{losses.max():.4g}"])
        ys = np.array(places).T[::-1]  # the best is drawn last, on top
        rows = best[::-1]
        self._lines.data = {
            "xs": [list(range(len(places)))] * len(rows),
            "ys": ys.tolist(),
            "alpha": np.linspace(0.08, 1.0, len(rows)) if len(rows) > 1 else [1.0],
            "words": columns.words(rows.tolist()),
        }
        self._ends.data = {
            "x": np.repeat(np.arange(len(places)), 2),
            "y": np.tile([0.0, 1.0], len(places)),
            "offset": np.tile([12.0, -12.0], len(places)),
            "words": [word for pair in ends for word in pair],
        }


class HeatMap:
    """The mean loss of a sweep's trials by two parameters, which are chosen."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.axes = [x, y]
        made = new_figure("Mean loss by two parameters", x.name, y.name, height=380)
        made.grid.visible = False
        self._cells = ColumnDataSource(
            {name: [] for name in ("left", "right", "bottom", "top", "mean", "n", "x", "y")},
            name="cells",
        )
        self._colours = LinearColorMapper(palette=_PALETTE, nan_color=GREY)
        cells = made.quad(
            left="left",
            right="right",
            bottom="bottom",
            top="top",
            source=self._cells,
            line_color=None,
            fill_color={"field": "mean", "transform": self._colours},
        )
        shown = [("mean loss", "@mean{0.######}"), ("trials", "@n"), ("x", "@x"), ("y", "@y")]
        made.add_tools(HoverTool(renderers=[cells], tooltips=shown))
        bar = ColorBar(
            color_mapper=self._colours,
            major_label_text_color=GREY,
            background_fill_color=None,
            width=12,
        )
        made.add_layout(bar, "right")
        self.figure = made

    def update(self, columns: TrialColumns) -> None:
        """Show the trials that are told by now."""
        values = columns.numbers("value")
        x, y = self.axes
        at_x, at_y = (columns.numbers(axis.column) for axis in self.axes)
        shown = np.isfinite(values) & np.isfinite(at_x) & np.isfinite(at_y)
        for axis, shown_axis in zip(
            self.axes, (*self.figure.xaxis, *self.figure.yaxis), strict=True
        ):
            label_axis(shown_axis, axis)
        if not shown.any():
            return
        (x_edges, x_middles), (y_edges, y_middles) = _edges(at_x[shown]), _edges(at_y[shown])
        edges = (x_edges, y_edges)
        count, *_ = np.histogram2d(at_x[shown], at_y[shown], edges)
        total, *_ = np.histogram2d(at_x[shown], at_y[shown], edges, weights=values[shown])
        rows, cols = np.nonzero(count)
        mean = total[rows, cols] / count[rows, cols]
        self._colours.update(low=float(mean.min()), high=float(mean.max()))
        self._cells.data = {
            "left": x_edges[rows],
            "right": x_edges[rows + 1],
            "bottom": y_edges[cols],
            "top": y_edges[cols + 1],
            "mean": mean,
            "n": count[rows, cols],
            "x": [f"{x.name}={x.words(at)}" for at in x_middles[rows].tolist()],
            "y": [f"{y.name}={y.words(at)}" for at in y_middles[cols].tolist()],
        }


def _scaled(places: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return places from 0 to 1; in the middle, where there is only one."""
    if not high > low:
        return np.where(np.isfinite(places), 0.5, np.nan)
    return (places - low) / (high - low)


def _edges(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edges of cells, and their middles: one for each place, or of equal widths."""
    middles = np.unique(places)
    if len(middles) == 1:
        return middles[0] + np.array([-0.5, 0.5]), middles
    if len(middles) <= _MOST_CELLS:
        inner = (middles[1:] + middles[:-1]) / 2
        first, last = 2 * middles[0] - inner[0], 2 * middles[-1] - inner[-1]
        return np.concatenate([[first], inner, [last]]), middles
    edges = np.linspace(middles[0], middles[-1], _MOST_CELLS + 1)
    return edges, (edges[1:] + edges[:-1]) / 2

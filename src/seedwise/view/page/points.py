"""The figures of points in many dimensions: parallel coordinates, and a heat map of two."""

import numpy as np
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, HoverTool, LinearColorMapper
from numpy.typing import NDArray

from seedwise.view.page.columns import Axis, TrialColumns
from seedwise.view.page.figures import GREEN, GREY, label_axis, new_figure

_MOST_LINES = 100
_MOST_CELLS = 30


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
        place = {"y_offset": "offset", "text_align": "center", "text_baseline": "middle"}
        look = {"text_color": GREY, "text_font_size": "11px"}
        made.text("x", "y", text="words", source=self._ends, **place, **look)
        made.add_tools(HoverTool(renderers=[lines], tooltips=[("", "@words")]))
        made.yaxis.visible = made.ygrid.visible = False
        made.xaxis.ticker = FixedTicker(ticks=list(range(len(names))))
        made.xaxis.major_label_overrides = dict(enumerate(names))
        self.figure = made

    def update(self, columns: TrialColumns) -> None:
        """Show the trials that are the best by now."""
        rows = columns.table
        order = np.argsort(columns.sign * rows["value"], kind="stable")  # NaN goes last
        best = order[: min(_MOST_LINES, int(np.isfinite(rows["value"]).sum()))][::-1]
        if not len(best):
            return
        losses = rows["value"][best]
        places = [_scaled(rows[one.column][best], one.low, one.high) for one in columns.axes]
        ends = [[one.words(at) for at in (one.low, one.high)] for one in columns.axes]
        low, high = float(losses.min()), float(losses.max())
        places, ends = (
            [*places, _scaled(losses, low, high)],
            [*ends, [f"{low:.4g}", f"{high:.4g}"]],
        )
        n_axes = len(places)
        self._lines.data = {
            "xs": [list(range(n_axes))] * len(best),
            "ys": np.array(places).T.tolist(),
            "alpha": np.linspace(1.0, 0.08, len(best))[::-1],  # the best is on top
            "words": [f"trial {rows['number'][row]:.0f}: {rows['params'][row]}" for row in best],
        }
        self._ends.data = {
            "x": np.repeat(np.arange(n_axes), 2),
            "y": np.tile([0.0, 1.0], n_axes),
            "offset": np.tile([12.0, -12.0], n_axes),
            "words": [word for pair in ends for word in pair],
        }


class HeatMap:
    """The mean loss of a sweep's trials by two parameters, which are chosen."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.axes = [x, y]
        self.figure = made = new_figure("Mean loss by two parameters", "", "", height=380)
        made.grid.visible = False
        sides = {name: name for name in ("left", "right", "bottom", "top")}
        self._cells = ColumnDataSource(
            {name: [] for name in (*sides, "mean", "n", "at")}, name="cells"
        )
        self._colours = LinearColorMapper(palette="Viridis256")
        fill = {"field": "mean", "transform": self._colours}
        cells = made.quad(**sides, source=self._cells, line_color=None, fill_color=fill)
        shown = [("mean loss", "@mean{0.######}"), ("cases", "@n"), ("at", "@at")]
        made.add_tools(HoverTool(renderers=[cells], tooltips=shown))
        made.add_layout(ColorBar(color_mapper=self._colours), "right")

    def update(self, columns: TrialColumns) -> None:
        """Show the trials that are told by now."""
        x, y = self.axes
        label_axis(self.figure.xaxis[0], x)
        label_axis(self.figure.yaxis[0], y)
        values, at_x, at_y = (columns.table[name] for name in ("value", x.column, y.column))
        shown = np.isfinite(values) & np.isfinite(at_x) & np.isfinite(at_y)
        if not shown.any():
            return
        (x_edges, x_middles), (y_edges, y_middles) = _edges(at_x[shown]), _edges(at_y[shown])
        cells, edges = (at_x[shown], at_y[shown]), (x_edges, y_edges)
        count = np.histogram2d(*cells, edges)[0]
        i, j = np.nonzero(count)
        mean = np.histogram2d(*cells, edges, weights=values[shown])[0][i, j] / count[i, j]
        self._colours.update(low=float(mean.min()), high=float(mean.max()))
        middles = zip(x_middles[i].tolist(), y_middles[j].tolist(), strict=True)
        self._cells.data = {
            "left": x_edges[i],
            "right": x_edges[i + 1],
            "bottom": y_edges[j],
            "top": y_edges[j + 1],
            "mean": mean,
            "n": count[i, j],
            "at": [f"{x.name}={x.words(at)}, {y.name}={y.words(up)}" for at, up in middles],
        }


def _scaled(places: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return places from 0 to 1; in the middle, where there is only one."""
    return (places - low) / (high - low) if high > low else places - low + 0.5


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

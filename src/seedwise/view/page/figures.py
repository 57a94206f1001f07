"""The figures of a page."""

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh import models
from bokeh.plotting import figure
from bokeh.transform import dodge, factor_cmap, factor_mark
from numpy.typing import NDArray

from seedwise.view.page.feed import KINDS, MOST_ROWS, Axis, Feed, TrialColumns, TrialsFeed

# Colours that are told apart by the colour-blind, on white and on black (Okabe and Ito).
BLUE, ORANGE, RED, GREEN, GREY = "#2f8fd0", "#e69f00", "#d55e00", "#009e73", "#888888"
_COLOURS, _MARKERS = (BLUE, ORANGE, RED), ("circle", "triangle", "x")
_HOVER = [
    *(("trial", "@number"), ("value", "@value{0.######}@stderr"), ("seeds", "@n_seeds")),
    ("at", "@params"),
]

# The worst loss hides the others if it is so many times as far from the best as the middle one.
_FAR = 10

_MOST_SENT = 1000
_MOST_LINES = 100
_MOST_CELLS = 30

_TICKS = "return labels ? labels[tick] ?? '' : +(log ? 10 ** tick : tick).toPrecision(4)"


def new_figure(title: str, x: str, y: str, **more: Any) -> Any:
    """Return a figure; the page's theme says how it looks."""
    tools = {"tools": "pan,box_zoom,wheel_zoom,reset,save", "active_scroll": None}
    return figure(title=title, x_axis_label=x, y_axis_label=y, **tools, **more)


class TrialSource:
    """The trials in the browser; what is new is sent, and nothing again."""

    def __init__(self, feed: TrialsFeed) -> None:
        self._feed, self._columns = feed, feed.columns
        rows = self._columns.rows(0, _MOST_SENT)
        self._n = len(rows["order"])
        self.source = models.ColumnDataSource(rows, name="trials")

    @property
    def is_behind(self) -> bool:
        """Whether there is more to send."""
        columns = self._feed.columns
        return columns is not self._columns or self._n < len(columns.table)

    def update(self) -> None:
        """Send what is new, in parts, as the event loop must not be blocked for long."""
        if self._feed.columns is not self._columns:
            self._columns, self._n = self._feed.columns, 0
            self.source.data = self._columns.rows(0, 0)
        rows = self._columns.rows(self._n, self._n + _MOST_SENT)
        self.source.stream(rows, rollover=MOST_ROWS)
        self._n += len(rows["order"])


class LossRange:
    """The range of the losses that the figures show."""

    #: All of them or the better half, or the half where others are so far off that they hide it.
    CHOICES = ("automatic", "all", "the better half")

    def __init__(self) -> None:
        self.range = models.Range1d(0, 1)
        self.choice = self.CHOICES[0]
        self._is_for = (0.0, 1.0)

    def update(self, columns: TrialColumns) -> None:
        """Follow the trials, unless nothing changed: who looks may have zoomed."""
        values = columns.sign * columns.table["value"]
        values = columns.sign * np.sort(values[np.isfinite(values)])
        if not len(values):
            return
        best, middle, worst = values[0], values[len(values) // 2], values[-1]
        band = [float(columns.table[name][-1]) for name in ("best_low", "best_high")]
        is_half = self.choice == self.CHOICES[2]
        if self.choice == self.CHOICES[0]:
            is_half = abs(worst - best) > _FAR * abs(middle - best)
        ends = best, middle if is_half else worst, *band
        low, high = min(ends), max(ends)
        if (low, high) != self._is_for:
            self._is_for = low, high
            margin = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
            shown = {"start": low - margin, "end": high + margin}
            self.range.update(**shown, **{f"reset_{name}": end for name, end in shown.items()})


def history(source: models.ColumnDataSource, losses: LossRange, noun: str) -> Any:
    """Return the figure of all trials in their order, and of the best so far."""
    made = new_figure(f"Best so far, and all {noun}s", f"{noun}s told", "loss", height=380)
    made.add_layout(models.Legend(), "above")  # where it hides no point
    made.y_range, made.extra_y_ranges = losses.range, {"edge": models.Range1d(0, 1)}
    # Bars: without a point, Bokeh's area of steps is drawn for ever.
    bars = {"bottom": "best_low", "top": "best_high", "line_color": None, "fill_alpha": 0.25}
    made.vbar(dodge("order", 0.5), width=1, **bars, source=source, fill_color=GREEN)
    points = _points(made, "order", source, legend_field="kind")
    only_failed = models.CDSView(filter=models.GroupFilter(column_name="kind", group=KINDS[-1]))
    look = {"marker": _MARKERS[-1], "size": 8, "color": RED, "y_range_name": "edge"}
    failed = made.scatter("order", 0.03, source=source, view=only_failed, **look)
    look = {"mode": "after", "color": GREEN, "width": 2, "legend_label": "best"}
    made.step("order", "best", source=source, **look)
    made.add_tools(models.HoverTool(renderers=[points], tooltips=_HOVER))
    made.add_tools(models.HoverTool(renderers=[failed], tooltips=[*_HOVER, ("error", "@error")]))
    return made


def _points(made: Any, x: str, source: models.ColumnDataSource, **more: Any) -> Any:
    """Draw the trials with their error bars."""
    look = {"source": source, "color": factor_cmap("kind", _COLOURS, KINDS)}
    made.segment(x, "low", x, "high", alpha=0.4, **look)
    marker = factor_mark("kind", _MARKERS, KINDS)
    return made.scatter(x, "value", marker=marker, size=6, alpha=0.8, **look, **more)


class Slice:
    """The losses against one parameter, which is chosen."""

    def __init__(self, source: models.ColumnDataSource, losses: LossRange, axis: Axis) -> None:
        self.figure = made = new_figure("Loss against a parameter", axis.name, "loss")
        made.y_range = losses.range
        points = _points(made, axis.column, source)
        made.add_tools(models.HoverTool(renderers=[points], tooltips=_HOVER))
        self.show(axis)

    def show(self, axis: Axis) -> None:
        """Show another parameter."""
        bars, points = (one.glyph for one in self.figure.renderers)
        bars.x0 = bars.x1 = points.x = axis.column
        label_axis(self.figure.xaxis[0], axis)


def label_axis(shown: Any, axis: Axis) -> None:
    """Have an axis of a figure say the values of a parameter."""
    labels = {"labels": axis.labels, "log": axis.log}
    shown.axis_label = axis.name
    shown.formatter = models.CustomJSTickFormatter(args=labels, code=_TICKS)
    shown.ticker = models.BasicTicker() if axis.labels is None else [*range(len(axis.labels))]


def seeds(source: models.ColumnDataSource) -> Any:
    """Return the figure of the seeds used, beside those that full trials would take."""
    made = new_figure("Seeds used", "trials told", "seeds")
    made.add_layout(models.Legend(), "above")
    full = {"color": GREY, "dash": "dashed", "legend_label": "full trials"}
    made.line("order", "full_seeds", source=source, **full)
    made.line("order", "seeds", source=source, color=BLUE, width=2, legend_label="used")
    return made


class Parallel:
    """The best trials as lines across the parameters, the best of them the strongest."""

    def __init__(self, columns: TrialColumns) -> None:
        names = [*(axis.name for axis in columns.axes), "loss"]
        ranges = {"x_range": (-0.45, len(names) - 0.55), "y_range": (-0.12, 1.12)}
        made = new_figure(f"The best trials, up to {_MOST_LINES}", "", "", **ranges)
        self._lines = models.ColumnDataSource({"xs": [], "ys": [], "alpha": [], "words": []})
        self._ends = models.ColumnDataSource({"x": [], "y": [], "words": [], "offset": []})
        look = {"color": GREEN, "alpha": "alpha", "width": 1.5}
        lines = made.multi_line("xs", "ys", source=self._lines, **look)
        place = {"y_offset": "offset", "text_align": "center", "text_baseline": "middle"}
        look = {"text_color": GREY, "text_font_size": "11px"}
        made.text("x", "y", text="words", source=self._ends, **place, **look)
        made.add_tools(models.HoverTool(renderers=[lines], tooltips=[("", "@words")]))
        made.yaxis.visible = made.ygrid.visible = False
        made.xaxis.ticker = [*range(len(names))]
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
        low, high = float(losses.min()), float(losses.max())
        places = [_scaled(rows[one.column][best], one.low, one.high) for one in columns.axes]
        places.append(_scaled(losses, low, high))
        words = [one.words(at) for one in columns.axes for at in (one.low, one.high)]
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
            "words": [*words, f"{low:.4g}", f"{high:.4g}"],
        }


class HeatMap:
    """The mean loss of a sweep's trials by two parameters, which are chosen."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.axes = [x, y]
        self.figure = made = new_figure("Mean loss by two parameters", "", "", height=380)
        made.grid.visible = False
        sides = {name: name for name in ("left", "right", "bottom", "top")}
        columns = dict.fromkeys((*sides, "mean", "n", "at"), ())
        self._cells = models.ColumnDataSource(columns, name="cells")
        self._colours = models.LinearColorMapper(palette="Viridis256")
        fill = {"field": "mean", "transform": self._colours}
        cells = made.quad(**sides, source=self._cells, line_color=None, fill_color=fill)
        shown = [("mean loss", "@mean{0.######}"), ("cases", "@n"), ("at", "@at")]
        made.add_tools(models.HoverTool(renderers=[cells], tooltips=shown))
        made.add_layout(models.ColorBar(color_mapper=self._colours), "right")

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
    if len(middles) > _MOST_CELLS:
        edges = np.linspace(middles[0], middles[-1], _MOST_CELLS + 1)
        return edges, (edges[1:] + edges[:-1]) / 2
    around = middles[0] + np.array([-1.0, 0.0, 1.0])
    if len(middles) > 1:
        around = np.pad(middles, 1, mode="reflect", reflect_type="odd")
    return (around[1:] + around[:-1]) / 2, middles


def workers_over_time(feed: Feed) -> tuple[Any, Callable[[], None]]:
    """Return the figure of the workers at work and the jobs that wait, and what updates it."""
    made = new_figure("Workers", "local time", "number", x_axis_type="datetime", height=240)
    made.add_layout(models.Legend(), "above")
    made.y_range.start, made.yaxis.ticker = 0, models.BasicTicker(min_interval=1)
    source = models.ColumnDataSource(name="workers")

    def update() -> None:
        times, at_work, waiting = feed.workers
        local = [at.astimezone().replace(tzinfo=None) for at in times]
        source.data = {"time": local, "at work": at_work, "jobs that wait": waiting}

    update()
    for name, colour in (("at work", BLUE), ("jobs that wait", ORANGE)):
        look = {"mode": "after", "color": colour, "width": 2, "legend_label": name}
        made.step("time", name, source=source, **look)
    return made, update

"""The figures of a page that show each trial, and the workers."""

import time
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    CDSView,
    ColumnDataSource,
    CustomJSTickFormatter,
    FixedTicker,
    GroupFilter,
    HoverTool,
    Range1d,
)
from bokeh.plotting import figure
from bokeh.transform import dodge, factor_cmap, factor_mark

from seedwise.view.page.columns import KINDS, Axis, TrialColumns
from seedwise.view.page.feed import MOST_ROWS, TrialsFeed
from seedwise.view.page.workers import Workers

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

_TICKS = "return labels ? labels[tick] ?? '' : +(log ? 10 ** tick : tick).toPrecision(4)"


def new_figure(title: str, x: str, y: str, **more: Any) -> Any:
    """Return a figure; the page's theme says how it looks."""
    tools = {"tools": "pan,box_zoom,wheel_zoom,reset,save", "active_scroll": None}
    return figure(title=title, x_axis_label=x, y_axis_label=y, **tools, **more)


def _legend_above(made: Any) -> Any:
    """Put the legend of a figure where it hides no point."""
    legend = made.legend[0]
    made.center.remove(legend)
    made.add_layout(legend, "above")
    return made


class TrialSource:
    """The trials in the browser; what is new is sent, and nothing again."""

    def __init__(self, feed: TrialsFeed) -> None:
        self._feed, self._columns = feed, feed.columns
        rows = self._columns.rows(0, _MOST_SENT)
        self._n = len(rows["order"])
        self.source = ColumnDataSource(rows, name="trials")

    @property
    def is_behind(self) -> bool:
        """Whether there is more to send."""
        columns = self._feed.columns
        return columns is not self._columns or self._n < len(columns.table["order"])

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
        self.range = Range1d(0, 1)
        self.choice = self.CHOICES[0]
        self._is_for = (0.0, 1.0)

    def update(self, columns: TrialColumns) -> None:
        """Follow the trials, unless nothing changed: who looks may have zoomed."""
        values = columns.sign * columns.table["value"]
        values = columns.sign * np.sort(values[np.isfinite(values)])
        if not len(values):
            return
        best, middle, worst = values[0], values[len(values) // 2], values[-1]
        is_half = self.choice == self.CHOICES[2]
        if self.choice == self.CHOICES[0]:
            is_half = abs(worst - best) > _FAR * abs(middle - best)
        low, high = sorted((best, middle if is_half else worst))
        if (low, high) != self._is_for:
            self._is_for = low, high
            margin = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
            ends = {"start": low - margin, "end": high + margin}
            self.range.update(**ends, **{f"reset_{name}": end for name, end in ends.items()})


def history(source: ColumnDataSource, losses: LossRange, noun: str) -> Any:
    """Return the figure of all trials in their order, and of the best so far."""
    made = new_figure(f"Best so far, and all {noun}s", f"{noun}s told", "loss", height=380)
    made.y_range, made.extra_y_ranges = losses.range, {"edge": Range1d(0, 1)}
    # Bars: without a point, Bokeh's area of steps is drawn for ever.
    bars = {"bottom": "best_low", "top": "best_high", "line_color": None, "fill_alpha": 0.25}
    made.vbar(dodge("order", 0.5), width=1, **bars, source=source, fill_color=GREEN)
    points = _points(made, "order", source, legend_field="kind")
    only_failed = CDSView(filter=GroupFilter(column_name="kind", group=KINDS[-1]))
    look = {"marker": _MARKERS[-1], "size": 8, "color": RED, "y_range_name": "edge"}
    failed = made.scatter("order", 0.03, source=source, view=only_failed, **look)
    look = {"mode": "after", "color": GREEN, "width": 2, "legend_label": "best"}
    made.step("order", "best", source=source, **look)
    made.add_tools(HoverTool(renderers=[points], tooltips=_HOVER))
    made.add_tools(HoverTool(renderers=[failed], tooltips=[*_HOVER, ("error", "@error")]))
    return _legend_above(made)


def _points(made: Any, x: str, source: ColumnDataSource, **more: Any) -> Any:
    """Draw the trials with their error bars."""
    look = {"source": source, "color": factor_cmap("kind", _COLOURS, KINDS)}
    made.segment(x, "low", x, "high", alpha=0.4, **look)
    marker = factor_mark("kind", _MARKERS, KINDS)
    return made.scatter(x, "value", marker=marker, size=6, alpha=0.8, **look, **more)


class Slice:
    """The losses against one parameter, which is chosen."""

    def __init__(self, source: ColumnDataSource, losses: LossRange, axis: Axis) -> None:
        self.figure = made = new_figure("Loss against a parameter", axis.name, "loss")
        made.y_range = losses.range
        points = _points(made, axis.column, source)
        made.add_tools(HoverTool(renderers=[points], tooltips=_HOVER))
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
    shown.formatter = CustomJSTickFormatter(args=labels, code=_TICKS)
    whole = axis.labels is not None
    shown.ticker = FixedTicker(ticks=[*range(len(axis.labels or ()))]) if whole else BasicTicker()


def seeds(source: ColumnDataSource) -> Any:
    """Return the figure of the seeds used, beside those that full trials would take."""
    made = new_figure("Seeds used", "trials told", "seeds")
    full = {"color": GREY, "dash": "dashed", "legend_label": "full trials"}
    made.line("order", "full_seeds", source=source, **full)
    made.line("order", "seeds", source=source, color=BLUE, width=2, legend_label="used")
    return _legend_above(made)


class WorkersOverTime:
    """The workers at work and pending."""

    def __init__(self, workers: Workers) -> None:
        made = new_figure("Workers", "local time", "workers", x_axis_type="datetime", height=240)
        made.y_range.start, made.yaxis.ticker = 0, BasicTicker(min_interval=1)
        self._workers, self._n = workers, 0
        self._source = ColumnDataSource({"time": [], "joined": [], "pending": []})
        for name, words, colour in (("joined", "at work", BLUE), ("pending", "pending", ORANGE)):
            look = {"mode": "after", "color": colour, "width": 2, "legend_label": words}
            made.step("time", name, source=self._source, **look)
        self.figure = _legend_above(made)
        self.update()

    def update(self) -> None:
        """Show the samples that there are by now."""
        samples = self._workers.samples
        if len(samples) != self._n:
            self._n = len(samples)
            times, joined, pending = zip(*samples, strict=True)
            local = [1000 * (at + time.localtime(at).tm_gmtoff) for at in times]
            self._source.data = {"time": local, "joined": joined, "pending": pending}

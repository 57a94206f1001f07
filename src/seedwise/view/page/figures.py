"""The figures of a page; each follows the columns of the told trials."""

from __future__ import annotations

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
from bokeh.transform import factor_cmap, factor_mark

from seedwise.view.page.columns import KINDS, Axis, TrialColumns
from seedwise.view.page.feed import MOST_ROWS, TrialsFeed

# Colours that are told apart by the colour-blind, on white and on black (Okabe and Ito).
BLUE, ORANGE, RED, GREEN, GREY = "#2f8fd0", "#e69f00", "#d55e00", "#009e73", "#888888"
_COLOURS, _MARKERS = (BLUE, ORANGE, RED), ("circle", "triangle", "x")

_SIZE = {"height": 320, "min_width": 260, "sizing_mode": "stretch_width"}
_HOVER = [
    *(("trial", "@number"), ("value", "@value{0.######}@stderr"), ("seeds", "@n_seeds")),
    ("at", "@params"),
]

# In a place of its own, since a parameter may have values without an order, or on a log scale.
_FAR = 10
_TICKS = "return labels ? labels[tick] ?? '' : +(log ? 10 ** tick : tick).toPrecision(4)"


def new_figure(title: str, x: str, y: str, **more: Any) -> Any:
    """Return a figure that reads well on a light page and on a dark one."""
    made = figure(
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_scroll=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **{**_SIZE, **more},
    )
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.title.text_color = GREY
    for axis in made.axis:
        axis.axis_label_text_color = axis.major_label_text_color = GREY
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = GREY
        axis.axis_label_text_font_style = "normal"
    made.grid.grid_line_color, made.grid.grid_line_alpha = GREY, 0.25
    return made


def legend_above(made: Any) -> None:
    """Put the legend of a figure above it, where it hides no point."""
    legend = made.legend[0]
    legend.update(
        orientation="horizontal",
        background_fill_color=None,
        border_line_color=None,
        label_text_color=GREY,
        label_text_font_size="11px",
        padding=0,
        margin=0,
        spacing=8,
    )
    made.center.remove(legend)
    made.add_layout(legend, "above")


class TrialSource:
    """The trials in the browser; what is new is sent, and nothing again."""

    def __init__(self, feed: TrialsFeed) -> None:
        self._feed = feed
        self._columns = feed.columns
        rows = self._columns.rows()
        self._n = len(rows["order"])
        self.source = ColumnDataSource(rows, name="trials")

    def update(self) -> bool:
        """Send what is new; return whether there was something."""
        columns = self._feed.columns
        if columns is not self._columns:
            self._columns, self._n = columns, 0
            self.source.data = {name: column[:0] for name, column in columns.rows().items()}
        rows = columns.rows(self._n)
        n_new = len(rows["order"])
        if n_new:
            self.source.stream(rows, rollover=MOST_ROWS)
            self._n += n_new
        return n_new > 0


class LossRange:
    """The range of the losses that the figures show: all, or the better half of them."""

    def __init__(self, columns: TrialColumns) -> None:
        self.range = Range1d(0, 1)
        self._is_for: tuple[float, ...] = ()
        # Few trials far off would have all others lie on one line.
        best, middle, worst = _marks(columns) or (0.0, 0.0, 0.0)
        self.better_half = abs(worst - best) > _FAR * abs(middle - best)
        self.update(columns)

    def update(self, columns: TrialColumns) -> None:
        """Follow the trials, unless nothing changed: who looks may have zoomed."""
        marks = _marks(columns)
        if marks is None:
            return
        low, high = sorted((marks[0], marks[1 if self.better_half else 2]))
        if (low, high) != self._is_for:
            self._is_for = low, high
            margin = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
            self.range.update(
                start=low - margin,
                end=high + margin,
                reset_start=low - margin,
                reset_end=high + margin,
            )


def _marks(columns: TrialColumns) -> tuple[float, float, float] | None:
    """Return the best loss, the one in the middle, and the worst; None if there is none."""
    values = columns.sign * columns.numbers("value")
    values = columns.sign * np.sort(values[np.isfinite(values)])
    return (values[0], values[len(values) // 2], values[-1]) if len(values) else None


def history(source: ColumnDataSource, losses: LossRange, noun: str) -> Any:
    """Return the figure of all trials in their order, and of the best so far."""
    made = new_figure(f"Best so far, and all {noun}s", f"{noun}s told", "loss", height=380)
    made.y_range = losses.range
    made.extra_y_ranges = {"edge": Range1d(0, 1)}
    made.varea_step(
        "order",
        "best_low",
        "best_high",
        source=source,
        step_mode="after",
        color=GREEN,
        alpha=0.25,
    )
    points = _points(made, "order", source, legend=True)
    failed = made.scatter(
        "order",
        0.03,
        source=source,
        view=CDSView(filter=GroupFilter(column_name="kind", group=KINDS[-1])),
        y_range_name="edge",
        marker=_MARKERS[-1],
        size=8,
        color=RED,
    )
    made.step(
        "order", "best", source=source, mode="after", color=GREEN, width=2, legend_label="best"
    )
    made.add_tools(HoverTool(renderers=[points], tooltips=_HOVER))
    made.add_tools(HoverTool(renderers=[failed], tooltips=[*_HOVER, ("error", "@error")]))
    legend_above(made)
    return made


def _points(made: Any, x: str, source: ColumnDataSource, *, legend: bool = False) -> Any:
    """Draw the trials with their error bars."""
    colour = factor_cmap("kind", _COLOURS, KINDS)
    made.segment(x, "low", x, "high", source=source, color=colour, alpha=0.4)
    return made.scatter(
        x,
        "value",
        source=source,
        size=6,
        color=colour,
        marker=factor_mark("kind", _MARKERS, KINDS),
        alpha=0.8,
        **({"legend_field": "kind"} if legend else {}),
    )


class Slice:
    """The losses against one parameter, which is chosen."""

    def __init__(self, source: ColumnDataSource, losses: LossRange, axis: Axis) -> None:
        made = new_figure("Loss against a parameter", axis.name, "loss")
        made.y_range = losses.range
        points = _points(made, axis.column, source)
        made.add_tools(HoverTool(renderers=[points], tooltips=_HOVER))
        self.figure = made
        self._glyphs = [one.glyph for one in made.renderers]
        self.show(axis)

    def show(self, axis: Axis) -> None:
        """Show another parameter."""
        bars, points = self._glyphs
        bars.x0 = bars.x1 = points.x = axis.column
        label_axis(self.figure.xaxis[0], axis)


def label_axis(shown: Any, axis: Axis) -> None:
    """Have an axis of a figure say the values of a parameter."""
    shown.axis_label = axis.name
    shown.formatter = CustomJSTickFormatter(
        args={"labels": axis.labels, "log": axis.log}, code=_TICKS
    )
    whole = range(len(axis.labels)) if axis.labels is not None else None
    shown.ticker = BasicTicker() if whole is None else FixedTicker(ticks=list(whole))


def seeds(source: ColumnDataSource) -> Any:
    """Return the figure of the seeds used, beside those that full trials would take."""
    made = new_figure("Seeds used", "trials told", "seeds")
    made.line(
        "order", "full_seeds", source=source, color=GREY, dash="dashed", legend_label="full trials"
    )
    made.line("order", "seeds", source=source, color=BLUE, width=2, legend_label="used")
    legend_above(made)
    return made

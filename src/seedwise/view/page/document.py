"""The page as a Bokeh document: what it is made of, and how it follows the run."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from html import escape
from urllib.parse import quote

from bokeh.document import Document
from bokeh.models import (
    Column,
    ColumnDataSource,
    DatetimeTickFormatter,
    Div,
    Row,
    Select,
    UIElement,
)

from seedwise.view.page.columns import Axis
from seedwise.view.page.feed import EntriesFeed, Feed, TrialsFeed
from seedwise.view.page.figures import (
    BLUE,
    ORANGE,
    LossRange,
    Slice,
    TrialSource,
    history,
    legend_above,
    new_figure,
    seeds,
)
from seedwise.view.page.points import HeatMap, Parallel
from seedwise.view.page.workers import Workers

# Nothing is loaded from elsewhere; colours are the browser's own, light or dark.
_TEMPLATE = """
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<style>
  :root { color-scheme: light dark; }
  body { background: Canvas; color: CanvasText; font: 14px/1.45 system-ui, sans-serif; }
  main { box-sizing: border-box; max-width: 1500px; margin: 0 auto; padding: 12px; display: grid;
         gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
  section { min-width: 0; }
  section.wide { grid-column: 1 / -1; }
</style>
{% endblock %}
{% block contents %}
<main>
{% for root in doc.roots %}
<section class="{{ 'wide' if 'wide' in root.tags else '' }}">{{ embed(root) }}</section>
{% endfor %}
</main>
{% endblock %}
"""

_STYLE = """
:host { color: CanvasText; }
h1 { font-size: 20px; margin: 0 0 6px; }
h2 { font-size: 14px; margin: 0 0 4px; color: #888; }
a { color: LinkText; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 12px; margin: 0; }
dt, th { color: #888; font-weight: normal; text-align: left; }
dd { margin: 0; overflow-wrap: anywhere; }
.problem { color: #d55e00; }
.events { overflow-wrap: anywhere; font-size: 13px; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 2px 12px 2px 0; white-space: nowrap; }
td.error { white-space: normal; }
tr { border-bottom: 1px solid #8884; }
"""

_SELECT_STYLE = """
:host { max-width: 260px; color: CanvasText; }
.bk-input { background: Canvas; color: CanvasText; border-color: #888; appearance: auto; }
"""


class Page:
    """What a document shows of a feed."""

    def __init__(self, doc: Document, feed: Feed) -> None:
        self._doc, self._feed = doc, feed
        self._updates: list[Callable[[], None]] = []
        doc.title = f"{feed.directory.name}: study"
        doc.template = _TEMPLATE
        self._add_text(lambda: _header(feed))
        if isinstance(feed, TrialsFeed):
            self._add_trials(feed)
        elif isinstance(feed, EntriesFeed):
            self._add_text(lambda: _entries(feed))
        if feed.workers.is_live or feed.workers.samples:
            self._add_workers(feed.workers)
        self._add_text(lambda: _events(feed))

    def update(self) -> None:
        """Show what was read since the last time."""
        for update in self._updates:
            update()

    def _add(self, shown: UIElement, *selects: Select) -> None:
        """Add a figure or a text, below what there is to choose of it."""
        if selects:
            above = Row(*selects, styles={"flex-wrap": "wrap"}, sizing_mode="stretch_width")
            shown = Column(above, shown, sizing_mode="stretch_width")
        self._doc.add_root(shown)

    def _add_text(self, text: Callable[[], str]) -> None:
        div = Div(text=text(), tags=["wide"], stylesheets=[_STYLE], sizing_mode="stretch_width")
        self._add(div)

        def update() -> None:
            words = text()
            if words != div.text:
                div.text = words

        self._updates.append(update)

    def _add_trials(self, feed: TrialsFeed) -> None:
        trials, losses, axes = TrialSource(feed), LossRange(feed.columns), feed.columns.axes
        is_sweep = feed.meta["kind"] == "sweep"
        follow: list[Callable[[], None]] = [lambda: losses.update(feed.columns)]

        def choose_range(chosen: str) -> None:
            losses.better_half = chosen == _HALF
            losses.update(feed.columns)

        shown = _HALF if losses.better_half else _ALL
        which = _select("losses shown", [_ALL, _HALF], shown, choose_range)
        self._add(history(trials.source, losses, "case" if is_sweep else "trial"), which)
        if is_sweep and len(axes) > 1:
            follow.append(self._add_heat_map(feed))
        if axes:
            one = Slice(trials.source, losses, axes[0])
            self._add(one.figure, _select_axis("parameter", axes, 0, one.show))
            lines = Parallel(feed.columns)
            self._add(lines.figure)
            follow.append(lambda: lines.update(feed.columns))
        if not is_sweep:  # its cases have all seeds
            self._add(seeds(trials.source))
        for step in follow:
            step()

        def update() -> None:
            if trials.update():
                for step in follow:
                    step()

        self._updates.append(update)

    def _add_heat_map(self, feed: TrialsFeed) -> Callable[[], None]:
        axes = feed.columns.axes
        cells = HeatMap(*axes[:2])

        def choose(place: int, axis: Axis) -> None:
            cells.axes[place] = axis
            cells.update(feed.columns)

        across = _select_axis("across", axes, 0, functools.partial(choose, 0))
        up = _select_axis("up", axes, 1, functools.partial(choose, 1))
        self._add(cells.figure, across, up)
        return lambda: cells.update(feed.columns)

    def _add_workers(self, workers: Workers) -> None:
        made = new_figure("Workers", "", "workers", x_axis_type="datetime", height=220)
        made.y_range.start = 0
        made.xaxis.formatter = DatetimeTickFormatter(minutes="%H:%M", hours="%H:%M")
        source = ColumnDataSource({"time": [], "joined": [], "pending": []}, name="workers")
        for name, words, colour in (("joined", "at work", BLUE), ("pending", "pending", ORANGE)):
            made.step(
                *("time", name), source=source, mode="after", color=colour, legend_label=words
            )
        legend_above(made)
        self._add(made)
        n_shown = 0

        def update() -> None:
            nonlocal n_shown
            samples = workers.samples
            if len(samples) != n_shown:
                n_shown = len(samples)
                times, joined, pending, _ = zip(*samples, strict=True)
                local = [1000 * (at + time.localtime(at).tm_gmtoff) for at in times]
                source.data = {"time": local, "joined": joined, "pending": pending}

        update()
        self._updates.append(update)


_ALL, _HALF = "all", "the better half"


def _select(title: str, options: list[str], shown: str, choose: Callable[[str], None]) -> Select:
    made = Select(title=title, options=options, value=shown, stylesheets=[_SELECT_STYLE])
    made.on_change("value", lambda _attr, _old, new: choose(new))
    return made


def _select_axis(
    title: str, axes: list[Axis], first: int, choose: Callable[[Axis], None]
) -> Select:
    by_name = {axis.name: axis for axis in axes}
    return _select(title, [*by_name], axes[first].name, lambda name: choose(by_name[name]))


def _header(feed: Feed) -> str:
    name = escape(feed.directory.home.name)
    if feed.entry_id is not None:
        name = f'<a href="?">{name}</a> / {escape(feed.entry_id)}'
    rows = "".join(f"<dt>{escape(what)}</dt><dd>{escape(words)}</dd>" for what, words in feed.rows)
    problem = f'<p class="problem">{escape(feed.problem)}</p>' if feed.problem else ""
    return f"<h1>{name}</h1>{problem}<dl>{rows}</dl>"


def _events(feed: Feed) -> str:
    lines = "<br>".join(map(escape, feed.events))
    return f'<h2>Last events</h2><div class="events">{lines or "none"}</div>'


def _entries(feed: EntriesFeed) -> str:
    titles = ("entry", "state", "told", "best so far", "validated", "error")
    head = "".join(f"<th>{title}</th>" for title in titles)
    rows = []
    for one in feed.entries:
        link = f'<a href="?entry={quote(one.entry_id, safe="")}">{escape(one.entry_id)}</a>'
        cells = (one.state, str(one.n_told), one.best, one.validated)
        plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        error = f'<td class="error">{escape(one.error)}</td>'
        rows.append(f"<tr><td>{link}</td>{plain}{error}</tr>")
    return f'<div class="table"><table><tr>{head}</tr>{"".join(rows)}</table></div>'

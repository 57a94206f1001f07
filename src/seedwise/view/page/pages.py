"""The pages of a run as Bokeh documents: what they are made of, and how they follow the run."""

import asyncio
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers.handler import Handler
from bokeh.document import Document
from bokeh.models import Column, Div, Row, Select, UIElement
from bokeh.themes import Theme
from jinja2 import Environment, FileSystemLoader

from seedwise.errors import SeedwiseError, page_command
from seedwise.folder.directory import RunDirectory
from seedwise.results.read import entry_folders
from seedwise.view.page import figures
from seedwise.view.page.feed import Axis, EntriesFeed, Feed, TrialsFeed, open_feed

# Nothing is loaded from elsewhere; colours are the browser's own, light or dark.
_HERE = Path(__file__).parent
_FILES = Environment(autoescape=True, trim_blocks=True, loader=FileSystemLoader(_HERE))
_TEXTS = _FILES.get_template("texts.html").module
_TEMPLATE = (_HERE / "page.html").read_text(encoding="utf-8")
_STYLE = {"stylesheets": [(_HERE / "style.css").read_text(encoding="utf-8")]}
_EVERY_MS = 1000
_THEME = Theme(filename=str(_HERE / "theme.yaml"))


class Page:
    """What a document shows of a feed: nothing until it is made."""

    def __init__(self, doc: Document, feed: Feed) -> None:
        self._doc, self._feed = doc, feed
        self._updates: list[Callable[[], None]] = []

    def make(self) -> Iterator[None]:
        """Fill the document; others may have the event loop after each part."""
        doc, feed = self._doc, self._feed
        doc.title = f"{feed.entry_id or feed.directory.name}: study"
        doc.template, doc.theme = _TEMPLATE, _THEME
        self._add_text("header")
        yield
        if isinstance(feed, TrialsFeed):
            yield from self._add_trials(feed)
        elif isinstance(feed, EntriesFeed):
            self._add_text("entries")
        if any(feed.workers):
            workers, update = figures.workers_over_time(feed)
            self._add(workers)
            self._updates.append(update)
            yield
        self._add_text("events")

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

    def _add_text(self, name: str) -> None:
        text = getattr(_TEXTS, name)
        div = Div(text=text(self._feed), tags=["wide"], sizing_mode="stretch_width", **_STYLE)
        self._add(div)
        self._updates.append(lambda: div.update(text=text(self._feed)))

    def _add_trials(self, feed: TrialsFeed) -> Iterator[None]:
        trials, losses, axes = figures.TrialSource(feed), figures.LossRange(), feed.columns.axes
        by_name, is_sweep = {axis.name: axis for axis in axes}, feed.meta["kind"] == "sweep"
        follow = [losses.update]

        def choose_range(chosen: str) -> None:
            losses.choice = chosen
            losses.update(feed.columns)

        choices = {choice: choice for choice in losses.CHOICES}
        which = _select("losses shown", choices, losses.choice, choose_range)
        self._add(figures.history(trials.source, losses, "case" if is_sweep else "trial"), which)
        yield
        if is_sweep and len(axes) > 1:
            follow.append(self._add_heat_map(feed, by_name))
            yield
        if axes:
            one = figures.Slice(trials.source, losses, axes[0])
            self._add(one.figure, _select("parameter", by_name, axes[0].name, one.show))
            yield
            lines = figures.Parallel(feed.columns)
            self._add(lines.figure)
            yield
            follow.append(lines.update)
        if not is_sweep:  # its cases have all seeds
            self._add(figures.seeds(trials.source))
            yield

        for step in follow:
            step(feed.columns)

        def update() -> None:
            if trials.is_behind:
                trials.update()
                for step in follow:
                    step(feed.columns)
            if trials.is_behind:
                self._doc.add_next_tick_callback(update)

        self._updates.append(update)

    def _add_heat_map(self, feed: TrialsFeed, axes: dict[str, Axis]) -> Callable[..., None]:
        cells = figures.HeatMap(*feed.columns.axes[:2])

        def choose(place: int, axis: Axis) -> None:
            cells.axes[place] = axis
            cells.update(feed.columns)

        shown = zip(("across", "up"), cells.axes, strict=True)
        selects = [
            _select(title, axes, axis.name, functools.partial(choose, place))
            for place, (title, axis) in enumerate(shown)
        ]
        self._add(cells.figure, *selects)
        return cells.update


def _select(
    title: str, options: Mapping[str, Any], shown: str, choose: Callable[[Any], None]
) -> Select:
    made = Select(title=title, options=[*options], value=shown, **_STYLE)
    made.on_change("value", lambda _attr, _old, new: choose(options[new]))
    return made


class StudyPages(Handler):  # type: ignore[misc]
    """The pages of a run, each filled when it is opened."""

    def __init__(self, directory: RunDirectory) -> None:
        super().__init__()
        self._directory = directory
        self._feeds: dict[str, Feed] = {}
        self._shown: WeakKeyDictionary[Document, tuple[Feed, Page]] = WeakKeyDictionary()

    def application(self) -> Application:
        """Return a new Bokeh application."""
        return Application(self)

    async def end(self) -> None:
        """Show those who look the last that there is to see: the server is about to end."""
        for doc, (feed, page) in list(self._shown.items()):
            await asyncio.to_thread(feed.refresh, now=True)
            feed.problem = (
                "the workers were let go, so this page does not follow the run any more; to see "
                f"it: {page_command(self._directory.path)}"
            )

            async def update(_: Document, page: Page = page) -> None:
                page.update()

            if (session := doc.session_context) is not None:
                await session.with_locked_document(update)

    def read(self, entry: str) -> Feed:
        """Return what there is to see of an entry, or without a name of the whole run."""
        try:
            if (feed := self._feeds.get(entry)) is None:
                home = self._directory
                folder = entry_folders(home).get(entry) if entry else home
                if folder is None:
                    raise SeedwiseError(f"the run has no entry {entry!r}")
                feed = self._feeds[entry] = open_feed(folder)
        except (SeedwiseError, OSError) as error:
            return Feed(self._directory, str(error).partition("\n")[0])
        feed.refresh()
        return feed

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Fill the page that is opened, and have it follow.

        It is made in the event loop, as Dask turns off Bokeh's checks of values in all threads
        while it updates its own pages, but part by part.
        """
        asked = session_context.request.arguments.get("entry", [b""])

        async def fill(doc: Document) -> None:
            feed = await asyncio.to_thread(self.read, asked[0].decode(errors="replace"))
            page = Page(doc, feed)
            for _ in page.make():
                await asyncio.sleep(0)
            self._shown[doc] = feed, page

            async def follow() -> None:
                await asyncio.to_thread(feed.refresh)  # the event loop must not wait for a disk
                page.update()

            doc.add_periodic_callback(follow, _EVERY_MS)

        await session_context.with_locked_document(fill)  # nobody else has the document yet

    def modify_document(self, doc: Document) -> None:
        """Leave a document as it was filled."""

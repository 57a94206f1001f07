"""What is served of a run: a page of it, and of a run of entries one for each of them, too."""

import asyncio
from weakref import WeakKeyDictionary

from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers.handler import Handler
from bokeh.document import Document

from seedwise.errors import SeedwiseError, page_command
from seedwise.folder.directory import RunDirectory
from seedwise.model.events import Event
from seedwise.model.options.entries import entry_labels
from seedwise.view.page.document import Page
from seedwise.view.page.feed import Feed, open_feed
from seedwise.view.page.workers import Workers

_EVERY_MS = 1000


class StudyPages:
    """The pages of a run; as a listener it counts the workers of a run that is at work here."""

    def __init__(self, directory: RunDirectory, *, is_live: bool) -> None:
        self._directory = directory
        self._workers = Workers(is_live=is_live)
        self._feeds: dict[str, Feed] = {}
        self._shown: WeakKeyDictionary[Document, tuple[Feed, Page]] = WeakKeyDictionary()

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        self._workers(event)

    def application(self) -> Application:
        """Return a new Bokeh application."""
        return Application(_PageHandler(self))

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
            feed = self._feeds.get(entry) or open_feed(self._folder(entry), self._workers)
        except (SeedwiseError, OSError) as error:
            return Feed(self._directory, self._workers, str(error).partition("\n")[0])
        self._feeds[entry] = feed
        feed.refresh()
        return feed

    async def show(self, doc: Document, feed: Feed) -> None:
        """Fill a document, and have it follow.

        It is made in the event loop, as Dask turns off Bokeh's checks of values in all threads
        while it updates its own pages, but part by part.
        """
        page = Page(doc, feed)
        for _ in page.make():
            await asyncio.sleep(0)
        self._shown[doc] = feed, page

        async def follow() -> None:
            await asyncio.to_thread(feed.refresh)  # the event loop must not wait for a disk
            page.update()

        doc.add_periodic_callback(follow, _EVERY_MS)

    def _folder(self, entry: str) -> RunDirectory:
        home = self._directory
        if not entry:
            return home
        entries = home.read_meta()["options"].get("entry_ids", ())
        if entry not in entries:
            raise SeedwiseError(f"the run has no entry {entry!r}")
        return RunDirectory(home.entries / entry_labels(entries)[entry], home)


class _PageHandler(Handler):  # type: ignore[misc]
    """Fills the page when it is opened."""

    def __init__(self, pages: StudyPages) -> None:
        super().__init__()
        self._pages = pages

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Read the folder, and fill the page."""
        asked = session_context.request.arguments.get("entry", [b""])
        entry = asked[0].decode(errors="replace")

        async def fill(doc: Document) -> None:
            await self._pages.show(doc, await asyncio.to_thread(self._pages.read, entry))

        await session_context.with_locked_document(fill)  # nobody else has the document yet

    def modify_document(self, doc: Document) -> None:
        """Leave a document as it was filled."""

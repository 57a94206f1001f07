"""What is served of a run: a page of it, and of a run of entries one for each of them, too."""

import asyncio
from weakref import WeakKeyDictionary

from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers.handler import Handler
from bokeh.document import Document

from seedwise.errors import SeedwiseError, page_command
from seedwise.folder.directory import RunDirectory
from seedwise.results.read import entry_folders
from seedwise.view.page.document import Page
from seedwise.view.page.feed import Feed, open_feed

_EVERY_MS = 1000


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

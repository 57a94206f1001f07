"""The place where a run's work is done, once it is open."""

import collections
import contextlib
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from distributed import Client

from seedwise.errors import OptionError
from seedwise.model.status import PoolNews, PoolStatus

#: The path of the study page.
STUDY = "study"


@attrs.define(eq=False)
class Demand:
    """How many chunks a run can have in flight."""

    #: At most, in each part of its work; it begins with the first.
    parts: Sequence[int]
    #: Chunks that one worker evaluates at once.
    chunks_per_worker: int
    #: At most, in the parts that are worked on.
    now: int = attrs.field(init=False, default=attrs.Factory(lambda it: it.parts[0], True))
    _by_job: dict[Any, int] = attrs.field(init=False, factory=dict)

    def change(self, job: Any, n_chunks: int) -> None:
        """Take how many chunks a job can have in flight in the part that it begins."""
        self._by_job[job] = n_chunks
        self.now = sum(self._by_job.values())

    @property
    def n_jobs(self) -> int:
        """How many jobs are worked on."""
        return sum(n_chunks > 0 for n_chunks in self._by_job.values())

    def workers(self, most: int, part: int = 0) -> int:
        """Workers that a part of the work can keep busy, up to `most`."""
        return max(1, min(most, -(-self.parts[part] // self.chunks_per_worker)))


class Pages(Protocol):
    """What shows a run in a browser."""

    def application(self) -> Any:
        """Return a new Bokeh application."""

    async def end(self) -> None:
        """Show those who look the last that there is to see: the server is about to end."""


@attrs.frozen
class RunTag:
    """What a place is told about the run that it is for."""

    name: str
    #: What tells it from all other runs; its jobs carry it.
    run_id: str
    log_dir: Path
    #: Folder for the keys of its connections; it is made and removed with the place.
    key_dir: Path
    #: File that the id of each job is written to before it is used.
    jobs_file: Path
    #: Tells something that whoever watches the run should know.
    note: Callable[[str], None]
    #: Makes what its scheduler serves beside Dask's pages; None serves nothing.
    pages: Callable[[], Pages] | None = None
    #: What tells this driver from all others of the run; its jobs carry it, too.
    driver_id: str = attrs.field(factory=lambda: uuid.uuid4().hex[:8])

    @property
    def job_tag(self) -> str:
        """The comment of this driver's jobs; that of the run's jobs begins with its id."""
        return f"{self.run_id}.{self.driver_id}"


@attrs.define(eq=False, kw_only=True)
class Place(contextlib.AbstractContextManager["Place"]):
    """An open cluster, and how to reach it. As a context it closes in the end what is ours.

    What it says of workers holds for a cluster that was passed, whose pool is not ours.
    """

    client: Client
    description: str
    #: Chunks that it evaluates at once, when it has all the workers that it may have.
    slots: int = 1
    #: Seconds after which the workers' jobs end; None if they do not.
    walltime_s: float | None = None
    dashboard: str | None = None
    study: str | None = None
    #: Command that makes the links work from a laptop; None if it needs none.
    tunnel: str | None = None
    closing: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack, repr=False)
    chunks_out: Callable[[], int] = attrs.field(init=False, default=lambda: 0)
    depart: Callable[..., None] = attrs.field(init=False, default=lambda **_: None)
    _news: collections.deque[PoolNews] = attrs.field(init=False, factory=collections.deque)

    def __exit__(self, *_: object) -> None:
        """Close what is ours; a caller's cluster is left as it is."""
        self.closing.close()

    def check(self) -> None:
        """Mend the place; raises if it can do no work, and says why."""

    def scale(self, least: int, most: int) -> None:
        """Change the bounds of the number of workers; takes effect soon after."""
        allowed = "left to the owner of a cluster that was passed"
        raise OptionError("workers", (least, most), allowed)

    def follow(self, chunks_out: Callable[[], int], depart: Callable[..., None]) -> None:
        """Have the pool follow the chunks that are out; `depart` runs on a worker that leaves."""
        self.chunks_out, self.depart = chunks_out, depart

    def proved(self) -> None:
        """Take note that a chunk was evaluated, so that workers are known to be of use."""

    def fault(self, worker: str) -> str | None:
        """Return why a worker was lost, by its name, if that was its own doing.

        Empty if it was not, as when others cancelled its job; None while it is unknown.
        """
        del worker
        return ""

    def news(self) -> Sequence[PoolNews]:
        """Return what happened to the workers since this was last called."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def say(self, kind: str, text: str, job_id: str | None = None, *, warns: bool = False) -> None:
        """Add to what happened to the workers."""
        self._news.append(PoolNews(kind=kind, text=text, job_id=job_id, warns=warns))

    def pool(self) -> PoolStatus | None:
        """Return how many workers there are and are wanted; None of a cluster that was passed."""
        return None

    def cancel_at_once(self) -> None:
        """Cancel the jobs without waiting for anything, for a driver that ends now."""


def run_soon(
    client: Client, function: Callable[..., None], addresses: Sequence[str], **keywords: Any
) -> None:
    """Have workers call a function when they get to it; one that is lost by then does not."""

    async def call() -> None:
        await client.run(
            function, workers=[*addresses], on_error="ignore", asynchronous=True, **keywords
        )

    if addresses:
        client.loop.add_callback(call)

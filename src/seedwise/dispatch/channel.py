"""The ways of studies, or of a sweep, to the workers, and what is held back on them."""

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import attrs

from seedwise.model.events import ChunkLost
from seedwise.model.seeds import Chunk
from seedwise.model.trials import ChunkResult, FailureKind, Proposal, SeedFailure
from seedwise.worker.chunk import ChunkTask

#: A trial by its entry, its number, and the part of the work: a validation evaluates it again.
TrialKey: TypeAlias = tuple[str | None, int, str]

# Slurm is asked this long why a job ended; after that the chunk is not to blame.
_PATIENCE_S = 15.0


@attrs.frozen
class Traffic:
    """How a dispatcher sends chunks out."""

    #: Time between two looks for trials that have run for too long.
    tick_s: float
    #: How long a trial may run; None means no limit.
    running_limit_s: float | None = None
    #: Whether a trial that runs for longer is ended, and its chunks have failed.
    ends_late_trials: bool = True
    #: Takes each trial that is ended so; if none is, takes those that run for longer at each look.
    on_late: Callable[[TrialKey], None] = lambda _: None
    #: Whether short chunks of several trials share a Dask task, which then takes 0.25 s.
    packs: bool = False
    #: Returns how many chunks all workers together can evaluate at once now.
    slots: Callable[[], int] = lambda: 1
    #: How long the jobs of the workers last; None means no limit.
    walltime_s: float | None = None
    #: How long a chunk may take.
    chunk_limit_s: float = math.inf
    #: See `Blame`.
    fault: Callable[[str], str | None] = lambda _: ""
    #: Time between two looks at the cluster, unless `tick_s` is shorter.
    check_s: float = 1.0

    @property
    def pause_s(self) -> float:
        """How long `DaskDispatcher.wait` waits for a result."""
        return min(self.tick_s, self.check_s)


@attrs.frozen(eq=False)
class Order:
    """A chunk that is out, and who wants it."""

    channel: "Channel"
    task: ChunkTask

    @property
    def trial(self) -> TrialKey:
        """The trial of the chunk."""
        return self.task.entry_id, self.task.trial, self.task.part


class Dispatcher(Protocol):
    """What sends the chunks of all channels."""

    token: str
    topic: str | None

    def send(self, orders: Sequence[Order]) -> None:
        """Send out chunks of one trial."""

    def cancel(self, unwanted: Callable[[Order], bool]) -> None:
        """Forget chunks that are still out."""


@attrs.frozen(eq=False)
class Channel:
    """The way of one study, or one sweep, to the workers."""

    _dispatcher: Dispatcher
    _loss_id: str
    #: Names the tasks on the Dask dashboard.
    _loss_name: str
    _run_name: str
    _entry_id: str | None = None
    #: The part of the work, if it is not the first: it has the same trials, and other chunks.
    _part: str = ""
    #: None means no limit.
    _chunk_timeout_s: float | None = None
    _attempts_dir: str | None = None
    #: Returns how the name of a trial's folder begins, by the trial's number.
    _folder_stem: Callable[[int], str] = lambda _: ""
    on_lost: Callable[[ChunkLost], None] = lambda _: None
    #: How the keys of its tasks begin.
    key_stem: str = attrs.field(init=False)

    @key_stem.default
    def _key_stem(self) -> str:
        # Dask's dashboard groups tasks by the key's first word, which must start with a letter.
        word = re.sub(r"[^A-Za-z0-9_]", "_", self._loss_name)
        prefix = word if word[0].isalpha() else f"loss_{word}"
        stem = f"{prefix}-{self._run_name}-{self._dispatcher.token}"
        # After the token, which no name of a run or an entry can imitate.
        return f"{stem}-{self._part}" if self._part else stem

    def submit(
        self, proposal: Proposal, chunks: Sequence[Chunk], attempt: int, isolated: bool = False
    ) -> None:
        """Have chunks of a trial evaluated; those of earlier trials go first."""
        stem = self._folder_stem(proposal.number)
        orders = [
            Order(
                self,
                ChunkTask(
                    loss_id=self._loss_id,
                    trial=proposal.number,
                    params=proposal.params,
                    entry_id=self._entry_id,
                    part=self._part,
                    chunk=chunk,
                    attempt=attempt,
                    topic=self._dispatcher.topic,
                    isolated=isolated,
                    time_limit_s=self._chunk_timeout_s,
                    attempts_dir=self._attempts_dir,
                    folder_stem=stem,
                ),
            )
            for chunk in chunks
        ]
        self._dispatcher.send(orders)

    def close(self) -> None:
        """Forget all chunks that are still out."""
        self._dispatcher.cancel(lambda order: order.channel is self)

    def cancel(self, trial: int, first_chunk: int = 0) -> None:
        """Forget a trial's chunks that are still out, from `first_chunk` on."""
        self._dispatcher.cancel(
            lambda order: (
                order.channel is self
                and order.task.trial == trial
                and order.task.chunk.index >= first_chunk
            )
        )


class Blame:
    """Holds back chunks whose worker was lost, until it is known whether they are to blame.

    Each was alone in a process of its own. It may have taken down more than that process, say by
    taking memory so fast that Slurm ended the job. Or the cluster took the job away for another
    reason. Slurm tells the two apart, a moment later: see `Place.fault`.
    """

    def __init__(self, fault: Callable[[str], str | None]) -> None:
        self._fault = fault
        self._held: list[tuple[Order, str, float]] = []  # with worker and end of patience

    def __len__(self) -> int:
        """Return the number of chunks that are held back."""
        return len(self._held)

    def hold(self, order: Order, worker: str) -> None:
        """Hold back a chunk that lost the worker of this name."""
        self._held.append((order, worker, time.monotonic() + _PATIENCE_S))

    def forget(self, unwanted: Callable[[Order], bool]) -> None:
        """Drop the unwanted chunks."""
        self._held = [held for held in self._held if not unwanted(held[0])]

    def settled(self) -> tuple[list[Order], list[tuple[Order, ChunkResult]]]:
        """Release the chunks to be evaluated again, and those to blame, with their results."""
        again: list[Order] = []
        results: list[tuple[Order, ChunkResult]] = []
        held, self._held = self._held, []
        for order, worker, until_s in held:
            words = self._fault(worker)
            if words:
                results.append((order, failed(order.task, "WorkerDied", words, FailureKind.DIED)))
            elif words is not None or time.monotonic() > until_s:
                again.append(order)
            else:
                self._held.append((order, worker, until_s))
        return again, results


def failed(
    task: ChunkTask, exception_type: str, text: str, kind: FailureKind = FailureKind.LOSS
) -> ChunkResult:
    """Return what stands for the result of a chunk of which none will come."""
    message = text.partition("\n")[0]
    failure = SeedFailure(task.chunk.start, None, exception_type, message, text, kind)
    return task.result(failure=failure)

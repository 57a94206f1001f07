"""What the pool knows of a job and of its worker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import attrs

from seedwise.slurm.queue import QueuedJob

__all__ = ["Member", "Members", "PoolJob", "Queue"]


@attrs.frozen
class Member:
    """A worker that has joined.

    Attributes
    ----------
    n_tasks : int
        Tasks that it evaluates or holds.
    takes_work : bool
        Whether it is given tasks; otherwise it leaves.
    """

    n_tasks: int
    takes_work: bool


class Members(Protocol):
    """The workers that have joined."""

    def look(self) -> Mapping[str, Member]:
        """Return them, by the id of their job."""

    def leaves(self, job_id: str) -> bool:
        """Tell whether a worker has said that it leaves; it may be gone since."""

    def depart(self, job_ids: Collection[str]) -> None:
        """Have some finish what they do, and leave."""


class Queue(Protocol):
    """Slurm's queue, as far as the run's jobs go."""

    def submit(self) -> str | None:
        """Submit a job; return its id, or None if it is not said."""

    def list(self, known: Collection[str]) -> Mapping[str, QueuedJob]:
        """Return the jobs that are queued or run."""

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs."""


@attrs.define(eq=False)
class PoolJob:
    """A job of the pool.

    Attributes
    ----------
    job_id : str
        Its id.
    queued : QueuedJob or None
        What the queue said of it last.
    started_s : float or None
        When it was first seen to run.
    joined : bool
        Whether its worker has ever joined.
    member : Member or None
        Its worker, while it is there.
    joined_s, seen_s : float
        When its worker first joined, and when it was last there.
    leaving : bool
        Whether its worker finishes what it does, and leaves.
    asked_s : float
        When it was last asked to.
    cancelled : bool
        Whether we cancelled it.
    given_up : bool
        Whether that was because its worker did not come.
    doomed_looks, missing_looks : int
        How often in a row the queue said that it can't start, and did not know of it.
    """

    job_id: str
    queued: QueuedJob | None = None
    started_s: float | None = None
    joined: bool = False
    member: Member | None = None
    joined_s: float = 0.0
    seen_s: float = 0.0
    leaving: bool = False
    asked_s: float = float("inf")
    cancelled: bool = False
    given_up: bool = False
    doomed_looks: int = 0
    missing_looks: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is one of the workers that are wanted."""
        return not (self.leaving or self.cancelled)

    @property
    def is_idle(self) -> bool:
        """Whether its worker is there and has nothing to do."""
        return self.member is not None and self.member.n_tasks == 0

"""What the pool knows about a job and its worker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import attrs

from seedwise.slurm.queue import QueuedJob


@attrs.frozen
class Member:
    """A worker that has joined."""

    #: Tasks that it evaluates or holds.
    n_tasks: int
    #: Whether it gets tasks; otherwise it leaves.
    takes_work: bool


class Members(Protocol):
    """The workers that have joined."""

    def look(self) -> Mapping[str, Member]:
        """Return them by the id of their job."""

    def joined(self, job_id: str) -> bool:
        """Tell whether a worker has joined, ever; it may be gone by now."""

    def leaves(self, job_id: str) -> bool:
        """Tell whether a worker has said that it leaves; it may be gone by now."""

    def depart(self, job_ids: Collection[str]) -> None:
        """Have workers finish what they do, and leave."""


class Queue(Protocol):
    """Slurm's queue, limited to the run's jobs."""

    def submit(self) -> str | None:
        """Submit a job and return its id; None if sbatch printed no id."""

    def list(self, known: Collection[str]) -> Mapping[str, QueuedJob]:
        """Return the jobs that are queued or run."""

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs."""

    def exclude(self, nodes: Collection[str], waiting: Collection[str]) -> None:
        """Keep jobs off these nodes: those to come, and those that wait. Others are allowed."""


@attrs.define(eq=False)
class PoolJob:
    """A job of the pool."""

    job_id: str
    #: What the queue last said about it.
    queued: QueuedJob | None = None
    #: When it was first seen running.
    started_s: float | None = None
    #: Whether its worker has ever joined.
    joined: bool = False
    #: Its worker; None while it is not there.
    member: Member | None = None
    #: When its worker first joined, and when it was last there.
    joined_s: float = 0.0
    seen_s: float = 0.0
    #: Whether its worker finishes what it does, and then leaves.
    leaving: bool = False
    #: When its worker was last asked to leave.
    asked_s: float = float("inf")
    #: Whether we cancelled it.
    cancelled: bool = False
    #: Whether that was because its worker did not join.
    given_up: bool = False
    #: How often in a row the queue said that it can't start, or did not list it.
    doomed_looks: int = 0
    missing_looks: int = 0

    @property
    def counts(self) -> bool:
        """Whether it counts as one of the workers that are wanted."""
        return not (self.leaving or self.cancelled)

    @property
    def is_idle(self) -> bool:
        """Whether its worker is there and has nothing to do."""
        return self.member is not None and self.member.n_tasks == 0

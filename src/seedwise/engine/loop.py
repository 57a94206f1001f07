"""The one loop of a driver: results in, to the engine that waits for them, until all are done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from seedwise.engine.engine import Engine
from seedwise.model.trials import ChunkResult


class Dispatcher(Protocol):
    """Where results come from."""

    def wait(self) -> Sequence[tuple[Any, ChunkResult]]:
        """Wait for results, each with the channel that its chunk went out by."""


class Job(Protocol):
    """The work of one engine."""

    def open(self) -> tuple[Any, Engine]:
        """Begin; return the channel by which its chunks go out, and the engine."""

    def close(self, error: Exception | None) -> None:
        """End; with an error, raise it to end all jobs, or return to leave the others at work."""


def work_through(dispatcher: Dispatcher, jobs: Iterable[Job], at_once: int) -> None:
    """Have jobs done, so many at once, in one thread.

    Parameters
    ----------
    dispatcher : Dispatcher
        Where results come from.
    jobs : iterable of Job
        The jobs; each is taken when there is room for it.
    at_once : int
        How many may be open.
    """
    waiting = iter(jobs)
    active: dict[Any, tuple[Job, Engine]] = {}
    try:
        while True:
            for job in itertools.islice(waiting, at_once - len(active)):
                _open(job, active)
            if active:
                _step(dispatcher.wait(), active)
            elif (last := next(waiting, None)) is not None:  # all that were opened were done
                _open(last, active)
            else:
                return
    finally:
        for job, _ in active.values():  # an error ends all: they have nothing to add to it
            job.close(None)


def _open(job: Job, active: dict[Any, tuple[Job, Engine]]) -> None:
    try:
        channel, engine = job.open()
    except Exception as error:
        job.close(error)
        return
    if engine.done:
        job.close(None)
    else:
        active[channel] = job, engine


def _step(
    results: Sequence[tuple[Any, ChunkResult]], active: dict[Any, tuple[Job, Engine]]
) -> None:
    by_channel: dict[Any, list[ChunkResult]] = {}
    for channel, result in results:
        by_channel.setdefault(channel, []).append(result)
    for channel, its_results in by_channel.items():
        if channel not in active:  # late results of a job that is done
            continue
        job, engine = active[channel]
        try:
            engine.take(its_results)
        except Exception as error:
            del active[channel]
            job.close(error)
            continue
        if engine.done:
            del active[channel]
            job.close(None)

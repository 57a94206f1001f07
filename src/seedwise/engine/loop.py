"""The loop of a driver, which hands results to the engines until all jobs are finished."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from seedwise.engine.engine import Engine
from seedwise.model.trials import ChunkResult


class Dispatcher(Protocol):
    """Where results come from."""

    def wait(self) -> Sequence[tuple[Any, ChunkResult]]:
        """Wait for results; each comes with the channel of its chunk."""


class Workplace(Protocol):
    """Where chunks are evaluated."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The way there."""


W_contra = TypeVar("W_contra", bound=Workplace, contravariant=True)
W = TypeVar("W", bound=Workplace)


class Job(Protocol[W_contra]):
    """Work in parts, of one engine each."""

    def open(self, workplace: W_contra) -> Engine | None:
        """Begin the next part and return its engine; None if no part is left."""

    def close(self, error: Exception | None) -> None:
        """End; after an error, raise to end all jobs, or return to let the others continue."""


def work_through(workplace: W, jobs: Iterable[Job[W]], at_once: int) -> None:
    """Carry out jobs in one thread, with at most `at_once` open at a time."""
    waiting = iter(jobs)
    active: dict[Any, tuple[Job[W], Engine]] = {}
    try:
        while True:
            for job in itertools.islice(waiting, at_once - len(active)):
                _open(job, workplace, active)
            if active:
                _step(workplace, active)
            elif (last := next(waiting, None)) is not None:  # all that were opened are finished
                _open(last, workplace, active)
            else:
                return
    finally:
        for job, _ in active.values():  # an error ends all jobs, and is raised as it is
            job.close(None)


def _open(job: Job[W], workplace: W, active: dict[Any, tuple[Job[W], Engine]]) -> None:
    try:
        engine = job.open(workplace)
        while engine is not None and engine.done:
            engine = job.open(workplace)
    except Exception as error:
        job.close(error)
        return
    except BaseException:  # a signal: the job is not among the active ones, which are closed
        job.close(None)
        raise
    if engine is None:
        job.close(None)
    else:
        active[engine.channel] = job, engine


def _step(workplace: W, active: dict[Any, tuple[Job[W], Engine]]) -> None:
    by_channel: dict[Any, list[ChunkResult]] = {}
    for channel, result in workplace.dispatcher.wait():
        by_channel.setdefault(channel, []).append(result)
    for channel, its_results in by_channel.items():
        if channel not in active:  # late results of a finished job
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
            _open(job, workplace, active)

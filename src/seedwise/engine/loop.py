"""The loop of a driver, which hands results to the engines until all jobs are finished."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from seedwise.engine.engine import Engine
from seedwise.model.trials import ChunkResult

W_contra = TypeVar("W_contra", contravariant=True)
W = TypeVar("W")

#: Waits for results; each comes with the channel of its chunk.
Wait: TypeAlias = Callable[[], Sequence[tuple[Any, ChunkResult]]]


class Job(Protocol[W_contra]):
    """Work in parts, of one engine each."""

    def open(self, workplace: W_contra) -> Engine | None:
        """Begin the next part and return its engine; None if no part is left."""

    def close(self, error: Exception | None) -> None:
        """End; after an error, raise to end all jobs, or return to let the others continue."""


def work_through(workplace: W, wait: Wait, jobs: Iterable[Job[W]], at_once: int) -> None:
    """Carry out jobs in one thread, with at most `at_once` open at a time."""
    waiting = iter(jobs)
    active: dict[Any, tuple[Job[W], Engine]] = {}
    try:
        while True:
            while len(active) < at_once and (job := next(waiting, None)) is not None:
                _open(job, workplace, active)
            if not active:
                return
            _step(workplace, wait(), active)
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


def _step(
    workplace: W,
    results: Sequence[tuple[Any, ChunkResult]],
    active: dict[Any, tuple[Job[W], Engine]],
) -> None:
    by_channel: dict[Any, list[ChunkResult]] = {}
    for channel, result in results:
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

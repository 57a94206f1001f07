"""What all kinds of runs do, from the lease on their folder to their result."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from seedwise.disk.aside import writing
from seedwise.disk.open_files import allow_many_files
from seedwise.driver.cleaning import cancel_left_jobs
from seedwise.driver.parts import Parts
from seedwise.driver.report import (
    End,
    InFlight,
    Listeners,
    Reporter,
    interruption_told,
    tell_end,
    unused_remarks,
    work_remarks,
)
from seedwise.driver.run import AnyOptions, Run, take_up
from seedwise.driver.signals import StopSignals, stop_on_signals
from seedwise.driver.tally import Tally
from seedwise.driver.witness import ForkedWitness, forked_witness
from seedwise.driver.workplace import Workplace, open_workplace
from seedwise.engine.engine import Engine
from seedwise.engine.loop import work_through
from seedwise.errors import ClusterStartError, LeaseLostError, SeedwiseError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import Lease, acquire_lease
from seedwise.model.events import Event, Noted
from seedwise.model.trials import TrialResult, TrialState
from seedwise.model.validation import Validation
from seedwise.slurm.commands import CommandError

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Job(InFlight, Protocol):
    """A part of the work, with engines of its own."""

    def open(self, workplace: Workplace) -> Engine | None:
        """Begin what is next of it; return the engine, or None if nothing is left."""

    def close(self, error: Exception | None) -> None:
        """End; with an error, raise it to end all jobs, or return to leave the others at work."""


class Work(ABC, Generic[Result_co]):
    """What is left to do of a run, whose folder is prepared for it, and what comes of it."""

    #: Whether chunks of several trials may share a Dask task.
    packs: ClassVar[bool] = False

    #: The run as this driver leaves it.
    run: Run
    #: Whether the folder was prepared for work: something was left to do.
    is_prepared: bool
    #: What is left to do.
    jobs: Sequence[Job]
    #: How many jobs may be open.
    jobs_at_once: int
    #: How many trials may be in flight.
    n_trials_at_once: int

    @property
    @abstractmethod
    def n_trials(self) -> int:
        """How many trials there are to be in all."""

    @property
    @abstractmethod
    def counts(self) -> Counter[TrialState]:
        """How many trials are told by now, by state."""

    @property
    @abstractmethod
    def best(self) -> TrialResult | None:
        """The best trial told by now; None of entries, which have one each."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, as far as time did not run out."""
        return not self.run.out_of_time() or self.counts.total() >= self.n_trials

    @property
    def validation(self) -> Validation | None:
        """What the validation found; None without one, and of entries, which have one each."""
        return None

    def entries(self) -> dict[str, int] | None:
        """Return how many entries are in which state; None of a run without entries."""
        return None

    def outcome(self) -> str | None:
        """Say how many entries or cases succeeded, and how many failed and why."""
        return None

    @abstractmethod
    def write_summary(self) -> None:
        """Write what ``summary.json`` is to say of the whole run by now."""

    def begin(self, workplace: Workplace) -> None:
        """Begin, before the first job is opened."""

    def conclude(self, workplace: Workplace) -> None:
        """Conclude when all jobs are done, and the workers are still there."""

    @abstractmethod
    def remarks(self) -> Sequence[str]:
        """Return what is to be said of the run at its end."""

    @abstractmethod
    def result(self) -> Result_co:
        """Return the result of the run as it is now."""


def carry_out(
    kind: Callable[[Run, Callable[[Event], None]], Work[Result]],
    parts: Parts,
    options: AnyOptions,
    directory: RunDirectory,
    listeners: Sequence[Callable[[Event], None]] = (),
) -> Result:
    """Carry a run out, or what is left of it, and return its result.

    `kind` takes up the work of a run, and gets what takes its events, too.

    Raises RunLockedError if another driver works on the run, ChangedRunError if the run was begun
    with options that decide its results, and others are given, and RunStopped if a signal stopped
    it, or somebody asked it to stop.
    """
    allow_many_files()
    listen = Listeners(listeners)
    with stop_on_signals(directory.path) as stop, _lease_on(directory, options, listen) as lease:
        run = take_up(parts, options, directory, lease.check)
        with _discarded_unless_begun(run):
            work = kind(run, listen)
            tally = Tally(
                options.kind,
                work.n_trials,
                work.counts,
                run.history.started_at,
                work.entries,
                work.best,
            )
            if work.jobs:
                _work_on(work, tally, stop, listen)
        work.write_summary()
        tally.count_anew(work.n_trials, work.counts, work.best)
        tally.validated = work.validation
        worked = work.is_prepared
        remarks = work.remarks() if worked else ()
        end = End(work.outcome(), tuple(remarks), worked=worked, complete=work.is_finished)
        tell_end(work.run, tally, listen, end)
        return work.result()


def _work_on(
    work: Work[object], tally: Tally, stop: StopSignals, listen: Callable[[Event], None]
) -> None:
    run = work.run

    reporter = Reporter(run, tally, listen, work.jobs)
    with (
        interruption_told(run, tally, listen),
        _counted_when_stopped(work, tally),
        _witness_of(run) as witness,
    ):
        _cancel_left_jobs(run)
        with open_workplace(
            run, work.n_trials_at_once, stop, reporter, packs=work.packs, witness=witness
        ) as workplace:
            work.begin(workplace)
            work_through(workplace, work.jobs, work.jobs_at_once)
            work.conclude(workplace)
            busy_s, worker_s = workplace.dispatcher.busy_s, workplace.report.worker_s
            remarks = work_remarks(run.options, workplace.demand, busy_s, worker_s)
            run.note_remarks([*unused_remarks(work.jobs), *remarks])


@contextlib.contextmanager
def _counted_when_stopped(work: Work[object], tally: Tally) -> Iterator[None]:
    """Have the counts and ``summary.json`` hold all that is told when the work breaks off.

    It can break off between a trial and its event.
    """
    try:
        yield
    except BaseException:
        tally.count_anew(work.n_trials, work.counts, work.best)
        with contextlib.suppress(SeedwiseError):  # the error that ends it says more
            work.write_summary()
        raise


def _witness_of(run: Run) -> contextlib.AbstractContextManager[ForkedWitness | None]:
    """Return what evaluates a seed in the driver's way, if that is asked for and can be had."""
    if run.options.self_check and run.parts.has_function:
        return forked_witness(run.parts.loss)
    return contextlib.nullcontext()


def _cancel_left_jobs(run: Run) -> None:
    """Cancel the jobs of a driver that was killed, before there are jobs of this one."""
    if run.history.is_new:
        return
    try:
        cancel_left_jobs(run.directory, run.history.last_name)
    except CommandError as error:
        # Elsewhere than on Slurm they are in nobody's way, and end by themselves soon.
        if run.options.place == "slurm":
            problem = f"Slurm does not answer: {error.text}"
            raise ClusterStartError("the pool of Slurm jobs", problem) from error


def _lease_on(
    directory: RunDirectory, options: AnyOptions, listen: Callable[[Event], None]
) -> Lease:
    path = directory.lease
    with writing(path):
        return acquire_lease(
            path, take_over=options.take_over, tell=lambda text: listen(Noted(text))
        )


@contextlib.contextmanager
def _discarded_unless_begun(run: Run) -> Iterator[None]:
    """Remove the folder of a new run whose workers could not be had: it holds nothing."""
    try:
        yield
    except LeaseLostError:  # the folder is another driver's now
        raise
    except Exception:
        if run.history.is_new and not run.directory.has_results:
            run.directory.discard()
        raise

"""What all kinds of runs do, from the lease on their folder to their result."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Generic, TypeVar

from seedwise.cluster.job import job_name
from seedwise.cluster.place import RunTag
from seedwise.driver.housekeeping import Attendant
from seedwise.driver.open_files import allow_many_files
from seedwise.driver.parts import Parts
from seedwise.driver.report import Listeners, Report
from seedwise.driver.signals import StopSignals, stop_on_signals
from seedwise.driver.workplace import Workplace, open_workplace
from seedwise.errors import writing
from seedwise.folder.directory import RunDirectory
from seedwise.folder.history import History, take_up_history
from seedwise.folder.lease import Lease, acquire_lease
from seedwise.model.events import Event
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.slurm.commands import CommandError
from seedwise.slurm.job_ids import JobBook
from seedwise.slurm.queue import cancel_jobs

Options = TypeVar("Options", bound=RunOptions | EntriesOptions | SweepOptions)
Result = TypeVar("Result")


class BaseRun(ABC, Generic[Options, Result]):
    """A run that goes on from where its folder says it is.

    Parameters
    ----------
    parts : Parts
        What the run is made of.
    options : RunOptions, EntriesOptions or SweepOptions
        Its options.
    directory : RunDirectory
        Its folder.
    listeners : sequence of callable
        What takes the events; one that fails is dropped.
    """

    #: Whether chunks of several trials may share a Dask task.
    packs: ClassVar[bool] = False

    def __init__(
        self,
        parts: Parts,
        options: Options,
        directory: RunDirectory,
        listeners: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        self.parts = parts
        self.options = options
        self.directory = directory
        self.listen = Listeners(listeners)
        self.history: History
        self.report: Report
        self.lease: Lease

    def carry_out(self) -> Result:
        """Carry the run out, or what is left of it.

        Returns
        -------
        OptimizeResult, MultiOptimizeResult or SweepResult
            The result.

        Raises
        ------
        RunLockedError
            If another driver works on the run.
        ChangedRunError
            If the run was begun with options that decide its results, and others are given.
        RunStopped
            If a signal stopped it, or somebody asked it to stop.
        """
        allow_many_files()
        with stop_on_signals(self.directory.path) as stop, self._acquire_lease() as self.lease:
            self._take_up()
            if not self.is_done():
                with self._discarded_unless_begun():
                    self.recover()
                    self.report.prepared()
                    with (
                        self.report.interruption_told(),
                        Attendant(self.directory, stop, self.report) as attendant,
                        open_workplace(
                            self.parts,
                            self.options,
                            self._tag(),
                            self.n_trials_at_once,
                            attendant.attend,
                            packs=self.packs,
                        ) as workplace,
                    ):
                        self.work(workplace, stop)
            return self.finished()

    @property
    @abstractmethod
    def n_trials(self) -> int:
        """How many trials there are to be in all."""

    @property
    def n_numbers(self) -> int:
        """How many numbers trials may have."""
        return self.n_trials

    @property
    @abstractmethod
    def n_trials_at_once(self) -> int:
        """How many trials may be in flight."""

    @abstractmethod
    def is_done(self) -> bool:
        """Tell whether nothing is left to do, so that no workers are needed."""

    @abstractmethod
    def recover(self) -> None:
        """Bring what is on disk to a state to go on from."""

    @abstractmethod
    def work(self, workplace: Workplace, stop: StopSignals) -> None:
        """Do what is left to do."""

    @abstractmethod
    def finished(self) -> Result:
        """Note that the run is at its end, and return its result."""

    def out_of_time(self) -> bool:
        """Tell whether no further trial is to be asked for."""
        timeout = self.options.timeout
        return timeout is not None and self.report.elapsed_s >= timeout

    def is_cut_short(self) -> bool:
        """Tell whether trials are left that were not asked for, for want of time."""
        standing = self.report.standing
        return self.out_of_time() and standing.counts.total() < standing.n_trials

    def emitter(self, stop: StopSignals, report: Report) -> Callable[[Event], None]:
        """Return what takes an event on the way; a signal that came is heeded then."""

        def emit(event: Event) -> None:
            stop.check()
            report.emit(event)

        return emit

    def _take_up(self) -> None:
        directory, options = self.directory, self.options
        if directory.has_begun:
            directory.require_kind(options.kind)
        self.history = take_up_history(
            directory,
            self.parts.loss.name,
            self.parts.depends_on,
            accept_changes=options.accept_changes,
            n_trials=self.n_numbers,
        )
        if self.history.copy_of is not None:  # the jobs of the other are none of ours
            directory.jobs_file.unlink(missing_ok=True)
        directory.sweep()
        self.report = Report(directory, self.history, self.parts, options, self.listen)
        self.report.standing.n_trials = self.n_trials
        self.report.guard = self.lease.check

    def _tag(self) -> RunTag:
        directory = self.directory
        if not self.history.is_new:  # jobs of a driver that was killed
            noted = JobBook(directory.jobs_file).ids()
            with contextlib.suppress(CommandError):  # they end by themselves soon
                cancel_jobs(self.history.run_id, known=noted, name=job_name(directory.name))
        return RunTag(
            directory.name,
            self.history.run_id,
            directory.log_dir,
            directory.key_dir,
            directory.jobs_file,
        )

    def _acquire_lease(self) -> Lease:
        path = self.directory.lease
        with writing(path):
            return acquire_lease(path, take_over=self.options.take_over)

    @contextlib.contextmanager
    def _discarded_unless_begun(self) -> Iterator[None]:
        """Remove the folder of a new run whose workers could not be had: it holds nothing."""
        try:
            yield
        except Exception:
            if self.history.is_new and not self.directory.has_results:
                self.directory.discard()
            raise

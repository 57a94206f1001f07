"""What all kinds of runs do, from the lease on their folder to their result."""

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Generic, TypeAlias, TypeVar

from seedwise.cluster.place import Pages
from seedwise.disk.aside import writing
from seedwise.disk.open_files import allow_many_files
from seedwise.driver import report
from seedwise.driver.cleaning import cancel_left_jobs
from seedwise.driver.engine_job import EngineJob
from seedwise.driver.parts import Parts
from seedwise.driver.run import AnyOptions, Run, take_up
from seedwise.driver.signals import StopSignals, stop_on_signals
from seedwise.driver.tally import Tally
from seedwise.driver.witness import ForkedWitness
from seedwise.driver.workplace import Workplace, open_workplace
from seedwise.engine.loop import work_through
from seedwise.errors import ClusterStartError, LeaseLostError, SeedwiseError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import Lease, acquire_lease
from seedwise.model.events import Event, Noted
from seedwise.model.options.study import StudyOptions
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult
from seedwise.slurm.commands import CommandError

AnyResult: TypeAlias = OptimizeResult | MultiOptimizeResult | SweepResult
Result = TypeVar("Result", bound=AnyResult)
Result_co = TypeVar("Result_co", bound=AnyResult, covariant=True)


class Work(ABC, Generic[Result_co]):
    """What is left to do of a run, whose folder is prepared for it, and what comes of it."""

    #: Whether chunks of several trials may share a Dask task.
    packs: ClassVar[bool] = False

    #: The run as this driver leaves it.
    run: Run
    #: Whether the folder was prepared for work: something was left to do.
    is_prepared: bool
    jobs: Sequence[EngineJob]
    jobs_at_once: int = 1
    #: How many chunks can be in flight in each part of the work, of all jobs together.
    n_chunks: Sequence[int]
    #: Whether the driver evaluates the seed, too, that workers compare.
    has_witness: bool = True

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
    def seeds_saved(self) -> int:
        """How many seeds the race has saved by now."""
        return 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, as far as time did not run out."""
        return not self.run.out_of_time() or self.counts.total() >= self.n_trials

    def entries(self) -> dict[str, int] | None:
        """Return how many entries are in which state; None of a run without entries."""
        return None

    @abstractmethod
    def so_far(self) -> Result_co:
        """Return the result of what is told by now."""

    def outcome(self) -> str | None:
        """Say how many entries or cases succeeded, and how many failed and why."""
        return self.so_far().outcome

    def remarks(self) -> Sequence[str]:
        """Return what is to be said of the run at its end."""
        return self.so_far().remarks

    @abstractmethod
    def write_summary(self) -> None:
        """Write what ``summary.json`` is to say of the whole run by now."""

    def begin(self, workplace: Workplace) -> None:
        """Tell that the work begins, before the first job is opened."""
        self.write_summary()
        workplace.report.begin()

    def conclude(self, workplace: Workplace) -> None:
        """Conclude when all jobs are done, and the workers are still there."""

    def result(self) -> Result_co:
        """Return the result; raises if nothing is complete."""
        return self.so_far()


def carry_out(
    kind: Callable[[Run, Callable[[Event], None]], Work[Result]],
    parts: Parts,
    options: AnyOptions,
    directory: RunDirectory,
    listeners: Sequence[Callable[[Event], None]] = (),
    pages: Callable[[], Pages] | None = None,
) -> Result:
    """Carry a run out, or what is left of it, and return its result.

    `kind` takes up the work of a run, and gets what takes its events, too. A cluster that is
    started for the run serves `pages`.
    """
    allow_many_files()
    listen = report.Listeners(listeners)
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
            tally.seeds_saved = work.seeds_saved
            in_flight = [job.in_flight for job in work.jobs]
            if work.jobs:
                _work_on(work, stop, report.Reporter(work.run, tally, listen, in_flight, pages))
        work.write_summary()
        _count_anew(work, tally)
        found = work.so_far()
        tally.validated = found.validation if isinstance(found, OptimizeResult) else None
        worked = work.is_prepared
        remarks = work.remarks() if worked else ()
        end = report.End(work.outcome(), tuple(remarks), worked=worked, complete=work.is_finished)
        report.tell_end(work.run, tally, listen, end)
        return work.result()


def _work_on(work: Work[AnyResult], stop: StopSignals, reporter: report.Reporter) -> None:
    run = work.run
    with (
        report.interruption_told(run, reporter.tally, reporter.listen),
        _counted_when_stopped(work, reporter.tally),
        _witness_of(work) as witness,
    ):
        _cancel_left_jobs(run)
        with open_workplace(
            run, work.n_chunks, stop, reporter, packs=work.packs, witness=witness
        ) as workplace:
            work.begin(workplace)
            wait = workplace.dispatcher.wait
            work_through(workplace, wait, work.jobs, work.jobs_at_once)
            work.conclude(workplace)
            busy_s = workplace.dispatcher.evaluated.busy_s
            worker_s = workplace.report.worker_s
            n_unused = sum(job.n_seeds_unused for job in work.jobs)
            options, demand = run.options, workplace.demand
            lag = None  # of a sweep
            if isinstance(options, StudyOptions):
                lag = options.lag_of(run.parts.looks)
            run.note_remarks(report.work_remarks(options, lag, demand, busy_s, worker_s, n_unused))


@contextlib.contextmanager
def _counted_when_stopped(work: Work[AnyResult], tally: Tally) -> Iterator[None]:
    """Have all that is told counted when work breaks off, maybe between a trial and its event."""
    try:
        yield
    except BaseException:
        _count_anew(work, tally)
        with contextlib.suppress(SeedwiseError):  # the error that ends it says more
            work.write_summary()
        raise


def _count_anew(work: Work[AnyResult], tally: Tally) -> None:
    tally.count_anew(work.n_trials, work.counts, work.best)
    tally.seeds_saved = work.seeds_saved


def _witness_of(work: Work[AnyResult]) -> contextlib.AbstractContextManager[ForkedWitness | None]:
    """Return what evaluates a seed in the driver's way, if that is asked for and can be had."""
    options, parts = work.run.options, work.run.parts
    if options.self_check and work.has_witness and parts.has_function:
        return contextlib.closing(ForkedWitness(parts.loss))
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

"""What a run tells while it goes on, and as it ends: ``status.json``, events and their log."""

import contextlib
import logging
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from seedwise.cluster.place import Demand, Pages, Place
from seedwise.disk.every import Every
from seedwise.dispatch.dispatcher import Evaluated
from seedwise.driver.run import AnyOptions, Run
from seedwise.driver.tally import Tally
from seedwise.errors import LeaseLostError, RunFileError, RunStopped
from seedwise.model.events import (
    Event,
    Noted,
    Progress,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
)
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.status import RunStatus
from seedwise.model.trials import SeedFailure

_logger = logging.getLogger("seedwise")

_STATUS_EVERY_S = 0.5
_REFRESH_EVERY_S = 2.0
_PROGRESS_EVERY_S = 1.0

# One failed trial may be an odd point.
_FIRST_FAILURES = 3

# Chunks count when they are back: after so many on each worker, those that are out hardly matter.
_CHUNKS_A_WORKER = 10

# Of shorter work, what it wastes is not worth a word.
_LONG_S = 30.0
_IDLE = 0.3


class Listeners:
    """What takes the events; a listener that fails is dropped."""

    def __init__(self, listeners: Sequence[Callable[[Event], None]] = ()) -> None:
        self._listeners = list(listeners)

    def __call__(self, event: Event) -> None:
        """Give them an event."""
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # a closed terminal, say: no reason to lose the run
                self._listeners.remove(listener)
                _logger.warning("a listener failed and is dropped", exc_info=True)


@attrs.frozen
class InFlight:
    """What a job has in flight."""

    n_trials: int = 0
    #: How many of their seeds are evaluated.
    n_seeds_done: int = 0
    #: How many fresh seeds are evaluated, and are to be; none without a validation.
    validation_seeds: tuple[int, int] = (0, 0)


@attrs.frozen
class Reporter:
    """What tells of a run: notes, also before there is a place, and then its report."""

    run: Run
    tally: Tally
    listen: Callable[[Event], None]
    jobs: Sequence[Callable[[], InFlight]]
    #: What shows the run in a browser; None if nothing does.
    pages: Callable[[], Pages] | None = None

    def note(self, text: str) -> None:
        """Tell something that whoever watches the run should know."""
        self.run.log.write("note", text)
        self.listen(Noted(text))


class Report:
    """Tells the progress of a run whose workers are asked for."""

    def __init__(
        self,
        reporter: Reporter,
        place: Place,
        demand: Demand,
        evaluated: Callable[[], Evaluated] = Evaluated,
    ) -> None:
        self.note = reporter.note
        self._run = reporter.run
        self._tally = reporter.tally
        self._listen = reporter.listen
        self._jobs = reporter.jobs
        self._place = place
        self._demand = demand
        self._evaluated = evaluated
        self._status_due = Every(_STATUS_EVERY_S)
        self._refresh_due = Every(_REFRESH_EVERY_S)
        self._progress_due = Every(_PROGRESS_EVERY_S)
        self._progress_due.due()
        #: Seconds that the workers were there, together; None if they are not ours to count.
        self.worker_s: float | None = 0.0
        self._counted_s = time.monotonic()
        self._failures: list[SeedFailure] = []

    def begin(self) -> None:
        """Tell that the work begins."""
        self._run.guard()
        self._tally.begin()
        self._write_status()
        directory, place, n_told = self._run.directory, self._place, self._tally.counts.total()
        self._listen(
            RunStarted(
                directory.path,
                n_told,
                place.description,
                place.dashboard,
                place.tunnel,
                place.study,
            )
        )
        for note in plan_notes(self._run.options, self._demand, self._run.parts.looks.sizes[-1]):
            self.note(note)

    def take(self, event: Event) -> None:
        """Take an event on the way."""
        if not isinstance(event, TrialFinished):
            self._listen(event)
            return
        is_first = not self._tally.counts.total()
        # Entries have a best trial each.
        best = None if isinstance(self._run.options, EntriesOptions) else event.best
        n_saved = self._run.parts.looks.n_saved([event.trial])
        self._tally.tell(event.trial.state, best, n_saved)
        self._listen(event)
        if is_first and event.trial.stderr == 0.0:
            self.note(
                f"all {event.trial.n_seeds} seeds of trial {event.trial.number} gave "
                f"{event.trial.value!r}: the loss does not depend on its seed, so one would do"
            )
        if event.failure is not None:
            self._note_failure(event.failure)
        if self._status_due.due():
            self._write_status()
        self._tell_progress()

    def _note_failure(self, failure: SeedFailure) -> None:
        """Tell if all the first trials failed for the same cause, and others are to follow."""
        if len(self._failures) == _FIRST_FAILURES:
            return
        self._failures.append(failure)
        n_told, kinds = self._tally.counts.total(), {one.exception_type for one in self._failures}
        if n_told != _FIRST_FAILURES or len(self._failures) < n_told or len(kinds) > 1:
            return
        if n_told < self._tally.n_trials:
            stop = f"seedwise stop {shlex.quote(str(self._run.directory.path))}"
            self.note(
                f"the first {n_told} trials failed: {failure.exception_type}: {failure.message}; "
                f"is the run worth going on with? To stop it: Ctrl-C, or {stop}"
            )

    def refresh(self) -> None:
        """Tell the progress, also while no trial is told."""
        if self._refresh_due.due():
            self._run.guard()
            self._count_workers()
            with contextlib.suppress(RunFileError):  # no work is lost with it
                self._write_status()
        self._tell_progress()

    def _count_workers(self) -> None:
        pool, now_s = self._place.pool(), time.monotonic()
        if pool is None:
            self.worker_s = None
        elif self.worker_s is not None:
            self.worker_s += pool.joined * (now_s - self._counted_s)
        self._counted_s = now_s
        n_workers = 0 if pool is None else pool.joined
        evaluated = self._evaluated()
        self._tally.note_work(evaluated.n_seeds, self._busy_share(evaluated, n_workers))

    def _busy_share(self, evaluated: Evaluated, n_workers: int) -> float | None:
        """Return the share of the workers' time that chunks took; None while it says little."""
        slots = self._demand.chunks_per_worker
        if not self.worker_s or evaluated.n_chunks < _CHUNKS_A_WORKER * n_workers * slots:
            return None
        return min(1.0, evaluated.busy_s / (self.worker_s * slots))

    def _tell_progress(self) -> None:
        if self._progress_due.due():
            self._listen(Progress(self._status()))

    def _write_status(self) -> None:
        self._run.directory.status.write(attrs.asdict(self._status()))

    def _status(self) -> RunStatus:
        jobs = [in_flight() for in_flight in self._jobs]
        n_in_flight = sum(job.n_trials for job in jobs)
        fresh = [job.validation_seeds for job in jobs]
        self._tally.note_validation(sum(done for done, _ in fresh), sum(of for _, of in fresh))
        status = self._tally.status("running", n_in_flight)
        if getattr(self._run.options, "max_total_seeds", None) is not None:
            status = attrs.evolve(status, expected_end_utc=None)  # there may be fewer trials
        return attrs.evolve(
            status,
            running_seeds=n_in_flight * self._run.parts.looks.sizes[-1],
            running_seeds_done=sum(job.n_seeds_done for job in jobs),
            pool=self._place.pool(),
        )


@contextlib.contextmanager
def interruption_told(run: Run, tally: Tally, listen: Callable[[Event], None]) -> Iterator[None]:
    """Tell the listeners when the run ends before its last trial."""
    try:
        yield
    except LeaseLostError:  # the run is another driver's now
        raise
    except BaseException as error:
        directory = run.directory
        kind = "failed" if isinstance(error, Exception) else "stopped"
        first = str(error).partition("\n")[0]
        named = ": ".join(filter(None, (type(error).__name__, first)))
        run.log.write(kind, first if isinstance(error, RunStopped) else named)
        # The folder of a new run that got no workers is removed.
        if isinstance(error, RunStopped) or directory.has_results:
            n_told = max(tally.counts.total(), directory.n_told())
            if directory.has_results:
                with contextlib.suppress(Exception):  # the error that ends it says more
                    directory.status.write(attrs.asdict(tally.status("stopped")))
            listen(RunInterrupted(directory.path, n_told, tally.n_trials, tally.validates))
        raise


@attrs.frozen
class End:
    """How a run ended."""

    #: How many entries or cases succeeded, or what the validation found, in words.
    outcome: str | None = None
    remarks: tuple[str, ...] = ()
    #: Whether anything was left to do for this driver.
    worked: bool = attrs.field(kw_only=True)
    #: Whether nothing is left to do; else time was up.
    complete: bool = attrs.field(kw_only=True)


def tell_end(run: Run, tally: Tally, listen: Callable[[Event], None], end: End) -> None:
    """Write that the run ended, finished or for want of time, and tell it to the listeners."""
    n_told, best = tally.counts.total(), tally.best
    run.note_end(best, complete=end.complete)
    status = tally.status("finished" if end.complete else "stopped")
    run.directory.status.write(attrs.asdict(status))
    told = f"{n_told} of {tally.n_trials} trials are told"
    if end.worked and end.complete:
        run.log.write("finished", told)
    elif end.worked:
        run.log.write("stopped", f"time is up; {told}")
    listen(RunFinished(run.directory.path, best, run.elapsed_s, end.outcome, end.remarks))


def plan_notes(options: AnyOptions, demand: Demand, n_seeds: int) -> Iterator[str]:
    """Yield what wastes workers or CPUs, as far as the options tell; a trial has `n_seeds`."""
    if n_seeds == 1:
        return
    could_be_more = options.workers != 1 and (options.place != "local" or os.cpu_count() != 1)
    if demand.parts[0] == 1 and could_be_more:
        yield (
            f"the {n_seeds} seeds of a trial are one chunk, so only one worker has work; a "
            f"smaller chunk_size, such as {-(-n_seeds // 4)}, or more max_concurrent_trials uses "
            "more"
        )
    if options.place == "slurm" and options.worker_parallelism > options.cpus_per_task:
        n_at_once, cpus = options.worker_parallelism, options.cpus_per_task
        yield (
            f"{n_at_once} seeds at once share {cpus} CPU{'s' if cpus > 1 else ''} of a job: "
            f"cpus_per_task={n_at_once} gives each its own"
        )


def work_remarks(
    options: AnyOptions,
    lag: int | None,
    demand: Demand,
    busy_s: float,
    worker_s: float | None,
    n_unused: int,
) -> list[str]:
    """Return what the use of the workers shows.

    `lag` is how many trials a study had in flight, `busy_s` what all chunks took, and `worker_s`
    how long the workers were there, together; `n_unused` seeds were evaluated ahead in vain.
    """
    remarks = []
    if n_unused:
        remarks.append(
            f"{n_unused} seeds were evaluated ahead, on workers with nothing else to do, and not "
            "needed, since their trials were dropped"
        )
    if busy_s < _LONG_S:
        return remarks
    there = options.workers
    if there is None and options.place == "local":
        there = os.cpu_count()
    if isinstance(there, int) and (could_work := demand.workers(there)) < there:
        remarks.append(
            f"only {could_work} of {there} workers could have a chunk: the trials in flight have "
            f"{demand.parts[0]} at most; a smaller chunk_size, or more max_concurrent_trials, "
            "uses them all"
        )
    idle = 1 - busy_s / (worker_s * demand.chunks_per_worker) if worker_s else 0.0
    if idle >= _IDLE:
        more = "" if lag is None else f", or max_concurrent_trials={math.ceil(lag / (1 - idle))},"
        remarks.append(
            f"the workers had nothing to do for {idle:.0%} of their time: fewer workers{more} "
            "would waste less"
        )
    return remarks

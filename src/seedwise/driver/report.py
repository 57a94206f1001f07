"""What a run tells while it goes on, and as it ends: ``status.json``, events and their log."""

import contextlib
import logging
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import attrs

from seedwise.cluster.place import Demand, Pages, Place
from seedwise.disk.every import Every
from seedwise.dispatch.dispatcher import Evaluated
from seedwise.driver.run import AnyOptions, InFlight, Work
from seedwise.errors import LeaseLostError, RunFileError, RunStopped, SeedwiseError
from seedwise.folder.directory import utc_now
from seedwise.model import events
from seedwise.model.events import Event, TrialFinished
from seedwise.model.options.study import StudyOptions
from seedwise.model.status import PoolStatus, RunStatus
from seedwise.model.trials import SeedFailure, TrialState

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


class Reporter:
    """What tells of the work on a run: notes, and the progress, also before there is a place."""

    def __init__(
        self,
        work: Work[Any],
        listen: Callable[[Event], None],
        pages: Callable[[], Pages] | None = None,
    ) -> None:
        self.work = work
        self.listen = listen
        self.pages = pages  # makes what shows the run in a browser; None if nothing does
        self._in_flight = InFlight()  # when the status was "running" last
        self._validation_began: tuple[float, int] | None = None  # when, and how many were done
        self._n_before = work.counts.total()  # told by earlier drivers
        self._n_seeds = 0  # of this driver's workers
        self._busy_share: float | None = None
        self._began_s = self._told_s = self._worked_s = time.monotonic()

    def note(self, text: str) -> None:
        """Tell something that whoever watches the run should know."""
        self.work.run.log.write("note", text)
        self.listen(events.Noted(text))

    def write_status(self, state: str, pool: PoolStatus | None = None) -> None:
        """Write ``status.json``."""
        self.work.run.directory.status.write(attrs.asdict(self.status(state, pool)))

    def begin(self) -> None:
        """Start the clock: what was told before does not count for the rate."""
        self._n_before, self._began_s = self.work.counts.total(), time.monotonic()

    def note_told(self) -> None:
        """Take note that a trial was told."""
        self._told_s = time.monotonic()

    def note_work(self, n_seeds: int, busy_share: float | None) -> None:
        """Take how many seeds the workers evaluated, and how busy they were."""
        self._n_seeds, self._busy_share = n_seeds, busy_share
        self._worked_s = time.monotonic()

    @property
    def validates(self) -> bool:
        """Whether the best trials are being validated."""
        return self._in_flight.n_fresh > 0

    def status(self, state: str, pool: PoolStatus | None = None) -> RunStatus:
        """Return the progress; `state` is "running", "finished" or "stopped"."""
        now, work = utc_now(), self.work
        counts, best = work.counts, work.best
        is_running = state == "running"
        validated = None if is_running else work.validated()
        if is_running:
            self._in_flight = work.in_flight()
            if self.validates and self._validation_began is None:
                self._validation_began = time.monotonic(), self._in_flight.n_fresh_done
        in_flight, n_told = self._in_flight, counts.total()
        n_in_flight = in_flight.n_trials if is_running else 0
        n_trials = max(work.n_trials, n_told)
        left = n_trials - n_told
        searches = n_in_flight > 0 or not self.validates
        until_s = time.monotonic() if searches else self._told_s
        rate = self._per_s(n_told - self._n_before, until_s)
        left_s = self._validation_left_s()
        if searches:
            left_s = left / rate if left and rate else None
        options, end = work.run.options, None
        may_be_fewer = getattr(options, "max_total_seeds", None) is not None
        if left_s is not None and is_running and not may_be_fewer:
            end = (now + timedelta(seconds=min(left_s, 1e9))).isoformat(timespec="seconds")
        running = min(n_in_flight, left)
        return RunStatus(
            kind=options.kind,
            state=state,
            n_trials=n_trials,
            pending=left - running,
            running=running,
            running_seeds=n_in_flight * work.run.parts.looks.sizes[-1],
            running_seeds_done=in_flight.n_seeds_done if is_running else 0,
            done=counts[TrialState.COMPLETE],
            failed=counts[TrialState.FAIL],
            pruned=counts[TrialState.PRUNED],
            trials_per_s=rate,
            seeds_per_s=self._per_s(self._n_seeds, self._worked_s),
            busy_share=self._busy_share,
            seeds_saved=work.seeds_saved,
            expected_end_utc=end,
            started_at_utc=work.run.history.started_at_utc,
            updated_at_utc=now.isoformat(timespec="seconds"),
            best_value=best.value if best else None,
            best_stderr=best.stderr if best else None,
            validation_seeds=in_flight.n_fresh if state != "finished" else 0,
            validation_seeds_done=in_flight.n_fresh_done if state != "finished" else 0,
            validated_value=validated.value if validated else None,
            validated_stderr=validated.stderr if validated else None,
            entries=work.entries(),
            pool=pool,
        )

    def _per_s(self, count: int, until_s: float) -> float | None:
        return count / max(until_s - self._began_s, 1e-9) if count else None

    def _validation_left_s(self) -> float | None:
        """Return how long the validation still takes; None if unknown."""
        if self._validation_began is None:
            return None
        began_s, n_before = self._validation_began
        n_done, n_fresh = self._in_flight.n_fresh_done, self._in_flight.n_fresh
        if n_done <= n_before:
            return None
        return (n_fresh - n_done) * (time.monotonic() - began_s) / (n_done - n_before)


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
        self._reporter = reporter
        self._work = reporter.work
        self._run = reporter.work.run
        self._listen = reporter.listen
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
        self._n_told = self._work.counts.total()
        self._failures: list[str] = []  # what the first trials failed with

    def begin(self) -> None:
        """Tell that the work begins."""
        self._run.guard()
        self._reporter.begin()
        self._write_status()
        path, place = self._run.directory.path, self._place
        shown = place.description, place.dashboard, place.tunnel, place.study
        self._listen(events.RunStarted(path, self._n_told, *shown))
        for note in plan_notes(self._run.options, self._demand, self._run.parts.looks.sizes[-1]):
            self.note(note)

    def take(self, event: Event) -> None:
        """Take an event on the way."""
        self._listen(event)
        if not isinstance(event, TrialFinished):
            return
        self._n_told += 1
        self._reporter.note_told()
        if self._n_told == 1 and event.trial.stderr == 0.0:
            self.note(
                f"all {event.trial.n_seeds} seeds of trial {event.trial.number} gave "
                f"{event.trial.value!r}: the loss does not depend on its seed, so one would do"
            )
        if event.failure is not None and self._n_told <= _FIRST_FAILURES:
            self._note_failure(event.failure)
        if self._status_due.due():
            self._write_status()
        self._tell_progress()

    def _note_failure(self, failure: SeedFailure) -> None:
        """Tell if all the first trials failed for the same cause, and others are to follow."""
        self._failures.append(failure.exception_type)
        all_alike = self._failures == [failure.exception_type] * _FIRST_FAILURES
        if all_alike and self._work.n_trials > _FIRST_FAILURES:
            stop = f"seedwise stop {shlex.quote(str(self._run.directory.path))}"
            self.note(
                f"the first {_FIRST_FAILURES} trials failed: {failure.exception_type}: "
                f"{failure.message}; is the run worth going on with? To stop it: Ctrl-C, or {stop}"
            )

    def refresh(self) -> None:
        """Tell the progress, also while no trial is told."""
        if self._refresh_due.due():
            self._run.guard()
            self._count_workers()
            with contextlib.suppress(RunFileError):  # no work is lost with it
                self._write_status()
        self._tell_progress()

    def remarks(self) -> list[str]:
        """Return what the use of the workers shows."""
        options, demand, busy_s = self._run.options, self._demand, self._evaluated().busy_s
        remarks = []
        if n_unused := self._work.n_seeds_unused:
            remarks.append(
                f"{n_unused} seeds were evaluated ahead, on workers with nothing else to do, and "
                "not needed, since their trials were dropped"
            )
        if busy_s < _LONG_S:
            return remarks
        there = options.workers
        if there is None and options.place == "local":
            there = os.cpu_count()
        if isinstance(there, int) and (could_work := demand.workers(there)) < there:
            remarks.append(
                f"only {could_work} of {there} workers could have a chunk: the trials in flight "
                f"have {demand.parts[0]} at most; a smaller chunk_size, or more "
                "max_concurrent_trials, uses them all"
            )
        total_s = (self.worker_s or 0.0) * demand.chunks_per_worker
        idle = 1 - busy_s / total_s if total_s else 0.0
        if idle >= _IDLE:
            more = ""
            if isinstance(options, StudyOptions):
                lag = options.lag_of(self._run.parts.looks)
                more = f", or max_concurrent_trials={math.ceil(lag / (1 - idle))},"
            remarks.append(
                f"the workers had nothing to do for {idle:.0%} of their time: fewer workers{more} "
                "would waste less"
            )
        return remarks

    def _count_workers(self) -> None:
        pool, now_s = self._place.pool(), time.monotonic()
        if pool is None:
            self.worker_s = None
        elif self.worker_s is not None:
            self.worker_s += pool.joined * (now_s - self._counted_s)
        self._counted_s = now_s
        evaluated, slots, share = self._evaluated(), self._demand.chunks_per_worker, None
        few_chunks = 0 if pool is None else _CHUNKS_A_WORKER * pool.joined * slots
        if self.worker_s and evaluated.n_chunks >= few_chunks:  # before, it says little
            share = min(1.0, evaluated.busy_s / (self.worker_s * slots))
        self._reporter.note_work(evaluated.n_seeds, share)

    def _tell_progress(self) -> None:
        if self._progress_due.due():
            self._listen(events.Progress(self._reporter.status("running", self._place.pool())))

    def _write_status(self) -> None:
        self._reporter.write_status("running", self._place.pool())


@contextlib.contextmanager
def interruption_told(reporter: Reporter) -> Iterator[None]:
    """Write and tell how far the run is if it ends before its last trial."""
    try:
        yield
    except LeaseLostError:  # the run is another driver's now
        raise
    except BaseException as error:
        work, run = reporter.work, reporter.work.run
        with contextlib.suppress(SeedwiseError):  # the error that ends it says more
            work.write_summary()
        kind = "failed" if isinstance(error, Exception) else "stopped"
        first = str(error).partition("\n")[0]
        named = ": ".join(filter(None, (type(error).__name__, first)))
        run.log.write(kind, first if isinstance(error, RunStopped) else named)
        # The folder of a new run that got no workers is removed.
        if isinstance(error, RunStopped) or run.directory.has_results:
            if run.directory.has_results:
                with contextlib.suppress(Exception):  # the error that ends it says more
                    reporter.write_status("stopped")
            n_told, n_trials = work.counts.total(), work.n_trials
            path, validates = run.directory.path, reporter.validates
            reporter.listen(events.RunInterrupted(path, n_told, max(n_trials, n_told), validates))
        raise


def tell_end(reporter: Reporter) -> None:
    """Write that the run ended, finished or for want of time, and tell it to the listeners."""
    work, run = reporter.work, reporter.work.run
    complete, best, n_told = work.is_finished, work.best, work.counts.total()
    remarks = work.remarks() if work.is_prepared else ()
    run.note_end(best, complete=complete)
    reporter.write_status("finished" if complete else "stopped")
    told = f"{n_told} of {max(work.n_trials, n_told)} trials are told"
    if work.is_prepared and complete:
        run.log.write("finished", told)
    elif work.is_prepared:
        run.log.write("stopped", f"time is up; {told}")
    path, outcome = run.directory.path, work.outcome()
    reporter.listen(events.RunFinished(path, best, run.elapsed_s, outcome, tuple(remarks)))


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

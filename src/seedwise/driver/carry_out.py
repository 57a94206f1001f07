"""What all kinds of runs do, from the lease on their folder to their result."""

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from seedwise.cluster.place import Pages
from seedwise.disk.files import allow_many_files
from seedwise.dispatch.self_check import ForkedWitness
from seedwise.driver import report
from seedwise.driver.cleaning import cancel_left_jobs
from seedwise.driver.parts import Parts
from seedwise.driver.run import AnyOptions, AnyResult, Run, Work, take_up
from seedwise.driver.signals import StopSignals, stop_on_signals
from seedwise.driver.workplace import open_workplace
from seedwise.engine.engine import work_through
from seedwise.errors import ClusterStartError, LeaseLostError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import acquire_lease
from seedwise.model.events import Event, Noted
from seedwise.slurm.commands import CommandError

Result = TypeVar("Result", bound=AnyResult)


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
    with (
        stop_on_signals(directory.path) as stop,
        acquire_lease(
            directory.lease,
            take_over=options.take_over,
            tell=lambda text: listen(Noted(text)),
        ) as lease,
    ):
        run = take_up(parts, options, directory, lease.check)
        try:
            work = kind(run, listen)
            reporter = report.Reporter(work, listen, pages)
            if work.jobs:
                _work_on(work, stop, reporter)
        except Exception as error:
            # The folder of a new run whose workers could not be had holds nothing; after a
            # LeaseLostError it is another driver's.
            is_empty = run.history.is_new and not run.directory.has_results
            if is_empty and not isinstance(error, LeaseLostError):
                run.directory.discard()
            raise
        work.write_summary()
        report.tell_end(reporter)
        return work.result()


def _work_on(work: Work[AnyResult], stop: StopSignals, reporter: report.Reporter) -> None:
    options, parts = work.run.options, work.run.parts
    with report.interruption_told(reporter), contextlib.ExitStack() as closing:
        witness = None  # of a seed in the driver's way, if it is asked for and can be had
        if options.self_check and work.has_witness and parts.has_function:
            witness = closing.enter_context(contextlib.closing(ForkedWitness(parts.loss)))
        if not work.run.history.is_new:
            _cancel_left_jobs(work.run)
        with open_workplace(reporter, stop, witness) as workplace:
            work.write_summary()
            workplace.report.begin()
            work_through(workplace, workplace.dispatcher.wait, work.jobs, work.jobs_at_once)
            work.conclude(workplace)
            run, remarks = work.run, workplace.report.remarks()
            run.write(run.directory.meta, {**run.directory.read_meta(), "remarks": remarks})


def _cancel_left_jobs(run: Run) -> None:
    """Cancel the jobs of a driver that was killed, before there are jobs of this one."""
    try:
        cancel_left_jobs(run.directory, run.history.last_name)
    except CommandError as error:
        # Elsewhere than on Slurm they are in nobody's way, and end by themselves soon.
        if run.options.place == "slurm":
            problem = f"Slurm does not answer: {error.text}"
            raise ClusterStartError("the pool of Slurm jobs", problem) from error

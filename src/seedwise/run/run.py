"""One run, from opening the cluster to its result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from seedwise.cluster.open import open_place
from seedwise.cluster.place import Demand, Place, RunTag
from seedwise.cluster.slurm_commands import cancel_jobs
from seedwise.errors import DamagedFileError, LossFailedError, writing
from seedwise.model.options import RunOptions
from seedwise.model.records import Event, TrialResult
from seedwise.run.changes import decides_losses
from seedwise.run.directory import RunDirectory
from seedwise.run.dispatch import DaskDispatcher, Errand
from seedwise.run.engine import Engine, FailedTrial
from seedwise.run.history import History, take_up_history
from seedwise.run.lease import Lease, acquire_lease
from seedwise.run.ledger import Ledger, ledger_end
from seedwise.run.parts import Parts
from seedwise.run.report import Report
from seedwise.run.result import OptimizeResult
from seedwise.run.shipping import bring
from seedwise.run.signals import StopSignals, stop_on_signals
from seedwise.study.checkpoint import Checkpoints
from seedwise.study.journal import journal_end, turn_direction
from seedwise.study.proposer import StudyPlan, open_proposer, read_params, read_trials

__all__ = ["Run"]


class Run:
    """Opens what a run needs and has the engine work, from where the run's folder says it is.

    Parameters
    ----------
    parts : Parts
        What the run is made of.
    options : RunOptions
        Its options.
    directory : RunDirectory
        Its folder.
    listeners : sequence of callable
        What takes the events; one that fails is dropped.
    """

    def __init__(
        self,
        parts: Parts,
        options: RunOptions,
        directory: RunDirectory,
        listeners: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        self._parts = parts
        self._options = options
        self._directory = directory
        self._listeners = listeners
        self._history: History
        self._report: Report

    def carry_out(self) -> OptimizeResult:
        """Carry the run out, or what is left of it.

        Returns
        -------
        OptimizeResult
            The result.

        Raises
        ------
        RunLockedError
            If another driver works on the run.
        ChangedRunError
            If the run was begun with options that decide its results, and others are given.
        RunStopped
            If a signal stopped it.
        """
        directory, options, parts = self._directory, self._options, self._parts
        with (
            stop_on_signals(directory.path) as stop,
            self._acquire_lease() as lease,
        ):
            self._history = take_up_history(
                directory,
                parts.loss.name,
                parts.depends_on,
                accept_changes=options.accept_changes,
            )
            directory.sweep()
            self._report = Report(directory, self._history, parts, options, self._listeners)
            self._report.guard = lease.check
            trials = self._told_if_done()
            if trials is None:
                with self._discarded_unless_begun():
                    study = self._recover_study()
                    with self._open_ledger(lease.check) as ledger:
                        trials = self._go_on(study, ledger, stop)
            return self._report.finished(trials)

    def _acquire_lease(self) -> Lease:
        path = self._directory.lease
        with writing(path):
            return acquire_lease(path, take_over=self._options.take_over)

    def _go_on(self, study: StudyPlan, ledger: Ledger, stop: StopSignals) -> Sequence[TrialResult]:
        self._report.prepared()
        with self._report.interruption_told(), self._open_place() as place:
            stop.at_once = place.cancel_at_once
            return self._work(place, ledger, study, stop.check)

    def _told_if_done(self) -> Sequence[TrialResult] | None:
        """Return the trials of a run that has all of them already; it needs no workers."""
        path, n_trials = self._directory.study_file, self._options.n_trials
        if self._history.is_new or self._history.changes or self._directory.n_told() < n_trials:
            return None
        if not path.exists() or journal_end(path) < path.stat().st_size:
            return None
        name = self._history.study_name
        trials = read_trials(path, name)
        none_in_flight = len(read_params(path, name)) == len(trials)
        return trials if len(trials) >= n_trials and none_in_flight else None

    @contextlib.contextmanager
    def _discarded_unless_begun(self) -> Iterator[None]:
        """Remove the folder of a new run whose workers could not be had: it holds nothing."""
        try:
            yield
        except Exception:
            if self._history.is_new and not self._directory.study_file.exists():
                self._directory.discard()
            raise

    @contextlib.contextmanager
    def _open_ledger(self, guard: Callable[[], None]) -> Iterator[Ledger]:
        path = self._directory.ledger
        self._directory.cut_back(path, ledger_end(path), fence=self._options.take_over)
        with Ledger(path, guard, self._options.accept_changes) as ledger:
            if decides_losses(self._history.changes):
                ledger.begin_phase(", ".join(self._history.changes))
            yield ledger

    def _open_place(self) -> Place:
        if not self._history.is_new:
            cancel_jobs(self._history.run_id)  # of a driver that was killed
        # A vectorized loss takes a chunk at a time, so that its seeds run at once chunk by chunk.
        at_once = self._options.worker_parallelism if self._parts.loss.vectorized else 1
        n_chunks = self._parts.plan.n_chunks * self._options.max_concurrent_trials
        tag = RunTag(self._directory.name, self._history.run_id, self._directory.log_dir)
        return open_place(self._options, Demand(n_chunks, at_once), tag)

    def _work(
        self, place: Place, ledger: Ledger, study: StudyPlan, check: Callable[[], None]
    ) -> Sequence[TrialResult]:
        """Have the engine work, over all that it needs; return the told trials."""
        options, parts, report = self._options, self._parts, self._report

        def look() -> None:
            check()
            place.check()

        def emit(event: Event) -> None:
            check()
            report.emit(event)

        def out_of_time() -> bool:
            return options.timeout is not None and report.elapsed_s >= options.timeout

        with (
            bring(place.client, parts.shipment, options) as loss_id,
            open_proposer(place.client, study) as proposer,
            DaskDispatcher(
                place.client,
                self._errand(loss_id),
                look,
                options.slurm_poll_seconds,
                options.slurm_timeout_minutes * 60 if options.place == "slurm" else None,
                emit,
            ) as dispatcher,
        ):
            report.begun(place, proposer.told())
            ledger.forget([trial.number for trial in proposer.told()])
            engine = Engine(options, parts.plan, proposer, dispatcher, ledger)
            engine.run(emit, out_of_time)
        if engine.failed is not None:
            raise self._loss_failed(engine.failed)
        return engine.trials

    def _recover_study(self) -> StudyPlan:
        """Bring the study file to where the sampler's state was saved last.

        What it has beyond that is cut off, and asked and told again in the same way; the ledger
        knows the losses.
        """
        directory = self._directory
        checkpoints = Checkpoints(directory.checkpoints)
        checkpoint = checkpoints.latest(journal_end(directory.study_file))
        if checkpoint is None and self._history.accepted_changes and directory.n_told():
            # The study could be made again of the present loss only, and not of those before.
            problem = (
                "it is gone or torn, and so is the other, and options were changed on the way"
            )
            raise DamagedFileError(directory.checkpoints[0], 0, problem)
        position = checkpoint.position if checkpoint is not None else 0
        directory.cut_back(directory.study_file, position, fence=self._options.take_over)
        turn_direction(directory.study_file, self._options.direction)
        depends_on = self._parts.depends_on
        return StudyPlan(
            path=directory.study_file,
            name=self._history.study_name,
            direction=self._options.direction,
            space=self._parts.loss.parameter_space,
            sampler=self._parts.sampler,
            sampler_name=f"{depends_on['sampler']}, seed {depends_on['random_seed']}",
            checkpoints=checkpoints,
            state=None if checkpoint is None else checkpoint.state,
        )

    def _errand(self, loss_id: str) -> Errand:
        return Errand(
            loss_id=loss_id,
            loss_name=self._parts.loss.name,
            run_name=self._directory.name,
            entry_id=self._options.entry_id,
            chunk_timeout_s=self._options.chunk_timeout_seconds,
        )

    def _loss_failed(self, failed: FailedTrial) -> LossFailedError:
        return LossFailedError(
            failed.proposal.number,
            failed.failure.seed,
            failed.chunk_start,
            failed.proposal.params,
            failed.failure.exception_type,
            failed.failure.traceback,
            run_dir=self._directory.path,
        )

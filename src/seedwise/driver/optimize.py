"""One run of one study, from opening the cluster to its result."""

from __future__ import annotations

from typing import Any

from seedwise.driver.carry_out import BaseRun
from seedwise.driver.signals import StopSignals
from seedwise.driver.study_work import StudyWork
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine
from seedwise.engine.loop import work_through
from seedwise.errors import LossFailedError
from seedwise.model.options.study import RunOptions
from seedwise.results.study import OptimizeResult


class Run(BaseRun[RunOptions, OptimizeResult]):
    """A run of `optimize_run`."""

    @property
    def n_trials(self) -> int:
        """How many trials there are to be in all."""
        return self.options.n_trials

    @property
    def n_trials_at_once(self) -> int:
        """How many trials may be in flight."""
        return self.options.max_concurrent_trials

    def is_done(self) -> bool:
        """Tell whether all trials are told already."""
        self._study = StudyWork(
            self.parts, self.options, self.directory, self.history, self.report
        )
        return self._study.is_done()

    def recover(self) -> None:
        """Bring study and ledger to a state to go on from."""
        note = self._study.stop_note()
        if note is not None:  # of a driver that was killed before it could say so
            self._study.note_seen()
            raise note.error
        self._study.recover()

    def work(self, workplace: Workplace, stop: StopSignals) -> None:
        """Work on the study, to its end or to the trial at which it is to stop."""
        work_through(workplace.dispatcher, [_Job(self, workplace, stop)], at_once=1)
        try:
            self._study.raise_failure()
        except LossFailedError:
            self._study.note_seen()
            raise

    def finished(self) -> OptimizeResult:
        """Note that the run is at its end, and return its result."""
        self._study.count()
        self._study.finish(complete=not self.is_cut_short())
        return self._study.result()

    @property
    def study(self) -> StudyWork:
        """The work on the study."""
        return self._study


class _Job:
    def __init__(self, run: Run, workplace: Workplace, stop: StopSignals) -> None:
        self._run = run
        self._workplace = workplace
        self._stop = stop

    def open(self) -> tuple[Any, Engine]:
        run = self._run
        emit = run.emitter(self._stop, run.report)
        channel, engine = run.study.open(self._workplace, emit, run.out_of_time)
        run.report.n_in_flight = lambda: engine.n_in_flight
        return channel, engine

    def close(self, error: Exception | None) -> None:
        self._run.study.close()
        if error is not None:
            raise error

"""The work on one study: that of a run, or of one of several entries."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from seedwise.disk.frames import frames_end
from seedwise.driver import validation
from seedwise.driver.engine_job import EngineJob
from seedwise.driver.run import InFlight, Run, phases_of
from seedwise.driver.same_run import decides_losses
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine, Rules
from seedwise.engine.trial import OpenTrial, Racing
from seedwise.errors import DamagedFileError, LossFailedError, SpaceError, replay_command
from seedwise.folder import stop_note
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import FRAMING as LEDGER
from seedwise.folder.ledger import Ledger
from seedwise.folder.ledger import read_trials as read_losses
from seedwise.model.events import Event, TrialFinished
from seedwise.model.trials import TrialResult, best_trial
from seedwise.model.validation import Validation, in_words
from seedwise.results.read import read_study
from seedwise.results.study import OptimizeResult, read_validation
from seedwise.study.checkpoint import Checkpoints
from seedwise.study.journal import journal_end, told_later, turn_direction
from seedwise.study.proposer import StudyPlan, open_proposer, read_params, read_trials, take_back


class StudyWork(EngineJob[OptimizeResult]):
    """The work on a study, of which these trials are told; without a plan, nothing is left."""

    seeds_saved = 0

    def __init__(
        self, run: Run, trials: Sequence[TrialResult], plan: StudyPlan | None = None
    ) -> None:
        super().__init__(run, is_left=plan is not None)
        self.n_planned = run.options.n_trials
        self.n_chunks = validation.n_chunks_of_parts(run)
        self.trials = trials
        self._count()
        #: Whether all parts of the work came to their end.
        self.is_done = False
        self._plan = plan
        self._parts: Iterator[Engine] | None = None
        self._halving: validation.Halving | None = None

    def _count(self) -> None:
        """Count the trials told; those that are told later are added, as there may be many."""
        self._counts = Counter(trial.state for trial in self.trials)
        self.best = best_trial(self.trials, self.run.options.direction)
        self.seeds_saved = self.run.parts.looks.n_saved(self.trials)

    @property
    def n_trials(self) -> int:
        """How many trials there are to be; no further ones once these have all the seeds."""
        options = self.run.options
        is_spent = validation.are_seeds_spent(options, self.trials)
        return len(self.trials) + self.in_flight().n_trials if is_spent else options.n_trials

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, of the validation neither."""
        return validation.is_complete(self.run, self.trials)

    def in_flight(self) -> InFlight:
        """Return what is in flight; in the validation, seeds alone."""
        found = super().in_flight()
        if self._halving is None or self.is_done:
            return found
        n_done = self._halving.n_seeds_done(found.n_seeds_done)
        return InFlight(n_fresh_done=n_done, n_fresh=self._halving.n_seeds)

    def validated(self) -> Validation | None:
        """Return what the validation found; None without one, or until its end."""
        return None if self._engine is not None else read_validation(self.run.directory)

    def outcome(self) -> str | None:
        """Say what the validation found."""
        found = self.validated()
        return None if found is None else in_words(found)

    def remarks(self) -> Sequence[str]:
        """Return what the study and the work on it show."""
        return () if self.best is None else super().remarks()

    def open(self, workplace: Workplace) -> Engine | None:
        """Begin the search, and after it round by round the validation of its best trials."""
        if self._parts is None:
            self._parts = self._all_parts(workplace)
        engine = next(self._parts, None)
        self.is_done = engine is None
        return engine

    def _all_parts(self, workplace: Workplace) -> Iterator[Engine]:
        run = self.run
        yield self._open_search(workplace)
        self.end_engine()
        if self.failed is not None or validation.is_validated(run, self.trials):
            return
        if validation.is_searched(run, self.trials) and not self.out_of_time():
            self._halving = halving = validation.begin_validation(run, self.trials)
            self.note(
                workplace,
                f"the search is finished; its best trials are validated: {halving.n_seeds} "
                "evaluations of fresh seeds",
            )
            while halving.begin_round():
                yield self._open_round(workplace, halving)
                self.end_engine()
                if halving.n_waiting:
                    break  # time is up
            else:
                validation.write_validation(run, halving.found())
                return
        self.note(
            workplace,
            "time is up, and the best trials are not validated: resume the run for that, or call "
            f"it with n_trials={len(self.trials)} to validate those that are told",
        )

    def _open_search(self, workplace: Workplace) -> Engine:
        assert self._plan is not None  # or nothing is left to do
        run, options = self.run, self.run.options
        validation.forget_found(run)
        path, n_seeds = run.directory.ledger, len(run.parts.plan.seeds)
        dispatcher, lag = workplace.dispatcher, options.lag_of(run.parts.looks)
        workplace.demand.change(self, validation.n_chunks_of_parts(run)[0])
        proposer = self.closing.enter_context(open_proposer(workplace.place.client, self._plan))
        self.trials = proposer.trials
        self._count()
        told = {trial.number for trial in proposer.trials}
        ledger = self.closing.enter_context(
            Ledger(path, run.guard, options.accept_changes, told.__contains__)
        )
        rules = Rules(
            n_trials=options.n_trials,
            in_flight=lambda: 0 if validation.are_seeds_spent(options, self.trials) else lag,
            stops_at_failure=_stops_at_failure(run),
            prunes=options.prune_failed_trials,
            note_stop=self._note_stop,
            room=lambda: dispatcher.pack.chunks_wanted - dispatcher.n_outstanding,
        )
        # Trials that were retried may be told after those in flight were asked for.
        later = told_later(self._plan.path, [one.number for one in proposer.unfinished()])
        racing = Racing(
            run.parts.plan,
            run.parts.looks,
            options.direction,
            lambda told, asked: told <= asked - lag and told not in later.get(asked, ()),
            _comparable(run, proposer.trials),
            lambda number: read_losses(path, [number], n_seeds)[number].losses,
        )
        return self.begin_engine(workplace, rules, racing, proposer, ledger)

    def _open_round(self, workplace: Workplace, halving: validation.Halving) -> Engine:
        run, path = self.run, self.run.directory.validation_ledger
        self._part = f"validation-{halving.n_rounds}"
        # If the sampler's state was torn, a trial may have been asked for at other params.
        ledger = self.closing.enter_context(Ledger(path, run.guard, accept_changes=True))
        rules = Rules(halving.n_waiting, lambda: halving.n_waiting, in_order=False)
        # Chunks are cut for the workers that they want, of which the exact number comes next.
        workplace.demand.change(self, halving.n_waiting * run.parts.plan.n_chunks)
        engine = self.begin_engine(workplace, rules, halving, halving, ledger)
        workplace.demand.change(self, engine.n_chunks_missing)
        return engine

    def take(self, workplace: Workplace, event: Event) -> None:
        """Take an event; of the candidates of the validation, only failures are told."""
        if not isinstance(event, TrialFinished):
            super().take(workplace, event)
        elif self._halving is None:
            self._counts[event.trial.state] += 1
            self.best = event.best
            self.seeds_saved += self.run.parts.looks.n_saved([event.trial])
            super().take(workplace, event)
        elif event.failure is not None:
            trial, seed = event.trial, event.failure.seed
            why = replay_command(self.run.directory.path, trial.number, seed, validation=True)
            self.note(
                workplace,
                f"trial {trial.number} failed on fresh seeds, and so can't win: {trial.error}; to "
                f"see why: {why}",
            )

    def note(self, workplace: Workplace, text: str) -> None:
        """Tell something of the work."""
        workplace.report.note(text)

    def close(self, error: Exception | None) -> None:
        """End the work, done or not."""
        self._plan = None  # the sampler's state may be large, and there may be many entries
        super().close(error)
        self._count()

    def conclude(self, workplace: Workplace) -> None:
        """Raise LossFailedError if the work stopped at a trial whose loss failed."""
        del workplace
        if self.failed is not None:
            stop_note.note_seen(self.run.directory)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise LossFailedError if there is such a trial, of which the user is not told yet."""
        if self.failed is not None:
            raise _loss_failed(self.run.directory, self.failed)

    def so_far(self) -> OptimizeResult:
        """Return the result of what is told by now."""
        return read_study(self.run.directory, self.trials)

    def result(self) -> OptimizeResult:
        """Return the result; raises NoCompleteTrialError if no trial is complete."""
        result = self.so_far()
        _ = result.best_trial  # raises if there is none
        return result

    def _note_stop(self, failed: OpenTrial) -> bool:
        directory, number = self.run.directory, failed.proposal.number
        note = stop_note.read(directory)
        if note is not None and note.seen and number <= note.number:
            return False  # it is told again, of a study that went on after it
        stop_note.write(directory, stop_note.StopNote(number, _loss_failed(directory, failed)))
        return True


def optimization(run: Run, _: Callable[[Event], None]) -> StudyWork:
    """Take up the work of a run."""
    if (trials := trials_of_finished(run)) is not None:
        return StudyWork(run, trials)
    if (note := unseen_stop(run)) is not None:
        stop_note.note_seen(run.directory)
        raise note.error
    work = StudyWork(*recovered_study(run))
    work.run.prepare()
    return work


def trials_of_finished(run: Run) -> Sequence[TrialResult] | None:
    """Return the trials of a study that is finished; None if something is left to do."""
    path = run.directory.study_file
    if run.history.is_new or run.history.changes:
        return None
    if not path.exists() or journal_end(path) < path.stat().st_size:
        return None
    trials = told_trials(run)
    if run.options.retry_failed and (
        _failed(trials) or validation.failed_on_fresh_seeds(run, trials)
    ):
        return None
    none_in_flight = len(read_params(path, run.history.study_name)) == len(trials)
    return trials if none_in_flight and validation.is_complete(run, trials) else None


def recovered_study(run: Run) -> tuple[Run, Sequence[TrialResult], StudyPlan]:
    """Return a study that is to be worked on, with its file as it is to go on from.

    The study file is brought to where the sampler's state was saved last. What it has beyond that
    is cut off, and asked and told again in the same way; the ledger knows the losses.
    """
    directory, options, history = run.directory, run.options, run.history
    checkpoints = Checkpoints(directory.checkpoints)
    position, state = checkpoints.latest(journal_end(directory.study_file)) or (0, None)
    changed = history.accepted_changes or history.phases
    if state is None and changed and directory.n_told():
        # The study could be made again of the present loss only, and not of those before.
        problem = "it is gone or torn, and so is the other, and options were changed on the way"
        raise DamagedFileError(directory.checkpoints[0], 0, problem)
    ledger_end = frames_end(directory.ledger, LEDGER)
    directory.cut_back(directory.study_file, position, fence=options.take_over)
    directory.cut_back(directory.ledger, ledger_end, fence=options.take_over)
    turn_direction(directory.study_file, options.direction)
    trials = read_trials(directory.study_file, history.study_name) if position else []
    if decides_losses(history.changes):
        with Ledger(directory.ledger, run.guard, options.accept_changes) as ledger:
            ledger.begin_phase(", ".join(history.changes))
    run = run.at_work(phases_of(run, best_trial(trials, options.direction)))
    if options.retry_failed:
        trials = _without_failed(run, trials)
    depends_on, phases = run.parts.depends_on, list(run.history.phases)
    n_seeds = len(run.parts.plan.seeds) if run.parts.looks.in_parts else None
    attributes = {"overrides": options.overrides, "phases": phases, "n_seeds": n_seeds}
    plan = StudyPlan(
        path=directory.study_file,
        name=history.study_name,
        direction=options.direction,
        space=run.space,
        sampler=run.parts.sampler,
        sampler_name=f"{depends_on['sampler']}, seed {depends_on['random_seed']}",
        checkpoints=checkpoints,
        state=state,
        enqueued=run.parts.point,
        attributes={f"seedwise_{name}": value for name, value in attributes.items() if value},
    )
    return run, trials, plan


def unseen_stop(run: Run) -> stop_note.StopNote | None:
    """Return why the study stopped, if the user was not told; None if it is to go on."""
    note = stop_note.read(run.directory)
    if note is None or note.seen or not _stops_at_failure(run) or run.options.retry_failed:
        return None
    # A kill may have come before the study was told: it will be, and stops at the trial again,
    # unless the loss was corrected in the meantime.
    failed = {stop_note.NO_TRIAL, *(trial.number for trial in _failed(told_trials(run)))}
    return note if note.number in failed else None


def told_trials(run: Run) -> Sequence[TrialResult]:
    """Return the trials that the study file tells, by number; none if there is no study yet."""
    return read_trials(run.directory.study_file, run.history.study_name)


def _comparable(run: Run, trials: Sequence[TrialResult]) -> Sequence[TrialResult]:
    """Return the told trials with which further ones can be compared, seed by seed."""
    if not run.history.accepted_changes or len(run.parts.looks.sizes) == 1:
        return trials
    numbers = [trial.number for trial in trials]
    read = read_losses(run.directory.ledger, numbers, len(run.parts.plan.seeds))
    wanted = run.parts.looks.wanted(0, -1)
    return [
        trial
        for trial in trials
        if not decides_losses(read[trial.number].changed_since)
        and np.isfinite(read[trial.number].losses[wanted]).all()
    ]


def _failed(trials: Sequence[TrialResult]) -> list[TrialResult]:
    return [trial for trial in trials if trial.error is not None]


def _without_failed(run: Run, trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Have the failed trials be in flight again; return the others."""
    directory, space = run.directory, run.space
    failed = _failed(trials)
    for trial in failed:
        if missing := space.keys() - trial.params.keys():
            problem = f"trial {trial.number} failed and has no value of it; leave out retry_failed"
            raise SpaceError(problem, min(missing))
    # It may stop at these trials again. The study file comes last, in one step: after a kill
    # before it, the same call does all this once more; after it, the trials are in flight.
    directory.failure.path.unlink(missing_ok=True)
    if numbers := [trial.number for trial in failed]:
        with Ledger(directory.ledger, run.guard, run.options.accept_changes) as ledger:
            ledger.begin_again(numbers)
        take_back(directory.study_file, run.history.study_name, numbers)
    return [trial for trial in trials if trial.error is None]


def _stops_at_failure(run: Run) -> bool:
    return run.options.fail_on_chunk_error and not run.options.prune_failed_trials


def _loss_failed(directory: RunDirectory, failed: OpenTrial) -> LossFailedError:
    failure = failed.failure
    assert failure is not None  # or it would not have failed
    return LossFailedError(
        failed.proposal.number,
        failure.seed,
        failed.chunk_start,
        failed.proposal.params,
        failure.exception_type,
        failure.traceback,
        run_dir=directory.path,
        resume_dir=directory.home.path,
        message=failure.message,
    )

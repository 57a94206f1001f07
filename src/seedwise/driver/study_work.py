"""The work on one study: that of a run, or of one of several entries."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.driver import validation
from seedwise.driver.engine_job import EngineJob
from seedwise.driver.report import InFlight
from seedwise.driver.run import Run
from seedwise.driver.same_run import decides_losses
from seedwise.driver.tally import Summary
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine, FailedTrial, Rules
from seedwise.engine.race import Racing
from seedwise.errors import DamagedFileError, LossFailedError, OptionError, SpaceError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Ledger, ledger_end
from seedwise.folder.ledger import read_trials as read_losses
from seedwise.folder.stop_note import NO_TRIAL, StopNote, read_stop_note, write_stop_note
from seedwise.model.events import Event, TrialFinished
from seedwise.model.points import refined_space
from seedwise.model.space import space_to_json
from seedwise.model.trials import TrialResult, TrialState, best_trial
from seedwise.results.read import read_study
from seedwise.results.study import OptimizeResult, read_validation
from seedwise.study.checkpoint import Checkpoints
from seedwise.study.journal import journal_end, told_later, turn_direction
from seedwise.study.proposer import StudyPlan, open_proposer, read_params, read_trials, take_back


@attrs.frozen
class Study:
    """A study as it is taken up, before any work on it."""

    run: Run
    #: The trials that are told, by number.
    trials: Sequence[TrialResult]
    #: What the study is made of; None if nothing is left to do.
    plan: StudyPlan | None = None


class StudyWork(EngineJob):
    """Has an engine work on a study, and returns its result."""

    def __init__(self, study: Study) -> None:
        options = study.run.options
        self.trials = study.trials
        #: Whether all parts of the work came to their end.
        self.is_done = False
        self._plan = study.plan
        self._parts: Iterator[Engine] | None = None
        self._halving: validation.Halving | None = None
        super().__init__(study.run, Summary(study.run, options.n_trials, self.counts))

    @property
    def best(self) -> TrialResult | None:
        """The best trial told."""
        return best_trial(self.trials, self.run.options.direction)

    @property
    def n_trials(self) -> int:
        """How many trials there are to be; those told once they have all the seeds."""
        n_told, options = len(self.trials), self.run.options
        return n_told if validation.are_seeds_spent(options, self.trials) else options.n_trials

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials are told, by state."""
        return Counter(trial.state for trial in self.trials)

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
        return InFlight(validation_seeds=(n_done, self._halving.n_seeds))

    def write_summary(self) -> None:
        """Write ``summary.json``."""
        self.summary.write(self.best, self.counts, read_validation(self.run.directory))

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
        path, accept = run.directory.ledger, options.accept_changes
        dispatcher, lag = workplace.dispatcher, options.lag_of(run.parts.looks)
        workplace.demand.change(self, validation.n_chunks_of_parts(run)[0])
        with contextlib.ExitStack() as closing:
            ledger = closing.enter_context(Ledger(path, run.guard, accept))
            proposer = closing.enter_context(open_proposer(workplace.place.client, self._plan))
            self.trials = proposer.trials
            ledger.forget([trial.number for trial in proposer.trials])
            rules = Rules(
                n_trials=options.n_trials,
                in_flight=lambda: 0 if validation.are_seeds_spent(options, self.trials) else lag,
                direction=options.direction,
                trial_retry_attempts=options.trial_retry_attempts,
                stops_at_failure=_stops_at_failure(run),
                prunes=options.prune_failed_trials,
                note_stop=self._note_stop,
                room=lambda: dispatcher.pack.chunks_wanted - dispatcher.n_outstanding,
            )
            # Trials that were retried may be told after those in flight were asked for.
            numbers = [proposal.number for proposal in proposer.unfinished()]
            later = told_later(self._plan.path, numbers)
            racing = Racing(
                run.parts.plan,
                run.parts.looks,
                options.direction,
                lambda told, asked: told <= asked - lag and told not in later.get(asked, ()),
                _comparable(run, proposer.trials),
                self._losses,
            )
            return self.begin_engine(workplace, rules, racing, proposer, ledger, closing)

    def _open_round(self, workplace: Workplace, halving: validation.Halving) -> Engine:
        run, path = self.run, self.run.directory.validation_ledger
        self._part = f"validation-{halving.n_rounds}"
        with contextlib.ExitStack() as closing:
            # If the sampler's state was torn, a trial may have been asked for at other params.
            ledger = closing.enter_context(Ledger(path, run.guard, accept_changes=True))
            rules = Rules(
                n_trials=halving.n_waiting,
                in_flight=lambda: halving.n_waiting,
                in_order=False,
                direction=run.options.direction,
                trial_retry_attempts=run.options.trial_retry_attempts,
            )
            # Chunks are cut for the workers that they want, of which the exact number comes next.
            workplace.demand.change(self, halving.n_waiting * run.parts.plan.n_chunks)
            engine = self.begin_engine(workplace, rules, halving, halving, ledger, closing)
        workplace.demand.change(self, engine.n_chunks_missing)
        return engine

    def take(self, workplace: Workplace, event: Event) -> None:
        """Take an event; of the candidates of the validation, only failures are told."""
        if self._halving is None or not isinstance(event, TrialFinished):
            super().take(workplace, event)
        elif event.failure is not None:
            self.note(workplace, validation.failed_words(self.run, event.trial, event.failure))

    def note(self, workplace: Workplace, text: str) -> None:
        """Tell something of the work."""
        workplace.report.note(text)

    def close(self, error: Exception | None) -> None:
        """End the work, done or not."""
        self._plan = None  # the sampler's state may be large, and there may be many entries
        super().close(error)

    def raise_failure(self) -> None:
        """Raise LossFailedError if the work stopped at a trial whose loss failed."""
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

    def _losses(self, number: int) -> NDArray[np.float64]:
        path, n_seeds = self.run.directory.ledger, len(self.run.parts.plan.seeds)
        return read_losses(path, [number], n_seeds)[number].losses

    def _note_stop(self, failed: FailedTrial) -> bool:
        directory, number = self.run.directory, failed.proposal.number
        note = read_stop_note(directory)
        if note is not None and note.seen and number <= note.number:
            return False  # it is told again, of a study that went on after it
        write_stop_note(directory, StopNote(number, _loss_failed(directory, failed)))
        return True


def finished_study(run: Run) -> Study | None:
    """Return a study of which all trials are told already; None if something is left to do."""
    path = run.directory.study_file
    if run.history.is_new or run.history.changes:
        return None
    if not path.exists() or journal_end(path) < path.stat().st_size:
        return None
    name = run.history.study_name
    trials = read_trials(path, name)
    none_in_flight = len(read_params(path, name)) == len(trials)
    if run.options.retry_failed and (
        _failed(trials) or validation.failed_on_fresh_seeds(run, trials)
    ):
        return None
    is_finished = none_in_flight and validation.is_complete(run, trials)
    return Study(run, trials) if is_finished else None


def recovered_study(run: Run) -> Study:
    """Return a study that is to be worked on, with its file as it is to go on from.

    The study file is brought to where the sampler's state was saved last. What it has beyond that
    is cut off, and asked and told again in the same way; the ledger knows the losses.
    """
    directory, options, history = run.directory, run.options, run.history
    checkpoints = Checkpoints(directory.checkpoints)
    checkpoint = checkpoints.latest(journal_end(directory.study_file))
    changed = history.accepted_changes or history.phases
    if checkpoint is None and changed and directory.n_told():
        # The study could be made again of the present loss only, and not of those before.
        problem = "it is gone or torn, and so is the other, and options were changed on the way"
        raise DamagedFileError(directory.checkpoints[0], 0, problem)
    position = checkpoint.position if checkpoint is not None else 0
    directory.cut_back(directory.study_file, position, fence=options.take_over)
    directory.cut_back(directory.ledger, ledger_end(directory.ledger), fence=options.take_over)
    turn_direction(directory.study_file, options.direction)
    trials = read_trials(directory.study_file, history.study_name) if position else []
    if decides_losses(history.changes):
        with Ledger(directory.ledger, run.guard, options.accept_changes) as ledger:
            ledger.begin_phase(", ".join(history.changes))
    run = run.at_work(_phases(run, best_trial(trials, options.direction)))
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
        state=None if checkpoint is None else checkpoint.state,
        enqueued=run.parts.point,
        attributes={f"seedwise_{name}": value for name, value in attributes.items() if value},
    )
    return Study(run, trials, plan)


def unseen_stop(run: Run) -> StopNote | None:
    """Return why the study stopped, if the user was not told; None if it is to go on."""
    note = read_stop_note(run.directory)
    if note is None or note.seen or not _stops_at_failure(run) or run.options.retry_failed:
        return None
    # A kill may have come before the study was told: it will be, and stops at the trial again,
    # unless the loss was corrected in the meantime.
    failed = {NO_TRIAL, *(trial.number for trial in _failed(told_trials(run)))}
    return note if note.number in failed else None


def note_stop_seen(directory: RunDirectory) -> None:
    """Have the study go on after the trial at which it stopped, when it is called again."""
    note = read_stop_note(directory)
    if note is not None and not note.seen:
        write_stop_note(directory, attrs.evolve(note, seen=True))


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


def _phases(run: Run, best: TrialResult | None) -> tuple[Mapping[str, Any], ...]:
    """Return the phases of the study; a smaller space begins one, unless it has begun before."""
    history, factor, n_trials = run.history, run.options.refine_search_factor, run.options.n_trials
    last = history.phases[-1] if history.phases else None
    if factor is None:
        return history.phases
    if last is not None and (last["factor"], last["n_trials"]) == (factor, n_trials):
        return history.phases
    if best is None and run.directory.parent is not None:
        return history.phases  # the other entries have one to go around
    if best is None:
        hint = "There is no completed trial yet to go around."
        allowed = "None for a run that has no completed trial"
        raise OptionError("refine_search_factor", factor, allowed, hint)
    space = refined_space(run.space, best.params, factor)
    phase = {
        "from_trial": len(read_params(run.directory.study_file, history.study_name)),
        "factor": factor,
        "n_trials": n_trials,
        "best_trial": best.number,
        "space": space_to_json(space),
        "of": space_to_json(run.parts.space),
    }
    return *history.phases, phase


def _loss_failed(directory: RunDirectory, failed: FailedTrial) -> LossFailedError:
    return LossFailedError(
        failed.proposal.number,
        failed.failure.seed,
        failed.chunk_start,
        failed.proposal.params,
        failed.failure.exception_type,
        failed.failure.traceback,
        run_dir=directory.path,
        resume_dir=directory.home.path,
        message=failed.failure.message,
    )

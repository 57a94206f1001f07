"""The work of one study: that of a run, or of one of several entries."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from seedwise.dispatch.channel import Channel, Errand
from seedwise.driver.parts import Parts
from seedwise.driver.report import Report
from seedwise.driver.same_run import decides_losses
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine, FailedTrial, Rules
from seedwise.errors import DamagedFileError, LossFailedError, NoCompleteTrialError, OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.history import History
from seedwise.folder.ledger import Ledger, ledger_end
from seedwise.folder.stop_note import NO_TRIAL, StopNote, read_stop_note, write_stop_note
from seedwise.folder.trial_files import TrialFolders
from seedwise.model.events import Event
from seedwise.model.held import refined_space, with_overrides
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.study import RunOptions
from seedwise.model.points import first_points
from seedwise.model.space import ParameterSpace, SearchParam
from seedwise.model.trials import TrialResult, best_trial
from seedwise.results.study import OptimizeResult
from seedwise.study.checkpoint import Checkpoints
from seedwise.study.journal import journal_end, turn_direction
from seedwise.study.proposer import StudyPlan, open_proposer, read_params, read_trials


class StudyWork:
    """Recovers a study, has an engine work on it, and returns its result.

    Parameters
    ----------
    parts : Parts
        What its run is made of.
    options : RunOptions
        Its options.
    directory : RunDirectory
        Its folder.
    history : History
        What the folder says of it.
    report : Report
        What keeps the folder up to date.
    """

    def __init__(
        self,
        parts: Parts,
        options: RunOptions,
        directory: RunDirectory,
        history: History,
        report: Report,
    ) -> None:
        #: The trials that are told, by number.
        self.trials: Sequence[TrialResult] = ()
        self._parts = parts
        self._options = options
        self._directory = directory
        self._history = history
        self._report = report
        self._base = with_overrides(parts.loss.parameter_space, options.overrides)
        self._plan: StudyPlan | None = None
        self._engine: Engine | None = None
        self._failed: FailedTrial | None = None
        self._closing = contextlib.ExitStack()

    @property
    def best(self) -> TrialResult | None:
        """The best trial told."""
        return best_trial(self.trials, self._options.direction)

    def is_done(self) -> bool:
        """Tell whether all trials are told already; `trials` holds them then."""
        path, n_trials = self._directory.study_file, self._options.n_trials
        if self._history.is_new or self._history.changes or self._directory.n_told() < n_trials:
            return False
        if not path.exists() or journal_end(path) < path.stat().st_size:
            return False
        name = self._history.study_name
        trials = read_trials(path, name)
        none_in_flight = len(read_params(path, name)) == len(trials)
        if len(trials) < n_trials or not none_in_flight:
            return False
        self.trials = trials
        return True

    def recover(self) -> None:
        """Bring the study file to where the sampler's state was saved last.

        What it has beyond that is cut off, and asked and told again in the same way; the ledger
        knows the losses.
        """
        directory, options, history = self._directory, self._options, self._history
        checkpoints = Checkpoints(directory.checkpoints)
        checkpoint = checkpoints.latest(journal_end(directory.study_file))
        changed = history.accepted_changes or history.phases
        if checkpoint is None and changed and directory.n_told():
            # The study could be made again of the present loss only, and not of those before.
            problem = (
                "it is gone or torn, and so is the other, and options were changed on the way"
            )
            raise DamagedFileError(directory.checkpoints[0], 0, problem)
        position = checkpoint.position if checkpoint is not None else 0
        directory.cut_back(directory.study_file, position, fence=options.take_over)
        directory.cut_back(directory.ledger, ledger_end(directory.ledger), fence=options.take_over)
        turn_direction(directory.study_file, options.direction)
        self.trials = read_trials(directory.study_file, history.study_name) if position else ()
        if decides_losses(history.changes):
            with self._open_ledger() as ledger:
                ledger.begin_phase(", ".join(history.changes))
        if options.refine_search_factor is not None:
            self._refine(options.refine_search_factor)
        depends_on = self._parts.depends_on
        self._plan = StudyPlan(
            path=directory.study_file,
            name=history.study_name,
            direction=options.direction,
            space=self._space(),
            sampler=self._parts.sampler,
            sampler_name=f"{depends_on['sampler']}, seed {depends_on['random_seed']}",
            checkpoints=checkpoints,
            state=None if checkpoint is None else checkpoint.state,
            enqueued=first_points(options, self._base),
            attributes=self._attributes(),
        )

    def open(
        self,
        workplace: Workplace,
        emit: Callable[[Event], None],
        out_of_time: Callable[[], bool],
    ) -> tuple[Channel, Engine]:
        """Begin the work.

        Parameters
        ----------
        workplace : Workplace
            Where it is done.
        emit : callable
            Takes the events.
        out_of_time : callable
            Tells whether no further trial is to be asked for.

        Returns
        -------
        tuple of Channel and Engine
            What the loop needs.
        """
        assert self._plan is not None  # `recover` was called
        options, parts = self._options, self._parts
        folders = TrialFolders(self._directory.path, self._history.trial_digits)
        with contextlib.ExitStack() as closing:
            ledger = closing.enter_context(self._open_ledger())
            proposer = closing.enter_context(open_proposer(workplace.place.client, self._plan))
            self.trials = proposer.trials
            ledger.forget([trial.number for trial in proposer.trials])
            channel = workplace.dispatcher.channel(self._errand(workplace, folders), emit)
            closing.callback(channel.close)
            self._engine = Engine(
                Rules(
                    n_trials=options.n_trials,
                    in_flight=lambda: options.max_concurrent_trials,
                    direction=options.direction,
                    trial_retry_attempts=options.trial_retry_attempts,
                    stops_at_failure=options.fail_on_chunk_error
                    and not options.prune_failed_trials,
                    prunes=options.prune_failed_trials,
                    note_stop=self._note_stop,
                ),
                parts.plan,
                proposer,
                channel,
                ledger,
                folders,
            )
            counts = Counter(trial.state for trial in proposer.trials)
            self._report.begun(workplace, counts, proposer.best)
            self._engine.begin(emit, out_of_time)
            closing.callback(self._close_folders, folders)
            self._closing = closing.pop_all()
        return channel, self._engine

    def close(self) -> None:
        """End the work, done or not."""
        self._closing.close()
        self._failed = self._engine.failed if self._engine is not None else None
        self._engine = self._plan = None  # they hold all that Optuna knows of the trials

    def _close_folders(self, folders: TrialFolders) -> None:
        # Those of trials in flight are taken up by the driver that goes on.
        if self._engine is not None and self._engine.n_in_flight == 0:
            folders.close()

    def stop_note(self) -> StopNote | None:
        """Return why the study stopped, if the user was not told; None if it is to go on."""
        note = read_stop_note(self._directory)
        stops = self._options.fail_on_chunk_error and not self._options.prune_failed_trials
        if note is None or note.seen or not stops:
            return None
        # A kill may have come before the study was told: it will be, and stops at the trial again.
        self.trials = self._read_told()
        told = {NO_TRIAL, *(trial.number for trial in self.trials)}
        return note if note.number in told else None

    def note_seen(self) -> None:
        """Have the study go on after the trial at which it stopped, when it is called again."""
        note = read_stop_note(self._directory)
        if note is not None and not note.seen:
            write_stop_note(self._directory, attrs.evolve(note, seen=True))

    def raise_failure(self) -> None:
        """Raise the failure at which the work stopped, if there is one.

        Raises
        ------
        LossFailedError
            If the loss failed, and the run is to stop at that.
        """
        if self._failed is not None:
            raise self._loss_failed(self._failed)

    def _read_told(self) -> Sequence[TrialResult]:
        path = self._directory.study_file
        try:
            return read_trials(path, self._history.study_name) if path.exists() else ()
        except KeyError:  # no study is in it yet
            return ()

    def _note_stop(self, failed: FailedTrial) -> bool:
        note = read_stop_note(self._directory)
        if note is not None and note.seen and failed.proposal.number <= note.number:
            return False  # it is told again, of a study that went on after it
        number = failed.proposal.number
        write_stop_note(self._directory, StopNote(number, self._loss_failed(failed)))
        return True

    def count(self) -> None:
        """Have the report count the trials that are told."""
        self._report.standing.count_anew(Counter(trial.state for trial in self.trials))

    def finish(self, *, complete: bool = True) -> None:
        """Note that the study is at its end; time may have been up before."""
        self._report.finished(self.best, complete=complete)

    def result(self) -> OptimizeResult:
        """Return the result.

        Raises
        ------
        NoCompleteTrialError
            If no trial is complete.
        """
        best, trials, path = self.best, self.trials, self._directory.path
        if best is None:
            errors = [trial.error for trial in trials if trial.error is not None]
            raise NoCompleteTrialError(path, len(errors), next(iter(errors), None))
        assert best.value is not None  # the best trial is complete
        return OptimizeResult(
            loss_name=self._parts.loss.name,
            best_value=best.value,
            best_params=dict(best.params),
            best_stderr=best.stderr,
            best_n_seeds=best.n_seeds,
            n_trials=len(trials),
            study_name=self._history.study_name,
            run_dir=str(path),
            mode=ExecutionMode(self._report.mode),
            trials=tuple(trials),
            study_file=self._directory.study_file,
        )

    def _refine(self, factor: float) -> None:
        """Begin a phase in a smaller space, unless this call has begun it before."""
        history, n_trials = self._history, self._options.n_trials
        last = history.phases[-1] if history.phases else None
        if last is not None and (last["factor"], last["n_trials"]) == (factor, n_trials):
            return
        path = self._directory.study_file
        best = self.best
        if best is None and self._directory.parent is not None:
            return  # the other entries have one to go around
        if best is None:
            hint = "There is no completed trial yet to go around."
            allowed = "None for a run that has no completed trial"
            raise OptionError("refine_search_factor", factor, allowed, hint)
        space = refined_space(self._space(), best.params, factor)
        phase = {
            "from_trial": len(read_params(path, history.study_name)),
            "factor": factor,
            "n_trials": n_trials,
            "best_trial": best.number,
            "space": {name: _fields(param) for name, param in space.items()},
            "of": {name: _fields(param) for name, param in self._base.items()},
        }
        self._history = self._report.history = attrs.evolve(
            history, phases=(*history.phases, phase)
        )

    def _space(self) -> ParameterSpace:
        """Return the space that is searched: what is as it was in the last phase is as narrow."""
        if not self._history.phases:
            return self._base
        last = self._history.phases[-1]
        return {
            name: _search_param(last["space"][name])
            if last["of"].get(name) == _fields(param)
            else param
            for name, param in self._base.items()
        }

    def _attributes(self) -> dict[str, Any]:
        found = {"overrides": self._options.overrides, "phases": list(self._history.phases)}
        return {f"seedwise_{name}": value for name, value in found.items() if value}

    def _open_ledger(self) -> Ledger:
        path, accept = self._directory.ledger, self._options.accept_changes
        return Ledger(path, self._report.guard, accept)

    def _errand(self, workplace: Workplace, folders: TrialFolders) -> Errand:
        parent = self._directory.parent
        name = self._directory.name
        return Errand(
            loss_id=workplace.loss_id,
            loss_name=self._parts.loss.name,
            run_name=name if parent is None else f"{parent.name}-{name}",
            entry_id=self._options.entry_id,
            chunk_timeout_s=self._options.chunk_timeout_seconds,
            attempts_dir=folders.attempts_dir,
            folder_stem=folders.stem,
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
            resume_dir=self._directory.home.path,
        )


def _fields(param: SearchParam) -> dict[str, Any]:
    """Return a parameter as JSON has it."""
    fields = attrs.asdict(param)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}


def _search_param(fields: Mapping[str, Any]) -> SearchParam:
    pairs: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return SearchParam(**pairs)

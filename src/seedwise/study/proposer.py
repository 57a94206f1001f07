"""The proposer, which asks Optuna for points and tells it their values."""

import bisect
import functools
import itertools
import pickle
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import optuna
from distributed import Client
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.trial import FrozenTrial

from seedwise.errors import NotARunError, RunFileError, SpaceError
from seedwise.model.space import ParameterSpace, ParamValue
from seedwise.model.trials import Proposal, TrialOutcome, TrialResult, TrialState, best_trial
from seedwise.study.checkpoint import Checkpoints
from seedwise.study.journal import take_back_tells
from seedwise.study.samplers import distributions
from seedwise.study.storage import (
    CachedDaskStorage,
    close_storage,
    load_study,
    open_storage,
    quiet_optuna,
)
from seedwise.usercode.pickling import dumps


@attrs.frozen
class StudyPlan:
    """What a study is made of."""

    path: Path
    name: str
    direction: str
    space: ParameterSpace
    #: As it is before the first trial.
    sampler: optuna.samplers.BaseSampler
    #: A saved state of a sampler of another name is not used.
    sampler_name: str
    checkpoints: Checkpoints
    #: The sampler's saved state, with which the study file must agree; None begins anew.
    state: bytes | None = None
    #: Returns some or all params of the trial of a number; None leaves them to the sampler.
    enqueued: Callable[[int], Mapping[str, Any] | None] = lambda _: None
    attributes: Mapping[str, Any] = attrs.field(factory=dict)


class Proposer:
    """Asks a study for points, and tells it how they turned out."""

    def __init__(self, study: optuna.Study, plan: StudyPlan, exhausted: bool = False) -> None:
        self._study = study
        self._plan = plan
        self._exhausted = exhausted
        # GridSampler and BruteForceSampler stop the study at their last point; outside of
        # Study.optimize, Optuna's own method refuses to be called.
        stop = functools.partial(setattr, self, "_exhausted", True)
        study.stop = stop  # type: ignore[method-assign]
        self._distributions = distributions(plan.space)
        self._storage = cast("CachedDaskStorage", study._storage)  # noqa: SLF001
        trials = study.get_trials(deepcopy=False)
        _require_compatible(trials, self._distributions)
        #: The trials that were told, by number.
        self.trials = [told_trial(trial) for trial in trials if trial.state.is_finished()]
        #: How many points were asked for, ever.
        self.n_asked = len(trials)
        in_flight = [trial for trial in trials if not trial.state.is_finished()]
        self._unfinished = [Proposal(trial.number, trial.params) for trial in in_flight]
        # Somebody may have added another study to the file: an id is not always the number.
        self._ids = {trial.number: trial._trial_id for trial in in_flight}  # noqa: SLF001
        # When they were asked for, the study says; but nobody worked on them since then.
        self._taken_up_s = {each.number: time.monotonic() for each in self._unfinished}
        with self._at_work():
            for key, value in plan.attributes.items():
                if study.user_attrs.get(key) != value:
                    study.set_user_attr(key, value)

    @property
    def best(self) -> TrialResult | None:
        """The best trial told so far."""
        return best_trial(self.trials, self._plan.direction)

    def unfinished(self) -> Sequence[Proposal]:
        """Return the points that an earlier proposer asked for and did not tell."""
        return self._unfinished

    def ask(self) -> Proposal | None:
        """Ask the sampler for the next point; None if it has no more."""
        if self._exhausted:
            return None
        with self._at_work():
            enqueued = self._plan.enqueued(self.n_asked)
            if enqueued is not None:
                self._study.enqueue_trial(dict(enqueued))
            trial = self._study.ask(self._distributions)
            # A sampler may give np.float64, or 1 for 1.0; the loss sees what a study file says.
            known = self._distributions
            params = {
                name: known[name].to_external_repr(float(known[name].to_internal_repr(value)))
                for name, value in trial.params.items()
            }
        self.n_asked += 1
        self._ids[trial.number] = trial._trial_id  # noqa: SLF001
        return Proposal(trial.number, params)

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Tell the study how a trial turned out; return the trial as the study has it now."""
        attributes: dict[str, Any] = {"n_seeds": outcome.n_seeds}
        if outcome.state is TrialState.COMPLETE:
            attributes["stderr"] = outcome.stderr
            if outcome.raw_value is not None:
                attributes["raw_value"] = outcome.raw_value
            if outcome.components:
                attributes["components"] = outcome.components
        else:
            attributes["error"] = outcome.error
        if outcome.number in self._taken_up_s:
            attributes["duration_s"] = time.monotonic() - self._taken_up_s[outcome.number]
        state = optuna.trial.TrialState[outcome.state.value]
        with self._at_work():
            trial_id = self._ids.pop(outcome.number)
            for key, value in attributes.items():
                self._storage.set_trial_user_attr(trial_id, key, value)
            result = told_trial(self._study.tell(outcome.number, outcome.value, state=state))
        # It may be a retried one.
        bisect.insort(self.trials, result, key=lambda trial: trial.number)
        return result

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        # The user chose the sampler; Optuna would warn that it is experimental at every point.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                yield
                position = self._storage.send()
            except OSError as error:
                path = self._plan.path
                if error.filename != str(path):  # not the journal's
                    raise
                raise RunFileError(path, str(error.strerror), path.parent) from error
        state = dumps((self._plan.sampler_name, self._study.sampler, self._exhausted))
        self._plan.checkpoints.save((position, state))


@contextmanager
def open_proposer(client: Client, plan: StudyPlan) -> Iterator[Proposer]:
    """Open or resume a study in a file on the scheduler, and yield a proposer over it."""
    sampler, exhausted = plan.sampler, False
    if plan.state is not None:
        try:
            name, *state = pickle.loads(plan.state)
        except Exception as error:
            problem = (
                f"the sampler's saved state can't be read ({type(error).__name__}: {error}); "
                "install the versions that environment.json names"
            )
            raise NotARunError(plan.path.parent, problem) from error
        if name == plan.sampler_name:
            sampler, exhausted = state
    with quiet_optuna():
        storage = open_storage(client, plan.path)
        # Asked for first: a study that is made twice has the scheduler log a traceback.
        if plan.name not in optuna.get_all_study_names(storage):
            direction = optuna.study.StudyDirection[plan.direction.upper()]
            optuna.create_study(storage=storage, study_name=plan.name, direction=direction)
        study = optuna.load_study(storage=storage, study_name=plan.name, sampler=sampler)
    try:
        yield Proposer(study, plan, exhausted)
    finally:
        plan.checkpoints.close()
        if client.status == "running":
            close_storage(storage)


def _require_compatible(
    trials: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Refuse an accepted change of the space that the study can't take."""
    for trial, (name, distribution) in itertools.product(trials, distributions.items()):
        if name not in trial.params and not trial.state.is_finished():
            problem = f"trial {trial.number} is in flight and has no value of it"
            raise SpaceError(f"{problem}; give another run_name", name)
        try:
            before = trial.distributions.get(name, distribution)
            check_distribution_compatibility(before, distribution)
        except ValueError as error:
            problem = f"a study can't take this change ({error}); give another run_name"
            raise SpaceError(problem, name) from error


def read_trials(path: Path, study_name: str) -> list[TrialResult]:
    """Return the finished trials in a study file, by number; no cluster is needed."""
    return [told_trial(trial) for trial in _trials(path, study_name) if trial.state.is_finished()]


def read_params(path: Path, study_name: str) -> dict[int, dict[str, ParamValue]]:
    """Return the params of all trials in a study file, by number; no cluster is needed."""
    return {trial.number: trial.params for trial in _trials(path, study_name)}


def take_back(path: Path, study_name: str, numbers: Collection[int]) -> None:
    """Have trials in a study file be in flight as before they were told."""
    trials, wanted = _trials(path, study_name), set(numbers)
    take_back_tells(path, {t._trial_id for t in trials if t.number in wanted})  # noqa: SLF001


def _trials(path: Path, study_name: str) -> list[FrozenTrial]:
    try:
        return load_study(path, study_name).get_trials(deepcopy=False)
    except KeyError:  # there is no study yet
        return []


def told_trial(trial: FrozenTrial) -> TrialResult:
    """Return a finished trial as a result has it."""
    duration_s = trial.duration.total_seconds() if trial.duration is not None else 0.0
    return TrialResult(
        number=trial.number,
        params=trial.params,
        value=trial.value if trial.state is optuna.trial.TrialState.COMPLETE else None,
        stderr=trial.user_attrs.get("stderr"),
        n_seeds=trial.user_attrs["n_seeds"],
        state=TrialState(trial.state.name),
        duration_s=trial.user_attrs.get("duration_s", duration_s),
        error=trial.user_attrs.get("error"),
        raw_value=trial.user_attrs.get("raw_value"),
        components=trial.user_attrs.get("components", {}),
    )

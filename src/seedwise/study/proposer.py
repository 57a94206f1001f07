"""The proposer: asks Optuna for points and tells it their values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from seedwise.model.records import Proposal, TrialOutcome, TrialResult, TrialState
from seedwise.model.space import ParameterSpace
from seedwise.study.distributions import distributions
from seedwise.study.storage import close_storage, open_storage, quiet_optuna

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Proposer", "open_proposer"]


class Proposer:
    """Asks a study for points, and tells it how they turned out.

    Parameters
    ----------
    study : optuna.Study
        The study.
    space : dict of str to SearchParam
        The parameter space.
    """

    def __init__(self, study: optuna.Study, space: ParameterSpace) -> None:
        self._study = study
        self._exhausted = False
        # GridSampler and BruteForceSampler stop the study at their last point; outside of
        # Study.optimize, Optuna's own method refuses to be called.
        self._study.stop = self._stop  # type: ignore[method-assign]
        self._distributions = distributions(space)
        self._open: dict[int, optuna.Trial] = {}

    def ask(self) -> Proposal | None:
        """Ask the sampler for the next point; None if it has no more."""
        if self._exhausted:
            return None
        with _no_experimental_warnings():
            trial = self._study.ask(self._distributions)
        self._open[trial.number] = trial
        return Proposal(trial.number, trial.params)

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Tell the study how a trial turned out.

        Parameters
        ----------
        outcome : TrialOutcome
            Its value, or why it failed.

        Returns
        -------
        TrialResult
            The trial as it now stands in the study.
        """
        trial = self._open.pop(outcome.number)
        attributes: dict[str, Any] = {"n_seeds": outcome.n_seeds}
        if outcome.state is TrialState.COMPLETE:
            attributes["stderr"] = outcome.stderr
        else:
            attributes["error"] = outcome.error
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        with _no_experimental_warnings():
            told = self._study.tell(
                trial, outcome.value, state=optuna.trial.TrialState[outcome.state.value]
            )
        return _result(told)

    def _stop(self) -> None:
        self._exhausted = True


@contextmanager
def open_proposer(
    client: Client,
    path: Path,
    *,
    study_name: str,
    direction: str,
    sampler: optuna.samplers.BaseSampler,
    space: ParameterSpace,
) -> Iterator[Proposer]:
    """Make a study in a file on the scheduler, and give a proposer over it.

    Parameters
    ----------
    client : distributed.Client
        Client of the scheduler.
    path : pathlib.Path
        The study file.
    study_name : str
        Name of the study.
    direction : {"minimize", "maximize"}
        What is best.
    sampler : optuna.samplers.BaseSampler
        The sampler.
    space : dict of str to SearchParam
        The parameter space.

    Yields
    ------
    Proposer
        The proposer; the file is closed in the end.
    """
    with quiet_optuna():
        storage = open_storage(client, path)
        study = optuna.create_study(
            storage=storage,
            sampler=sampler,
            study_name=study_name,
            direction=optuna.study.StudyDirection[direction.upper()],
        )
    try:
        yield Proposer(study, space)
    finally:
        if client.status == "running":
            close_storage(storage)


def _result(trial: FrozenTrial) -> TrialResult:
    duration = trial.duration
    return TrialResult(
        number=trial.number,
        params=trial.params,
        value=trial.value if trial.state is optuna.trial.TrialState.COMPLETE else None,
        stderr=trial.user_attrs.get("stderr"),
        n_seeds=trial.user_attrs["n_seeds"],
        state=TrialState(trial.state.name),
        duration_s=duration.total_seconds() if duration is not None else 0.0,
    )


@contextmanager
def _no_experimental_warnings() -> Iterator[None]:
    # The user chose the sampler; Optuna's word on its maturity comes again with every point.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield

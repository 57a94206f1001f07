"""What travels, and which trial is best."""

from __future__ import annotations

import pickle

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.model.status import RunStatus
from seedwise.model.trials import (
    ChunkResult,
    FailureKind,
    SeedFailure,
    TrialOutcome,
    TrialResult,
    TrialState,
    best_trial,
)


@pytest.mark.parametrize(
    ("value", "pruned", "state"),
    [
        (0.0, False, TrialState.COMPLETE),
        (0.0, True, TrialState.COMPLETE),
        (None, False, TrialState.FAIL),
        (None, True, TrialState.PRUNED),
    ],
)
def test_an_outcome_without_a_value_has_failed_or_is_pruned(value, pruned, state):
    assert TrialOutcome(3, value, None, 0, pruned=pruned).state is state


def test_states_are_called_as_in_optuna():
    names = {state.name for state in optuna.trial.TrialState}
    assert {state.value for state in TrialState} <= names
    assert str(TrialState.FAIL) == "FAIL"


def test_a_chunk_result_travels_bit_for_bit():
    losses = np.array([0.1, -0.0, 5e-324])
    components = {"cost": np.array([np.nan, -np.inf, 1e300]), "risk": losses * 3}
    failure = SeedFailure(3, 7, "ValueError", "a", "b", FailureKind.DIED)
    result = ChunkResult(
        trial=1,
        chunk=2,
        attempt=4,
        start=3,
        n_seeds=3,
        losses=losses,
        failure=failure,
        components=components,
        folder="trial_001-3-0123abcd",
        duration_s=0.5,
        worker="w",
        job_id="9",
    )
    again = pickle.loads(pickle.dumps(result))
    assert again.losses.tobytes() == losses.tobytes()
    assert again.losses.dtype == np.float64
    assert list(again.components) == ["cost", "risk"]
    for name, part in components.items():
        assert again.components[name].tobytes() == part.tobytes()
    assert again.failure == failure
    assert (again.trial, again.chunk, again.attempt) == (1, 2, 4)
    assert (again.start, again.n_seeds, again.folder) == (3, 3, "trial_001-3-0123abcd")
    assert (again.duration_s, again.worker, again.job_id) == (0.5, "w", "9")


# The best.


def trial(number: int, value: float | None) -> TrialResult:
    state = TrialState.COMPLETE if value is not None else TrialState.FAIL
    return TrialResult(number, {}, value, None, 1, state, 0.0)


VALUES = st.lists(st.none() | st.integers(-2, 2).map(float), max_size=8)


@given(values=VALUES, order=st.randoms(use_true_random=False))
def test_the_best_is_the_same_in_any_order(values, order):
    trials = [trial(number, value) for number, value in enumerate(values)]
    complete = [one for one in trials if one.value is not None]
    order.shuffle(trials)
    for direction, sign in (("minimize", 1), ("maximize", -1)):
        best = best_trial(iter(trials), direction)
        expected = min(complete, key=lambda one: (sign * one.value, one.number), default=None)
        assert best is expected


def test_zero_is_a_value_and_a_best_one():
    assert best_trial([trial(0, 1.0), trial(1, 0.0), trial(2, -0.0)], "minimize").number == 1


# How far a run is.


def test_what_is_told_is_what_is_at_its_end():
    status = RunStatus(
        kind="run",
        state="running",
        n_trials=20,
        pending=7,
        running=3,
        done=5,
        failed=3,
        pruned=2,
        started_at_utc="2030-01-01",
        updated_at_utc="2030-01-02",
    )
    assert status.n_told == 10
    assert status.entries is None
    assert status.driver is None

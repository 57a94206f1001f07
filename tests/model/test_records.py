from __future__ import annotations

import pickle

import numpy as np
import optuna
import pytest

from seedwise.model.records import ChunkResult, SeedFailure, TrialOutcome, TrialState


@pytest.mark.parametrize(("value", "state"), [(0.0, TrialState.COMPLETE), (None, TrialState.FAIL)])
def test_an_outcome_without_a_value_has_failed(value, state):
    assert TrialOutcome(3, value, None, 0).state is state


def test_states_are_called_as_in_optuna():
    names = {state.name for state in optuna.trial.TrialState}
    assert {state.value for state in TrialState} <= names
    assert str(TrialState.FAIL) == "FAIL"


def test_a_chunk_result_travels_bit_for_bit():
    losses = np.array([0.1, -0.0, 5e-324])
    failure = SeedFailure(3, 7, "ValueError", "a", "b")
    again = pickle.loads(pickle.dumps(ChunkResult(1, 2, 1, 3, 3, losses, failure, 0.5, "w", "9")))
    assert again.losses.tobytes() == losses.tobytes()
    assert again.losses.dtype == np.float64
    assert again.failure == failure
    assert (again.trial, again.chunk, again.start, again.job_id) == (1, 2, 3, "9")

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from seedwise.dispatch.dispatcher import warn_if_averaged
from seedwise.model.trials import ChunkResult
from seedwise.worker.returned import read_returned


@pytest.mark.parametrize(
    ("returned", "n_warnings"),
    [
        ({"loss": 1.0, "penalty": 3.0}, 1),
        ({"loss": 1.0}, 0),
        ({"error": 1.0, "penalty": 3.0}, 0),
        ({"total_loss": 1.0, "components": {"loss": 1.0, "penalty": 3.0}}, 0),
        ({"total_loss": 1.0, "components": {"loss": math.inf, "penalty": -math.inf}}, 0),
        (1.0, 0),
    ],
)
def test_a_dict_of_numbers_with_a_loss_is_warned_about(returned, n_warnings):
    loss, parts = read_returned(returned)
    components = {name: np.array([part, math.nan]) for name, part in parts.items()}
    result = ChunkResult(0, 0, 1, 0, 2, losses=np.array([loss, 5.0]), components=components)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warn_if_averaged(result)
    assert ["with a key 'loss'" in str(one.message) for one in seen] == [True] * n_warnings


def test_a_chunk_that_failed_is_not_warned_about():
    warn_if_averaged(ChunkResult(0, 0, 1, 0, 2))

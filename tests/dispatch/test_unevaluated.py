"""What stands for the result of a chunk of which none will come."""

from __future__ import annotations

import numpy as np

from seedwise.dispatch.blame import given_up, overran
from seedwise.model.seeds import Chunk
from seedwise.worker.chunk import ChunkTask

TASK = ChunkTask("id", 4, {"x": 0.5}, None, Chunk(2, 40, np.array([7, 8, 9])), attempt=3)


def test_it_is_of_that_chunk_and_blames_no_seed():
    for result in (given_up(TASK, OSError("gone")), overran(TASK, 90.0)):
        assert (result.trial, result.chunk, result.attempt, result.start) == (4, 2, 3, 40)
        assert (result.n_seeds, result.losses) == (3, None)
        assert (result.failure.position, result.failure.seed) == (40, None)


def test_it_says_why():
    failure = given_up(TASK, OSError("gone\nfor ever")).failure
    assert (failure.exception_type, failure.message) == ("OSError", "gone")
    assert failure.traceback == "gone\nfor ever"
    failure = overran(TASK, 90.0).failure
    assert failure.exception_type == "TrialTimeout"
    assert failure.message == "the trial ran for more than slurm_timeout_minutes=1.5"

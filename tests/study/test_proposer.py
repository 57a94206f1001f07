"""What the proposer keeps of a trial; what it asks and tells is shown by whole runs."""

from __future__ import annotations

from types import SimpleNamespace

import optuna
import pytest

from seedwise.model.trials import TrialOutcome
from seedwise.study import proposer
from seedwise.study.checkpoint import Checkpoints
from seedwise.study.journal import journal_end, take_back_tells
from seedwise.study.proposer import StudyPlan, open_proposer, read_trials
from tests.losses import bowl

GOOD = TrialOutcome(0, 1.0, 0.5, 4)
FAILED = TrialOutcome(0, None, None, 0, "seed 3: ValueError: no")


@pytest.fixture
def opened(client, tmp_path):
    """Open the study as each further driver does."""
    path = tmp_path / "study.journal"

    def opened():
        checkpoints = Checkpoints((tmp_path / "a", tmp_path / "b"))
        _, state = checkpoints.latest(journal_end(path)) or (0, None)
        sampler, space = optuna.samplers.RandomSampler(seed=1), bowl.parameter_space
        return open_proposer(
            client,
            StudyPlan(path, "bowl", "minimize", space, sampler, "random", checkpoints, state),
        )

    return SimpleNamespace(path=path, study=opened)


@pytest.mark.parametrize("before", [None, FAILED], ids=["in flight", "failed before"])
def test_of_a_trial_that_is_taken_up_the_time_between_drivers_does_not_count(
    opened, before, monkeypatch
):
    with opened.study() as first:
        first.ask()
        if before is not None:
            first.tell(before)
    if before is not None:
        take_back_tells(opened.path, [0])
    now_s = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(proposer, "time", clock, raising=False)
    with opened.study() as second:
        assert [one.number for one in second.unfinished()] == [0]
        now_s[0] += 7.5
        assert second.tell(GOOD).duration_s == 7.5
        second.ask()
        told = second.tell(TrialOutcome(1, 2.0, 0.5, 4))
        assert 0 < told.duration_s != 0.0
    assert [one.duration_s for one in read_trials(opened.path, "bowl")] == [7.5, told.duration_s]

"""The result of a study's work, and what the run tells of it in the end."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from seedwise.driver.parts import make_parts
from seedwise.driver.report import Reporter, tell_end
from seedwise.driver.run import take_up
from seedwise.driver.study_work import StudyWork
from seedwise.errors import NoCompleteTrialError
from seedwise.folder.find import open_run_directory
from seedwise.model.events import RunFinished
from seedwise.model.options.study import RunOptions
from seedwise.model.options.work import ExecutionMode
from tests.losses import bowl
from tests.results.test_study import TRIALS


class Finished(StudyWork):
    """A study that is not asked whether it has all its trials."""

    is_finished = True


class Work:
    """The work on a study of which trials are told."""

    def __init__(self, path: Path, trials=TRIALS, **keywords) -> None:
        self.events = []
        given = {"n_trials": 3, "n_seeds": 6, "cluster": "slurm", **keywords}
        options = RunOptions.from_keywords(given)
        self.directory = open_run_directory(path, "mine", bowl.name)
        run = take_up(make_parts(bowl, options), options, self.directory, lambda: None)
        self.study = Finished(run.at_work(), trials)
        self.study.run.prepare()

    def finish(self) -> None:
        tell_end(Reporter(self.study, self.events.append))


def test_the_result_is_of_the_best_trial(tmp_path):
    work = Work(tmp_path)
    result, best = work.study.result(), TRIALS[2]
    assert (result.best_value, result.best_stderr, result.best_n_seeds) == (1.0, None, 1)
    assert result.best_params == best.params
    assert result.best_params is not best.params
    assert (result.loss_name, result.study_name) == ("bowl", "bowl")
    assert (result.n_trials, result.trials) == (3, TRIALS)
    assert result.best_trial is best
    assert result.run_dir == str(work.directory.path)
    assert result.study_file == work.directory.study_file
    assert result.mode is ExecutionMode.DISTRIBUTED


@pytest.mark.parametrize(("direction", "number"), [("minimize", 2), ("maximize", 0)])
def test_the_best_is_by_the_direction(tmp_path, direction, number):
    work = Work(tmp_path, direction=direction)
    best = TRIALS[number]
    assert work.study.best is best
    assert work.study.result().best_value == best.value
    work.finish()
    assert work.directory.read_meta()["best_params"] == best.params
    assert isinstance(work.events[-1], RunFinished)
    assert work.events[-1].best is best


@pytest.mark.parametrize(
    ("trials", "n_failed", "sentence"),
    [
        (
            [attrs.evolve(TRIALS[1], number=n, error="seed 3: ValueError: no") for n in (0, 1)],
            2,
            "all 2 trials failed, the first with: seed 3: ValueError: no",
        ),
        ([], 0, "none was finished by now"),
    ],
)
def test_without_a_complete_trial_there_is_no_result(trials, n_failed, sentence, tmp_path):
    work = Work(tmp_path, trials)
    work.finish()
    with pytest.raises(NoCompleteTrialError, match=sentence) as caught:
        work.study.result()
    assert (caught.value.run_dir, caught.value.n_failed) == (work.directory.path, n_failed)
    assert work.events[-1].best is None
    meta = json.loads((work.directory.path / "meta.json").read_text())
    assert (meta["best_value"], meta["best_params"]) == (None, None)
    assert "completed_at_utc" in meta

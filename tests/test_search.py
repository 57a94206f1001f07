"""What is searched: points to try first, parameters held at a value, smaller spaces, failures."""

from __future__ import annotations

import itertools
import json
import math
import os
import pty
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import seedwise as sw
from seedwise.errors import (
    AddressError,
    ChangedRunError,
    CleanRefusedError,
    LossFailedError,
    OptionError,
    RunExistsError,
)
from seedwise.study.proposer import Proposer
from tests.losses import SPACE, bowl, cliff
from tests.tables import some, table

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def fit(client, tmp_path):
    def fit(loss=bowl, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path, "progress": False, "n_trials": 6}
        return sw.optimize_run(loss, **{**fixed, "n_seeds": 12, "chunk_size": 5, **keywords})

    return fit


def stock_study(result) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(result.study_file)))
    return optuna.load_study(study_name=result.study_name, storage=storage)


# Points to try first.


def test_enqueued_points_are_tried_first(fit):
    source = sw.grid(x=[-1.0, 1.0], n=[3, 5])
    result = fit(enqueue=source)
    tried = [(trial.params["n"], trial.params["x"]) for trial in result.trials]
    assert tried[:4] == [(3, -1.0), (3, 1.0), (5, -1.0), (5, 1.0)]
    assert tried[4] not in tried[:4]
    # What a case does not name is the sampler's choice.
    assert len({trial.params["rate"] for trial in result.trials}) == 6


def test_trial_zero_goes_before_what_is_enqueued(fit):
    point = {"x": 0.25, "rate": 0.5, "n": 1, "kind": "plain", "flip": False}
    result = fit(trial_zero=point, enqueue=sw.manual([{"x": 1.5}]))
    assert result.trials[0].params == point
    assert result.trials[1].params["x"] == 1.5


def test_enqueued_points_survive_a_kill_and_lag(fit, monkeypatch):
    keywords = {"enqueue": sw.grid(x=[-1.0, 0.0, 1.0]), "max_concurrent_trials": 2}
    expected = table(fit(run_name="whole", **keywords))
    tell = Proposer.tell

    def stop(self, outcome):
        if outcome.number == 1:
            raise KeyboardInterrupt
        return tell(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Proposer, "tell", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(run_name="cut", **keywords)
    assert table(fit(run_name="cut", **keywords)) == expected


def test_another_source_would_change_the_results(fit):
    fit(run_name="mine", enqueue=sw.grid(x=[-1.0, 1.0]), n_trials=2)
    with pytest.raises(ChangedRunError, match="enqueue: was 'grid"):
        fit(run_name="mine", enqueue=sw.grid(x=[-1.0, 0.5]))


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"enqueue": sw.grid(x=[0.0, 3.0])}, r"enqueue\[1\]\['x'\]=3.0.*from -2.0 to 2.0"),
        ({"enqueue": sw.grid(y=[0.0])}, r"enqueue\[0\]=\['y'\].*x, rate, n, kind, flip"),
        ({"enqueue": sw.grid(n=[2.5])}, r"\['n'\]=2.5.*type int"),
        ({"enqueue": sw.grid(kind=["odd"])}, r"\['kind'\]='odd'.*plain"),
        ({"enqueue": [{"x": 1}]}, "a source"),
        ({"trial_zero": {"x": 9.0}}, "trial_zero"),
        ({"trial_zero": {}}, "trial_zero"),
        ({"overrides": {"z": 1.0}}, r"overrides=\['z'\].*x, rate, n, kind, flip"),
        ({"overrides": {"flip": 1}}, "type bool"),
        ({"overrides": dict.fromkeys(SPACE, 0.5)}, r"overrides\['n'\]"),
        ({"refine_search_factor": 1.0}, "above 0 and below 1"),
        ({"refine_search_factor": 0}, "above 0 and below 1"),
        ({"refine_search_factor": 0.5}, "no completed trial"),
        ({"clean_run_dir": True}, "run_name"),
        ({"trial_zero": {"n": 2.5}}, "type int"),
    ],
    ids=str,
)
def test_bad_input(fit, tmp_path, keywords, words):
    with pytest.raises(OptionError, match=words):
        fit(**keywords)
    assert not list(tmp_path.iterdir())


# Parameters held at a value.


def test_overrides(fit):
    result = fit(overrides={"x": 5.0, "kind": "fancy"})  # 5.0 lies outside of the range
    assert {(trial.params["x"], trial.params["kind"]) for trial in result.trials} == {
        (5.0, "fancy")
    }
    assert len({trial.params["rate"] for trial in result.trials}) == 6
    study = stock_study(result)
    assert study.user_attrs["seedwise_overrides"] == {"x": 5.0, "kind": "fancy"}
    assert study.best_trial.params["x"] == 5.0
    with pytest.raises(ChangedRunError, match="parameter_space"):
        fit(run_name=Path(result.run_dir).name, n_trials=7)


def test_at_least_one_parameter_is_left_to_search(fit):
    with pytest.raises(OptionError, match="run_sweep"):
        fit(overrides={"x": 1.0, "rate": 0.1, "n": 3, "kind": "plain", "flip": True})


# Smaller spaces.


def test_refining_goes_on_in_a_smaller_space(fit):
    first = fit(run_name="mine", n_trials=12)
    result = fit(run_name="mine", n_trials=30, refine_search_factor=0.2)
    assert result.trials[:12] == first.trials
    best, later = first.best_params, result.trials[12:]
    for trial in later:
        assert abs(trial.params["x"] - best["x"]) <= 0.1 * 4.0 + 1e-9
        assert abs(math.log(trial.params["rate"] / best["rate"])) <= 0.1 * math.log(1e3) + 1e-9
        assert abs(trial.params["n"] - best["n"]) <= 0.1 * 8
        assert -2.0 <= trial.params["x"] <= 2.0
    assert {trial.params["kind"] for trial in later} == {"plain", "fancy"}
    (phase,) = json.loads(Path(result.run_dir, "meta.json").read_text())["phases"]
    assert (phase["from_trial"], phase["factor"], phase["n_trials"]) == (12, 0.2, 30)
    (noted,) = stock_study(result).user_attrs["seedwise_phases"]
    assert noted["from_trial"] == 12
    again = fit(run_name="mine", n_trials=36, refine_search_factor=0.2)
    widths = [
        one["space"]["x"]["range"][1] - one["space"]["x"]["range"][0]
        for one in json.loads(Path(again.run_dir, "meta.json").read_text())["phases"]
    ]
    assert widths[1] <= 0.2 * widths[0] + 1e-9


@pytest.mark.parametrize(
    ("killed_at", "how"),
    some(itertools.product([6, 9], ["call", "resume"]), (6, "resume"), (9, "call")),
)
def test_a_phase_that_is_cut_off_is_gone_on_with(fit, client, monkeypatch, killed_at, how):
    def phases(name):
        fit(run_name=name)
        return lambda: fit(run_name=name, n_trials=14, refine_search_factor=0.3)

    expected = table(phases("whole")())
    second = phases("cut")
    tell = Proposer.tell

    def stop(self, outcome):
        if outcome.number == killed_at:
            raise KeyboardInterrupt
        return tell(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Proposer, "tell", stop)
        with pytest.raises(KeyboardInterrupt):
            second()
    if how == "call":
        result = second()
    else:
        folder = Path(fit(run_name="whole").run_dir).parent / "cut"
        result = sw.resume_run(folder, cluster=client)
    assert table(result) == expected
    assert len(json.loads(Path(result.run_dir, "meta.json").read_text())["phases"]) == 1


def test_an_accepted_change_after_a_phase_is_heeded(fit):
    fit(run_name="mine")
    fit(run_name="mine", n_trials=8, refine_search_factor=0.5)
    result = fit(run_name="mine", n_trials=11, overrides={"x": 0.125}, accept_changes=True)
    assert {trial.params["x"] for trial in result.trials[8:]} == {0.125}
    (phase,) = json.loads(Path(result.run_dir, "meta.json").read_text())["phases"]
    low, high = phase["space"]["rate"]["range"]
    assert all(low <= trial.params["rate"] <= high for trial in result.trials[8:])


@pytest.mark.full
def test_a_change_of_the_loss_that_was_accepted_in_vain(fit, monkeypatch):
    """A mean is never of old and new losses."""

    def step(height):
        def loss(params, seed):
            return height + 0.0 * seed

        return sw.loss(name="step", description="a step", parameter_space={"x": (0, 1)})(loss)

    tell = Proposer.tell

    def stop(self, outcome):
        if outcome.number == 1:
            raise KeyboardInterrupt
        return tell(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Proposer, "tell", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(step(1.0), run_name="mine")
    changed = {"run_name": "mine", "accept_changes": True}
    with pytest.raises(AddressError):
        fit(step(2.0), **changed, cluster="127.0.0.1:1")
    result = fit(step(2.0), **changed)
    assert [trial.value for trial in result.trials] == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_a_run_that_never_asked_is_not_refined(fit, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Proposer, "ask", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(run_name="mine")
    with pytest.raises(OptionError, match="no completed trial"):
        fit(run_name="mine", refine_search_factor=0.5)


def test_a_timeout_leaves_a_run_to_go_on_with(fit):
    result = fit(n_trials=10_000, timeout=0.5)
    status = sw.run_status(result.run_dir)
    assert (status.state, status.pending) == ("stopped", 10_000 - len(result.trials))


# Failures.


def test_pruned_trials_keep_the_sampler_away(fit):
    with pytest.raises(LossFailedError):
        fit(cliff, n_trials=24)
    failing = fit(cliff, n_trials=24, fail_on_chunk_error=False)
    pruning = fit(cliff, n_trials=24, prune_failed_trials=True)
    assert {str(trial.state) for trial in pruning.trials} == {"COMPLETE", "PRUNED"}
    assert {str(trial.state) for trial in failing.trials} == {"COMPLETE", "FAIL"}
    errors = [trial.error for trial in pruning.trials if trial.value is None]
    assert set(errors) == {"seed 0: ArithmeticError: diverged"}
    # The first ten are random; TPE ranks pruned trials last, and does not see failed ones.
    n_pruned, n_failed = (
        sum(trial.value is None for trial in result.trials[10:]) for result in (pruning, failing)
    )
    assert n_pruned <= n_failed
    assert (
        stock_study(pruning).best_trial.number
        == min((t for t in pruning.trials if t.value is not None), key=lambda t: t.value).number
    )
    status = sw.run_status(pruning.run_dir)
    assert status.pruned == sum(trial.value is None for trial in pruning.trials)


# A clean folder.


def test_clean_run_dir(fit, tmp_path):
    first = fit(run_name="mine", n_trials=3)
    (Path(first.run_dir) / "notes.txt").write_text("mine")
    with pytest.raises(CleanRefusedError, match=r"no terminal.*assume_yes"):
        fit(run_name="mine", n_trials=2, clean_run_dir=True)
    assert len(fit(run_name="mine", n_trials=3).trials) == 3, "it was removed all the same"
    result = fit(run_name="mine", n_trials=2, clean_run_dir=True, assume_yes=True)
    assert len(result.trials) == 2
    assert not (Path(result.run_dir) / "notes.txt").exists()
    assert not json.loads(Path(result.run_dir, "meta.json").read_text())["resumed_at_utc"]
    assert len(fit(run_name="new", n_trials=2, clean_run_dir=True, assume_yes=True).trials) == 2


def test_clean_run_dir_removes_runs_only(fit, tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("years of work")
    with pytest.raises(RunExistsError):
        fit(run_name="thesis", clean_run_dir=True, assume_yes=True)
    assert (folder / "chapter1.tex").exists()


def test_clean_run_dir_asks_on_a_terminal(fit, monkeypatch):
    fit(run_name="mine", n_trials=3)
    for answer, n_trials in ((b"n\n", 3), (b"y\n", 2)):
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "r") as terminal, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", terminal)
            os.write(ours, answer)
            if answer == b"n\n":
                with pytest.raises(CleanRefusedError, match="the answer was no"):
                    fit(run_name="mine", n_trials=2, clean_run_dir=True)
            else:
                fit(run_name="mine", n_trials=2, clean_run_dir=True)
        os.close(ours)
        assert len(fit(run_name="mine", n_trials=n_trials).trials) == n_trials


def test_clean_run_dir_is_never_together_with_resume(fit):
    result = fit(n_trials=2)
    with pytest.raises(OptionError, match="clean_run_dir"):
        sw.resume_run(result.run_dir, clean_run_dir=True, assume_yes=True)

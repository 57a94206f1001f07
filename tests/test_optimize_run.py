"""A whole run on local workers: its result, its folder, what it shows, and how it fails."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import optuna
import pytest

import seedwise as sw
from seedwise.errors import (
    LossFailedError,
    LossTransportError,
    MissingExtraError,
    NoCompleteTrialError,
    NotALossError,
    OptionError,
)
from tests.losses import bowl, picky
from tests.tables import bits, others_may_read, table


@pytest.fixture
def run(tmp_path, client):
    def run(loss=bowl, **options):
        options = {"cluster": client, "run_root": tmp_path, "progress": False, **options}
        return sw.optimize_run(loss, **options)

    return run


def make_loss(function, **keywords):
    return sw.loss(
        name="made", description="made for a test", parameter_space={"x": (0.0, 1.0)}, **keywords
    )(function)


def test_the_result(run):
    result = run(n_trials=12, n_seeds=30)
    best = min(result.trials, key=lambda trial: trial.value)
    assert (result.best_value, result.best_params) == (best.value, best.params)
    assert (result.best_stderr, result.best_n_seeds) == (best.stderr, 30)
    assert [trial.number for trial in result.trials] == list(range(12))
    assert result.n_trials == 12
    assert result.loss_name == result.study_name == "bowl"
    assert result.mode is sw.ExecutionMode.SINGLE
    assert all(trial.duration_s > 0 for trial in result.trials)


def test_values_are_the_mean_over_exactly_these_seeds(run):
    seeds = [9, 1, 5]
    result = run(n_trials=3, seeds=seeds, chunk_size=2)
    for trial in result.trials:
        losses = np.array([bowl(trial.params, seed) for seed in seeds])
        assert trial.value == pytest.approx(losses.mean(), rel=1e-15)
        assert trial.stderr == pytest.approx(losses.std(ddof=1) / np.sqrt(3), rel=1e-12)


def test_seeds_reach_the_loss_in_their_order(run, tmp_path):
    log = tmp_path / "seeds"

    def note(params, seed):
        with log.open("a") as file:
            file.write(f"{seed}\n")
        return 0.0

    run(make_loss(note), n_trials=1, seeds=[9, 1, 5], chunk_size=3, self_check=False)
    assert log.read_text().split() == ["9", "1", "5"]


def test_the_context_reaches_the_loss(run):
    def seen(params, seed, *, context):
        return {"p1": 1000.0, "p2": 2000.0}[context["entry_id"]] + context["trial_number"]

    result = run(make_loss(seen), n_trials=2, n_seeds=2, entry_id="p2")
    assert [trial.value for trial in result.trials] == [2000.0, 2001.0]


def test_stock_optuna_in_another_process_says_the_same(run, tmp_path):
    for direction in ("minimize", "maximize"):
        result = run(n_trials=12, n_seeds=20, direction=direction)
        code = (
            "import json, optuna, sys\n"
            "from optuna.storages import JournalStorage\n"
            "from optuna.storages.journal import JournalFileBackend\n"
            "storage = JournalStorage(JournalFileBackend(sys.argv[1]))\n"
            "best = optuna.load_study(study_name='bowl', storage=storage).best_trial\n"
            "print(json.dumps([best.number, best.value.hex(), best.params, best.user_attrs]))"
        )
        argv = [sys.executable, "-c", code, f"{result.run_dir}/study.journal"]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        number, value, params, attributes = json.loads(said)
        assert (value, params) == (bits(result.best_value), result.best_params)
        assert attributes == {"n_seeds": 20, "stderr": result.best_stderr}
        assert result.trials[number].value == result.best_value


def test_study_opens_the_study(run):
    result = run(n_trials=3, n_seeds=5)
    study = result.study()
    assert study.best_value == result.best_value
    assert [t.state for t in study.trials] == [optuna.trial.TrialState.COMPLETE] * 3


def test_the_run_folder(run, tmp_path):
    result = run(n_trials=3, n_seeds=5, max_concurrent_trials=2)
    folder = tmp_path / "bowl_v0001"
    assert result.run_dir == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert others_may_read(folder) == []
    names = {path.name for path in folder.iterdir()}
    assert names == {
        ".gitignore",
        "chunks.ledger",
        "code",
        "driver.lease.lock",
        "environment.json",
        "events.jsonl",
        "meta.json",
        "reference.json",
        "run.json",
        "sampler-a.checkpoint",
        "sampler-b.checkpoint",
        "slurm",
        "status.json",
        "study.journal",
        "summary.json",
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best_value"] == result.best_value
    assert (summary["n_told"], summary["n_failed"]) == (3, 0)
    status = json.loads((folder / "status.json").read_text())
    assert (status["kind"], status["state"], status["done"]) == ("run", "finished", 3)
    assert status["best_value"] == result.best_value
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["options"]["max_concurrent_trials"] == 2
    assert meta["completed_at_utc"] > meta["started_at_utc"]
    assert run(n_trials=1, n_seeds=2).run_dir == str(tmp_path / "bowl_v0002")


def test_components_come_back_with_each_trial(run):
    def parted(params, seed):
        parts = {"cost": params["x"], "seed": seed}
        return {"total_loss": params["x"] + seed, "components": parts}

    result = run(make_loss(parted), n_trials=4, seeds=[1, 2, 6], chunk_size=2)
    for trial in result.trials:
        assert trial.components == {"cost": pytest.approx(trial.params["x"]), "seed": 3.0}
        assert trial.value == pytest.approx(trial.params["x"] + 3.0)
    stored = [trial.user_attrs["components"] for trial in result.study().trials]
    assert stored == [trial.components for trial in result.trials]
    assert {"components_cost", "components_seed"} <= set(result.to_dataframe().columns)


def test_files_of_the_loss_are_in_a_folder_of_the_trial(run, tmp_path):
    def writing(params, seed, context):
        (context["trial_dir"] / f"{seed}.txt").write_text(f"{params['x']!r}")
        return params["x"]

    result = run(make_loss(writing), n_trials=2, seeds=[4, 2, 3], chunk_size=2)
    found = result.artifacts()
    assert set(found) == {0, 1}
    for trial in result.trials:
        folder = tmp_path / "made_v0001" / "trials" / f"trial_{trial.number:03d}"
        assert list(found[trial.number]) == [folder / f"{seed}.txt" for seed in (2, 3, 4)]
        assert {path.read_text() for path in found[trial.number]} == {repr(trial.params["x"])}
    trials = {path.name for path in (tmp_path / "made_v0001" / "trials").iterdir()}
    assert trials == {"trial_000", "trial_000.json", "trial_001", "trial_001.json"}


def test_progress_is_on_stderr_and_false_is_silent(run, tmp_path, capsys):
    result = run(n_trials=9, n_seeds=3, progress=True)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == f"seedwise: run folder {tmp_path / 'bowl_v0001'}"
    values = [trial.value for trial in result.trials]
    bests = [n for n, value in enumerate(values) if value < min(values[:n], default=math.inf)]
    written = [re.search(r"\] trial (\d+) .*  best so far  ", line) for line in lines]
    assert [int(one[1]) for one in written if one] == bests
    assert sum("] trial " in line for line in lines) == len(bests)
    assert any("dashboard" in line for line in lines)
    run(n_trials=2, n_seeds=3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("sampler", ["random", "qmc", "cmaes", "nsgaii"])
def test_samplers_are_reproducible(run, sampler):
    space = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
    loss = sw.loss(name="plane", description="a plane", parameter_space=space)(
        lambda params, seed: params["x"] + params["y"] + seed
    )
    first, second = (
        table(run(loss, n_trials=6, n_seeds=4, sampler=sampler, chunk_size=chunk_size))
        for chunk_size in (1, 4)
    )
    assert first == second
    assert len({row[1] for row in first[:-1]}) == 6


def test_an_optuna_sampler_is_used_as_it_is_and_may_end_the_run(run):
    sampler = optuna.samplers.GridSampler({"x": [0.25, 0.75]}, seed=0)
    loss = make_loss(lambda params, seed: params["x"])
    result = run(loss, n_trials=10, n_seeds=1, sampler=sampler)
    assert sorted(trial.value for trial in result.trials) == [0.25, 0.75]


def test_a_sampler_that_is_not_installed_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"sampler='gp' needs .* 'seedwise\[gp\]'"):
        run(sampler="gp")


def test_timeout_ends_asking_and_finishes_what_is_in_flight(run):
    result = run(n_trials=10**6, n_seeds=2, timeout=0.5)
    assert 1 <= result.n_trials < 10**6
    assert all(trial.state == "COMPLETE" for trial in result.trials)


# What goes wrong.


def test_a_function_that_is_no_loss(run):
    with pytest.raises(NotALossError, match=r"is not a loss\. Decorate the function"):
        run(lambda params, seed: 0.0)


def test_bad_options_leave_no_folder(run, tmp_path):
    with pytest.raises(OptionError, match=r"n_trials=0: must be a whole number above 0"):
        run(n_trials=0)
    with pytest.raises(OptionError, match=r"without duplicates. These .* once: \[5\]"):
        run(seeds=[5, 1, 5])
    assert list(tmp_path.iterdir()) == []


def test_unknown_keywords_are_named(run):
    with pytest.raises(TypeError, match="unknown keyword 'n_trails': did you mean 'n_trials'"):
        run(n_trails=3)


def test_a_loss_that_raises_stops_the_run_with_its_traceback(run, tmp_path):
    with pytest.raises(LossFailedError) as caught:
        run(picky, n_trials=10, n_seeds=10, chunk_size=3)
    error = caught.value
    assert error.seed == 7
    assert error.exception_type == "ZeroDivisionError"
    assert f"trial {error.trial}, seed 7, with params {error.params!r}" in str(error)
    assert "in picky" in str(error)
    assert "is too much for seed 7" in str(error)
    assert "seedwise/worker" not in str(error)
    states = [t.state.name for t in load(tmp_path / "picky_v0001").trials]
    assert states == ["COMPLETE"] * error.trial + ["FAIL"]


def test_a_loss_that_raises_may_cost_its_trial_only(run):
    result = run(picky, n_trials=10, n_seeds=10, chunk_size=3, fail_on_chunk_error=False)
    for trial in result.trials:
        assert (trial.state == "FAIL") == (trial.params["x"] > 0)
        assert (trial.value is None) == (trial.state == "FAIL")
    study = result.study()
    failed = [t for t in study.trials if t.state is optuna.trial.TrialState.FAIL]
    assert failed
    assert failed[0].user_attrs["error"].startswith("seed 7: ZeroDivisionError: x=")


def test_failing_runs_are_the_same_bits_too(run):
    one, other = (
        run(picky, n_trials=14, n_seeds=10, fail_on_chunk_error=False, chunk_size=c)
        for c in (1, 5)
    )
    assert table(one) == table(other)


def test_all_trials_failed(run, tmp_path):
    def broken(params, seed):
        raise OSError("no such disk")

    with pytest.raises(
        NoCompleteTrialError, match=r"all 3 trials failed, the first with: seed 0: OSErr"
    ):
        run(make_loss(broken), n_trials=3, n_seeds=2, fail_on_chunk_error=False)
    assert json.loads((tmp_path / "made_v0001/summary.json").read_text())["n_failed"] == 3


@pytest.mark.parametrize("attempts", [0, 1, 2])
def test_a_failed_chunk_is_tried_again(run, tmp_path, attempts):
    """The loss fails twice on seed 3; each try leaves a file."""

    def flaky(params, seed):
        tries = len(list(tmp_path.glob("try*")))
        if seed == 3 and tries < 2:
            (tmp_path / f"try{tries}").touch()
            raise ConnectionError(f"try {tries}")
        return float(seed)

    options = {"n_trials": 1, "n_seeds": 6, "chunk_size": 2, "trial_retry_attempts": attempts}
    if attempts == 2:
        assert run(make_loss(flaky), **options).best_value == 2.5
    else:
        with pytest.raises(LossFailedError, match=f"ConnectionError: try {attempts}"):
            run(make_loss(flaky), **options)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("0.5", "returned '0.5': str is not a number"),
        (None, "returned None: a return is missing"),
        ({}, "an empty dict has no mean"),
        (float("nan"), "returned nan: not finite"),
        (float("inf"), "returned inf: not finite"),
        (np.zeros(3), r"an array of shape \(3,\) is not a number"),
    ],
)
def test_what_is_no_loss(run, returned, message):
    with pytest.raises(LossFailedError, match=message) as caught:
        run(make_loss(lambda params, seed: returned), n_trials=2, n_seeds=2)
    assert caught.value.seed == 0


def test_a_vectorized_loss_of_the_wrong_shape(run):
    loss = make_loss(lambda params, seeds: np.zeros(2), vectorized=True)
    with pytest.raises(LossFailedError, match=r"shape \(2,\), but there are 5 seeds"):
        run(loss, n_trials=2, n_seeds=5)


def test_a_loss_that_cannot_travel(run):
    generator = (float(number) for number in range(10))
    with pytest.raises(LossTransportError, match="loss 'made' can't be sent to workers"):
        run(make_loss(lambda params, seed: next(generator)), n_trials=1)


def load(folder):
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    )
    (study,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=study, storage=storage)

"""run_sweep: cases of a source on the seed plan, with the same bits everywhere."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import psutil
import pytest

import seedwise as sw
from seedwise.driver.sweep import SweepProposer, SweepWork
from seedwise.errors import (
    AddressError,
    ChangedRunError,
    NotARunError,
    OptionError,
    SourceError,
    UnknownOptionError,
)
from seedwise.folder.directory import RunDirectory
from seedwise.model.events import TrialFinished
from tests.losses import bowl
from tests.tables import others_may_read, table

GRID = {
    "x": [-1.0, 0.5],
    "rate": [0.1, 0.3],
    "n": [2, 7],
    "kind": ["fancy"],
    "flip": [True, False],
}


@pytest.fixture
def noted(tmp_path):
    """A loss that notes what it evaluates; it fails beyond 0.8 while there is a file ``bad``."""

    @sw.loss(name="noted", description="notes its seeds", parameter_space={"x": (-1, 1)})
    def noted(params, seed, context):
        with (tmp_path / "log").open("a") as file:
            file.write(f"{context['trial_number']} {seed}\n")
        if params["x"] > 0.8 and (tmp_path / "bad").exists():
            raise ArithmeticError(f"diverged at seed {seed}")
        return {"total_loss": params["x"] + seed, "components": {"seed": seed}}

    return noted


@pytest.fixture
def filed(tmp_path):
    """A loss that writes files, and fails once."""

    @sw.loss(name="filed", description="writes files", parameter_space={"x": (-1, 1)})
    def filed(params, seed, context):
        folder = context["trial_dir"]
        (folder / f"seed_{seed}.txt").write_text(f"{params['x']}")
        marker = tmp_path / "failed-once"
        if seed == 3 and params["x"] == 0.5 and not marker.exists():
            marker.touch()
            (folder / "half.txt").write_text("of the attempt that failed")
            raise OSError("the scratch disk hiccuped")
        return params["x"]

    return filed


@pytest.fixture
def sweep(client, tmp_path):
    def sweep(loss=bowl, source=None, **keywords):
        fixed = {"run_root": tmp_path / "runs", "progress": False, "n_seeds": 10, "chunk_size": 4}
        fixed["self_check"] = False  # each evaluation is counted
        where = {} if "workers" in keywords else {"cluster": client}
        source = sw.grid(**GRID) if source is None else source
        return sw.run_sweep(loss, source, **{**fixed, **where, **keywords})

    return sweep


def xs(*values):
    return sw.manual([{"x": value} for value in values])


# The same bits.


def by_hand(source, n_seeds):
    rows = []
    for case in source:
        losses = [bowl(case.params, seed) for seed in range(n_seeds)]
        rows.append((case.index, case.params, (math.fsum(losses) / n_seeds).hex()))
    return rows


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_size": 1},
        {"chunk_size": 4},
        {"chunk_size": 100},
        {"workers": (1, 2)},
        {"workers": 1, "worker_parallelism": 3, "use_processes": True},
    ],
    ids=str,
)
def test_each_case_has_the_mean_over_the_seeds(sweep, options):
    result = sweep(**options)
    rows = [(trial.number, trial.params, trial.value.hex()) for trial in result.trials]
    assert rows == by_hand(sw.grid(**GRID), 10)


@pytest.mark.slurm
def test_slurm_gives_the_same(sweep, slurm):
    result = sweep(cluster="slurm", workers=2, mem_per_cpu="512M", slurm_qos=None)
    assert table(result) == table(sweep())
    assert others_may_read(result.run_dir) == []


def test_the_result(sweep):
    result = sweep()
    assert (result.n_trials, len(result.trials), result.failed) == (16, 16, [])
    best = min(result.trials, key=lambda trial: trial.value)
    assert result.best == best
    losses = [bowl(best.params, seed) for seed in range(10)]
    assert result.losses(best.number).tolist() == losses
    assert best.stderr == pytest.approx(np.std(losses, ddof=1) / math.sqrt(10))
    assert result.seeds.tolist() == list(range(10))
    frame = result.to_dataframe()
    assert frame["value"].tolist() == [trial.value for trial in result.trials]
    assert frame["params_flip"].tolist() == [trial.params["flip"] for trial in result.trials]
    assert result.trials[-1].number == 15
    assert [trial.number for trial in result.trials[2:4]] == [2, 3]
    status = sw.run_status(result.run_dir)
    assert (status.kind, status.state, status.done, status.n_trials) == (
        "sweep",
        "finished",
        16,
        16,
    )
    assert sweep(direction="maximize").best.value == max(trial.value for trial in result.trials)


def test_a_monte_carlo_run_is_one_case(sweep):
    case = sw.manual([{"x": 0.5, "rate": 0.1, "n": 4, "kind": "plain", "flip": False}])
    result = sweep(source=case, n_seeds=2000, chunk_size=100)
    (trial,) = result.trials
    losses = result.losses(0)
    assert (trial.n_seeds, losses.shape) == (2000, (2000,))
    assert trial.value == math.fsum(losses) / 2000
    assert abs(trial.value) < 6 * trial.stderr  # its mean is 0; a false alarm in 5e8


def test_components(sweep, noted):
    result = sweep(noted, xs(0.0, 0.5))
    assert [trial.components for trial in result.trials] == [{"seed": 4.5}] * 2
    assert result.components(1)["seed"].tolist() == list(range(10))
    assert result.to_dataframe()["components_seed"].tolist() == [4.5, 4.5]


# Going on, some trials, and failures.


def test_trial_nums_and_going_on(sweep, noted, evaluated):
    source = xs(0.0, 0.1, 0.2, 0.3)
    result = sweep(noted, source, run_name="mine", trial_nums=[2, 0], n_seeds=3)
    assert [trial.number for trial in result.trials] == [0, 2]
    assert evaluated() == [(trial, seed) for trial in (0, 2) for seed in range(3)]
    result = sweep(noted, source, run_name="mine", n_seeds=3)
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3]
    assert evaluated() == [(trial, seed) for trial in (1, 3) for seed in range(3)]
    again = sweep(noted, source, run_name="mine", trial_nums=[1], n_seeds=3)
    assert evaluated() == [(1, seed) for seed in range(3)]
    assert table(again) == table(result)
    assert table(sweep(noted, source, run_name="mine", n_seeds=3)) == table(result)
    assert evaluated() == []
    assert sw.run_status(result.run_dir).pending == 0


def test_the_summary_of_a_stopped_sweep_has_all_that_was_told(sweep, monkeypatch, tmp_path):
    """It is written every few seconds only; the stop comes when more is told than was shown."""
    told = []

    def tell_and_stop(self, workplace, event):
        if isinstance(event, TrialFinished):
            told.append(event)
        if len(told) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(SweepWork, "tell", tell_and_stop)
    with pytest.raises(KeyboardInterrupt):
        sweep(run_name="mine")
    path = tmp_path / "runs" / "mine"
    summary, found = RunDirectory(path).summary.read(), sw.open_run(path)
    assert summary["n_told"] == len(found.trials) >= 3
    assert summary["best_value"] == found.best.value
    status = sw.run_status(path)
    assert (status.n_told, status.best_value) == (summary["n_told"], summary["best_value"])


def test_failed_cases_are_tried_again_only_when_asked_for(
    sweep, tmp_path, noted, evaluated, capsys
):
    bad = tmp_path / "bad"
    bad.touch()
    source = xs(0.0, 0.9, 0.1, 1.0)
    options = {"run_name": "mine", "n_seeds": 3, "trial_retry_attempts": 0}
    result = sweep(noted, source, **options, progress=True)
    assert [trial.number for trial in result.failed] == [1, 3]
    why = "trial 1: seed 0: ArithmeticError: diverged at seed 0"
    assert result.outcome == f"2 complete, 2 failed, all with ArithmeticError, such as {why}"
    assert capsys.readouterr().err.splitlines()[-1] == f"seedwise: {result.outcome}"
    assert result.failed[0].error == "seed 0: ArithmeticError: diverged at seed 0"
    assert result.best.number == 0
    assert math.isnan(result.to_dataframe()["value"][1])
    assert sw.run_status(result.run_dir).failed == 2
    evaluated()
    bad.unlink()
    assert table(sweep(noted, source, **options)) == table(result)
    assert evaluated() == []
    mended = sweep(noted, source, **options, retry_failed=True)
    assert evaluated() == [(trial, seed) for trial in (1, 3) for seed in range(3)]
    assert mended.failed == []
    assert table(mended) == table(sweep(noted, source, n_seeds=3, trial_retry_attempts=0))


def test_all_cases_may_fail(sweep, tmp_path, noted):
    (tmp_path / "bad").touch()
    result = sweep(noted, xs(0.9), n_seeds=2)
    assert (result.best, len(result.failed)) == (None, 1)


def test_resume_run(sweep, client, noted, evaluated):
    first = sweep(noted, xs(0.0, 0.5), trial_nums=[1], n_seeds=2)
    evaluated()
    result = sw.resume_run(first.run_dir, cluster=client)
    assert evaluated() == [(0, 0), (0, 1)]
    assert isinstance(result, sw.SweepResult)
    assert result.n_trials == 2


def test_a_sweep_that_is_done_needs_no_workers(sweep):
    first = sweep(run_name="mine")
    assert table(sweep(run_name="mine", cluster="127.0.0.1:1")) == table(first)
    assert sw.run_status(first.run_dir).done == 16


def test_the_best_of_a_sweep_that_is_done_follows_the_direction(sweep, noted):
    cases = sw.grid(x=[0.25, -0.5, 0.75])
    assert sweep(noted, cases, run_name="a").best.params == {"x": -0.5}
    found = sweep(noted, cases, run_name="a", direction="maximize")
    assert (found.direction, found.best.params) == ("maximize", {"x": 0.75})
    directory = RunDirectory(Path(found.run_dir))
    assert directory.summary.read()["best_params"] == {"x": 0.75}
    assert directory.read_meta()["best_params"] == {"x": 0.75}


def test_a_longer_random_source_goes_on(sweep, noted, evaluated):
    def source(n_trials):
        return sw.random({"x": sw.uniform(-1, 1)}, n_trials=n_trials, seed=3)

    first = sweep(noted, source(3), run_name="mine", n_seeds=2)
    evaluated()
    result = sweep(noted, source(5), run_name="mine", n_seeds=2)
    assert evaluated() == [(trial, seed) for trial in (3, 4) for seed in range(2)]
    assert table(result)[:3] == table(first)[:3]


def test_another_source_is_refused_or_its_other_cases_are_evaluated(sweep, noted, evaluated):
    sweep(noted, xs(0.0, 0.1, 0.2), run_name="mine", n_seeds=2)
    evaluated()
    other = xs(0.0, 0.7, 0.2, 0.3)
    with pytest.raises(ChangedRunError, match="source: was 'manual"):
        sweep(noted, other, run_name="mine", n_seeds=2)
    result = sweep(noted, other, run_name="mine", n_seeds=2, accept_changes=True)
    assert evaluated() == [(trial, seed) for trial in (1, 3) for seed in range(2)]
    assert table(result) == table(sweep(noted, other, n_seeds=2))


@pytest.mark.full
def test_a_change_that_was_accepted_in_vain_is_still_to_be_accepted(sweep, noted, evaluated):
    """No cluster was to be had: what was evaluated of the old cases is not taken for the new."""
    sweep(noted, xs(0.0, 0.1), run_name="mine", n_seeds=2)
    evaluated()
    other = xs(0.0, 0.7)
    with pytest.raises(AddressError):
        sweep(
            noted,
            other,
            run_name="mine",
            n_seeds=2,
            accept_changes=True,
            cluster="127.0.0.1:1",
        )
    result = sweep(noted, other, run_name="mine", n_seeds=2, accept_changes=True)
    assert evaluated() == [(1, 0), (1, 1)]
    assert table(result) == table(sweep(noted, other, n_seeds=2))


def test_losses_of_other_cases_are_dropped_with_a_change(sweep, monkeypatch, noted):
    """They were on record, of trials that were not told."""
    tell = SweepProposer.tell

    def stop(self, outcome):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SweepProposer, "tell", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep(noted, xs(0.0, 0.1), run_name="mine", n_seeds=2)
        with pytest.raises(KeyboardInterrupt):
            sweep(noted, xs(0.5, 0.1), run_name="mine", n_seeds=2, accept_changes=True)
    assert SweepProposer.tell is tell
    result = sweep(noted, xs(0.5, 0.1), run_name="mine", n_seeds=2)
    assert table(result) == table(sweep(noted, xs(0.5, 0.1), n_seeds=2))


def test_trial_nums_and_failed_cases_together(sweep, tmp_path, noted, evaluated):
    bad = tmp_path / "bad"
    bad.touch()
    source = xs(0.0, 0.9, 0.1, 1.0)
    options = {"run_name": "mine", "n_seeds": 1, "trial_retry_attempts": 0}
    sweep(noted, source, **options)
    evaluated()
    bad.unlink()
    result = sweep(noted, source, **options, retry_failed=True, trial_nums=[2])
    assert evaluated() == [(1, 0), (2, 0), (3, 0)]
    assert (result.n_trials, result.failed) == (4, [])


def test_a_source_that_is_too_short_is_refused(sweep, noted):
    def source(n_trials):
        return sw.random({"x": sw.uniform(-1, 1)}, n_trials=n_trials, seed=3)

    sweep(noted, source(9), run_name="mine", n_seeds=1, trial_nums=[7])
    with pytest.raises(OptionError, match=r"8 cases at least.*Trial 7"):
        sweep(noted, source(5), run_name="mine", n_seeds=1)


def test_slow_cases_after_cheap_ones_are_shared_by_the_workers(sweep, tmp_path):
    """A worker's first slow case waits for one of the other: no packs for cheap cases hold all."""

    @sw.loss(name="grows", description="slow from case 20 on", parameter_space={"x": (0, 399)})
    def grows(params, seed):
        import os
        import time

        if params["x"] >= 20:
            (tmp_path / f"{os.getpid()}.pid").touch()
            until_s = time.monotonic() + 60
            while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < until_s:
                time.sleep(0.05)
        return {"total_loss": params["x"], "components": {"pid": os.getpid()}}

    result = sweep(grows, sw.grid(x=[float(x) for x in range(400)]), n_seeds=1)
    assert len({trial.components["pid"] for trial in result.trials[20:]}) == 2


def test_folders_are_padded_for_all_cases(sweep, filed):
    cases = sw.random({"x": sw.uniform(-1, 1)}, n_trials=2000, seed=1)
    result = sweep(filed, cases, n_seeds=1, trial_nums=[3, 1500])
    assert [path.parent.name for (path,) in result.artifacts().values()] == [
        "trial_0003",
        "trial_1500",
    ]


def test_another_kind_of_run_is_refused(sweep, client, tmp_path):
    sweep(run_name="mine")
    with pytest.raises(NotARunError, match="kind 'sweep'"):
        sw.optimize_run(
            bowl, run_name="mine", run_root=tmp_path / "runs", accept_changes=True, cluster=client
        )


def test_a_seed_is_replayed(sweep):
    result = sweep()
    replayed = sw.replay_seed(result.run_dir, trial=11, seed=4)
    assert replayed.losses == {4: result.losses(11)[4]}
    assert replayed.params == result.trials[11].params
    with pytest.raises(OptionError, match="0 to 15"):
        sw.replay_seed(result.run_dir, trial=16)


# Points.


def test_overrides_and_trial_zero(sweep):
    result = sweep(
        source=sw.grid(x=[0.0, 0.5], n=[2]),
        overrides={"rate": 0.25, "kind": "fancy", "flip": True, "n": 9},
        trial_zero={"x": 1.5},
    )
    assert [trial.params["x"] for trial in result.trials] == [1.5, 0.0, 0.5]
    assert {trial.params["n"] for trial in result.trials} == {9}
    assert {trial.params["rate"] for trial in result.trials} == {0.25}
    meta = json.loads(Path(result.run_dir, "meta.json").read_text())
    assert meta["options"]["overrides"]["rate"] == 0.25
    assert sw.source_from_manifest(meta["source"]) == sw.grid(x=[0.0, 0.5], n=[2])


def test_a_grid_of_10_to_the_18(sweep):
    axes = {name: range(10**6) for name in "abc"}

    @sw.loss(name="sum", description="a sum", parameter_space=dict.fromkeys("abc", (0, 10**6)))
    def total(params, seed):
        return params["a"] + params["b"] + params["c"]

    last = 10**18 - 1
    result = sweep(total, sw.grid(**axes), trial_nums=[0, 5, last], n_seeds=1)
    assert [(trial.number, trial.value) for trial in result.trials] == [
        (0, 0.0),
        (5, 5.0),
        (last, 3.0 * 999_999),
    ]


# Files.


def test_files_of_the_loss(sweep, tmp_path, filed):
    result = sweep(filed, xs(0.0, 0.5), n_seeds=6, chunk_size=2)
    assert (tmp_path / "failed-once").exists(), "no chunk was tried again"
    folder = Path(result.run_dir) / "trials"
    names = [f"seed_{seed}.txt" for seed in range(6)]
    assert result.artifacts() == {
        number: tuple(folder / f"trial_00{number}" / name for name in names) for number in (0, 1)
    }
    about = json.loads((folder / "trial_001.json").read_text())
    assert (about["number"], about["params"]) == (1, {"x": 0.5})
    assert not (folder / ".attempts").exists()


def test_no_folder_is_made_untouched(sweep):
    result = sweep()
    assert not (Path(result.run_dir) / "trials").exists()
    assert result.artifacts() == {}


# Large ones.


@pytest.mark.full
def test_memory_grows_with_what_is_in_flight(sweep):
    """On workers of ours: a cluster that is passed keeps its last thousand messages in memory."""

    @sw.loss(name="cheap", description="next to nothing", parameter_space={"x": (0, 1)})
    def cheap(params, seed):
        return params["x"]

    def cases(n_trials):
        return sw.random({"x": sw.uniform(0, 1)}, n_trials=n_trials, seed=1)

    sweep(cheap, cases(2000), n_seeds=1, workers=2)
    before = psutil.Process().memory_info().rss
    result = sweep(cheap, cases(30_000), n_seeds=1, workers=2)
    grown_mb = (psutil.Process().memory_info().rss - before) / 1e6
    assert result.n_trials == 30_000
    # A TrialResult and its params alone would be 30 MB, and a Dask task for each more than 60.
    assert grown_mb < 40


def test_few_tasks_for_many_cheap_cases(sweep, monkeypatch):
    from distributed import Client

    n_tasks = []
    mapped = Client.map

    def counted(self, function, tasks, **keywords):
        n_tasks.append(len(tasks))
        return mapped(self, function, tasks, **keywords)

    monkeypatch.setattr(Client, "map", counted)

    @sw.loss(name="cheap", description="next to nothing", parameter_space={"x": (0, 1)})
    def cheap(params, seed):
        return params["x"]

    cases = sw.random({"x": sw.uniform(0, 1)}, n_trials=2000, seed=1)
    assert sweep(cheap, cases, n_seeds=1).n_trials == 2000
    assert sum(n_tasks) < 400


def test_timeout(sweep):
    @sw.loss(name="cheap", description="next to nothing", parameter_space={"x": (0, 1)})
    def cheap(params, seed):
        return params["x"]

    cases = sw.random({"x": sw.uniform(0, 1)}, n_trials=10**6, seed=1)
    result = sweep(cheap, cases, n_seeds=1, timeout=0.5)
    assert 0 < result.n_trials < 10**6
    status = sw.run_status(result.run_dir)
    assert (status.state, status.pending) == ("stopped", 10**6 - result.n_trials)


# Bad input.


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"source": sw.grid(x=[1.0])}, OptionError, r"missing: \['flip', 'kind', 'n', 'rate'\]"),
        (
            {"source": sw.grid(**GRID, y=[1])},
            OptionError,
            r"source=\['y'\].*x, rate, n, kind, flip",
        ),
        ({"source": [{"x": 1}]}, OptionError, r"grid\(\), random\(\) or manual\(\)"),
        ({"trial_nums": [3, 16]}, OptionError, r"\[16\].*0 to 15"),
        ({"trial_nums": [-1]}, OptionError, "0 to 15"),
        ({"trial_nums": []}, OptionError, "at least one"),
        ({"trial_nums": ["a"]}, OptionError, "whole numbers"),
        ({"overrides": {"z": 1}}, OptionError, r"overrides=\['z'\]"),
        ({"overrides": {"n": "many"}}, OptionError, r"overrides\['n'\]='many'.*type int"),
        ({"trial_zero": {"x": 1.0}}, OptionError, "trial_zero"),
        ({"n_seeds": 0}, OptionError, "n_seeds"),
        ({"n_trials": 3}, UnknownOptionError, "n_trials"),
        ({"sampler": "tpe"}, UnknownOptionError, "sampler"),
    ],
    ids=str,
)
def test_bad_input(sweep, tmp_path, keywords, error, words):
    with pytest.raises(error, match=words):
        sweep(**keywords)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "make",
    [
        sw.grid,
        lambda: sw.grid(x=[]),
        lambda: sw.manual([]),
        lambda: sw.random({}, n_trials=1, seed=1),
        lambda: sw.random({"x": sw.uniform(0, 1)}, n_trials=0, seed=1),
        lambda: sw.uniform(1, 1),
        lambda: sw.loguniform(0, 1),
        lambda: sw.source_from_manifest(
            {"type": "grid", "version": 1, "spec": {"x": [1]}, "y": 2}
        ),
    ],
)
def test_bad_sources(make):
    with pytest.raises(SourceError):
        make()


def test_distributions_stand_in_a_parameter_space(client, tmp_path):
    space = {"x": sw.uniform(-1, 1), "n": sw.randint(1, 3), "r": sw.loguniform(0.1, 1)}

    @sw.loss(name="drawn", description="a sum", parameter_space=space)
    def drawn(params, seed):
        return params["x"] + params["n"] + params["r"] + random.Random(seed).random()

    result = sw.optimize_run(
        drawn, n_trials=3, n_seeds=2, cluster=client, run_root=tmp_path, progress=False
    )
    assert all(type(trial.params["n"]) is int for trial in result.trials)
    swept = sw.run_sweep(
        drawn,
        sw.random(space, n_trials=3, seed=1),
        n_seeds=2,
        cluster=client,
        run_root=tmp_path,
        progress=False,
    )
    assert swept.n_trials == 3

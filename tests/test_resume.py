"""Going on with a run: the same call, `resume_run`, and what is refused."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import runpy
import shutil
import signal
import sys
import warnings
from pathlib import Path

import attrs
import numpy as np
import optuna
import pytest

import seedwise as sw
from seedwise.errors import (
    ChangedRunError,
    DamagedFileError,
    LedgerMismatchError,
    LossFailedError,
    NotARunError,
    OptionError,
    RunExistsError,
    SpaceError,
)
from seedwise.folder import lease
from seedwise.folder.process import this_process
from seedwise.slurm.queue import JobBook
from seedwise.study.proposer import Proposer
from tests.losses import SPACE, bowl
from tests.tables import some, table

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def run(client, tmp_path):
    def run(loss=bowl, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path, "progress": False}
        return sw.optimize_run(loss, **{**fixed, "n_seeds": 12, "chunk_size": 5, **keywords})

    return run


@pytest.fixture
def interrupt_after(monkeypatch):
    """Interrupt the driver at the tell of a trial, before anything of it is written."""
    tell = Proposer.tell

    @contextlib.contextmanager
    def interrupt_after(n_told: int):
        def stop(self, outcome):
            if outcome.number >= n_told:
                raise KeyboardInterrupt
            return tell(self, outcome)

        with monkeypatch.context() as patch:
            patch.setattr(Proposer, "tell", stop)
            yield

    return interrupt_after


@pytest.mark.parametrize("resume", [None, "auto"])
def test_a_call_without_a_name_after_an_unfinished_run(
    run, interrupt_after, tmp_path, capsys, resume
):
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        run(n_trials=4)
    result = run(n_trials=4, progress=True, resume=resume)
    said = capsys.readouterr().err
    if resume:
        assert Path(result.run_dir).name == "bowl_v0001"
        assert "resumed after 2 trials" in said
        undisturbed = run(n_trials=4, run_root=tmp_path / "other")
        assert table(result) == table(undisturbed)
    else:
        assert Path(result.run_dir).name == "bowl_v0002"
        assert "note: bowl_v0001, the run of this loss before this one, is not finished" in said
        assert "run_name='bowl_v0001'" in said


def test_after_a_finished_run_there_is_nothing_to_resume(run, capsys):
    names = [
        Path(run(n_trials=2, progress=True, resume=resume).run_dir).name
        for resume in (None, None, "auto")
    ]
    assert names == ["bowl_v0001", "bowl_v0002", "bowl_v0003"]
    assert "note:" not in capsys.readouterr().err


def test_only_auto_resumes(run):
    with pytest.raises(OptionError, match="resume='never': must be None or 'auto'"):
        run(n_trials=2, resume="never")


PASSED_SAMPLER = optuna.samplers.TPESampler(seed=5, n_startup_trials=4)


@pytest.mark.parametrize(
    ("sampler", "lag"),
    some(
        itertools.product(
            ["auto", "tpe", "random", "qmc", "cmaes", "nsgaii", PASSED_SAMPLER], [1, 3]
        ),
        ("tpe", 1),
        *(
            (sampler, 3)
            for sampler in ["auto", "tpe", "random", "qmc", "cmaes", "nsgaii", PASSED_SAMPLER]
        ),
    ),
    ids=lambda value: "a TPESampler" if value is PASSED_SAMPLER else str(value),
)
def test_every_sampler_goes_on_as_if_it_had_never_stopped(run, interrupt_after, sampler, lag):
    options = {"n_trials": 14, "sampler": sampler, "max_concurrent_trials": lag}
    expected = run(**options)
    for n_told in (2, 5, 11):
        with interrupt_after(n_told), pytest.raises(KeyboardInterrupt):
            run(**options, run_name="stopped")
    result = run(**options, run_name="stopped")
    assert table(result) == table(expected)
    assert [trial.state.name for trial in result.study().get_trials()] == ["COMPLETE"] * 14


def test_n_trials_is_a_total_and_may_be_raised(run):
    first = run(n_trials=3, run_name="a")
    again = run(n_trials=3, run_name="a")
    assert table(again) == table(first)
    assert again.run_dir == first.run_dir
    longer = run(n_trials=7, run_name="a")
    assert table(longer) == table(run(n_trials=7))
    assert run(n_trials=2, run_name="a").n_trials == 7


def test_a_run_that_is_done_needs_no_workers(run, monkeypatch):
    first = run(n_trials=3, run_name="a")
    monkeypatch.setattr("seedwise.driver.carry_out.open_workplace", None)
    assert table(run(n_trials=3, run_name="a")) == table(first)


def test_what_does_not_decide_the_results_may_change(run):
    expected = run(n_trials=8)
    run(n_trials=4, run_name="a")
    result = run(n_trials=8, run_name="a", chunk_size=3, use_processes=True, worker_parallelism=2)
    assert table(result) == table(expected)


def other_bowl(change):
    space = {**SPACE, **change}
    return sw.loss(name="bowl", description="b", parameter_space=space)(bowl.function)


@pytest.mark.parametrize(
    ("keywords", "name", "old", "new"),
    [
        ({"n_seeds": 13}, "seeds", "12 from 0 to 11", "13 from 0 to 12"),
        ({"seeds": range(1, 13)}, "seeds", "12 from 0 to 11", "12 from 1 to 12"),
        ({"sampler": "random"}, "sampler", "tpe", "random"),
        ({"random_seed": 5}, "random_seed", "123", "5"),
        ({"direction": "maximize"}, "direction", "minimize", "maximize"),
        ({"max_concurrent_trials": 2}, "max_concurrent_trials", "1", "2"),
        ({"entry_id": "p1"}, "entry_id", "None", "p1"),
        ({"loss": other_bowl({"x": (0, 2)})}, "parameter_space['x']", "-2.0", "0"),
        ({"loss": other_bowl({"z": (0, 2)})}, "parameter_space['z']", "none", "0"),
    ],
)
def test_what_would_change_the_results_is_refused(run, keywords, name, old, new, tmp_path):
    run(n_trials=3, run_name="a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.*")}
    with pytest.raises(ChangedRunError, match="begun with other options") as caught:
        run(n_trials=5, run_name="a", **keywords)
    assert old in caught.value.changes[name][0]
    assert new in caught.value.changes[name][1]
    assert f"{name}: was" in str(caught.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.*")} == before


def test_a_loss_that_was_edited_is_refused(run):
    def first(params, seed):
        return params["x"] + random.Random(seed).random()

    def second(params, seed):
        return params["x"] - random.Random(seed).random()

    def make(function):
        return sw.loss(name="edited", description="e", parameter_space={"x": (0, 1)})(function)

    run(make(first), n_trials=3, run_name="a")
    with pytest.raises(ChangedRunError, match=r"loss: was 'edited, code \w+', is 'edited, code"):
        run(make(second), n_trials=4, run_name="a")
    result = run(make(second), n_trials=4, run_name="a", accept_changes=True)
    assert result.trials[:3] == run(make(first), n_trials=3).trials[:3] or result.n_trials == 4
    meta = json.loads((result.study_file.parent / "meta.json").read_text())
    (accepted,) = meta["accepted_changes"]
    assert list(accepted["changes"]) == ["loss"]


def test_an_accepted_change_of_the_loss_drops_what_is_on_record_of_open_trials(
    run, interrupt_after
):
    def make(offset):
        @sw.loss(name="moved", description="m", parameter_space={"x": (0, 1)})
        def moved(params, seed):
            return offset + seed

        return moved

    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        run(make(0.0), n_trials=3, run_name="a")
    result = run(make(100.0), n_trials=3, run_name="a", accept_changes=True)
    assert [trial.value for trial in result.trials] == [5.5, 105.5, 105.5]


@pytest.mark.parametrize(
    "keywords",
    [
        {"sampler": "random", "random_seed": 9},
        {"max_concurrent_trials": 3},
        {"n_seeds": 20},
        {"loss": other_bowl({"x": (0, 2)})},
        {"direction": "maximize"},
    ],
)
def test_changes_that_are_accepted_go_on_and_are_recorded(run, keywords, interrupt_after):
    with interrupt_after(3), pytest.raises(KeyboardInterrupt):
        run(n_trials=6, run_name="a")
    result = run(n_trials=6, run_name="a", accept_changes=True, **keywords)
    assert [trial.number for trial in result.trials] == list(range(6))
    pick = max if keywords.get("direction") == "maximize" else min
    assert result.best_value == pick(trial.value for trial in result.trials)
    assert result.study().best_value == result.best_value
    meta = json.loads((result.study_file.parent / "meta.json").read_text())
    assert len(meta["accepted_changes"]) == 1
    again = run(n_trials=6, run_name="a", **keywords)
    assert table(again) == table(result)


def test_a_change_that_optuna_can_not_take_is_refused_all_the_same(run):
    run(n_trials=3, run_name="a")
    loss = other_bowl({"kind": sw.search_param(allowed=["plain", "fancy", "odd"])})
    with pytest.raises(SpaceError, match="parameter 'kind': a study can't take this change"):
        run(loss, n_trials=6, run_name="a", accept_changes=True)


def test_resume_run_needs_the_folder_alone(run, client, interrupt_after):
    expected = run(n_trials=6, max_concurrent_trials=2)
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        run(n_trials=6, max_concurrent_trials=2, run_name="a")
    folder = run(n_trials=1).study_file.parent.parent / "a"
    with pytest.raises(OptionError, match="begun on a Dask cluster that was passed"):
        sw.resume_run(folder)
    result = sw.resume_run(folder, cluster=client)
    assert table(result) == table(expected)
    assert table(sw.resume_run(str(folder), cluster=client, n_trials=9)) == table(
        run(n_trials=9, max_concurrent_trials=2, run_name="a")
    )
    with pytest.raises(ChangedRunError, match="random_seed: was '123', is '7'"):
        sw.resume_run(folder, cluster=client, random_seed=7)


def test_a_run_that_stopped_at_a_failed_trial_goes_on_after_it(run, tmp_path):
    @sw.loss(name="picky", description="p", parameter_space={"x": (-1, 1)})
    def picky(params, seed):
        if seed == 7 and params["x"] > 0:
            raise ZeroDivisionError("too much")
        return params["x"] + random.Random(seed).random()

    options = {"n_trials": 8, "max_concurrent_trials": 2, "trial_retry_attempts": 0}
    expected = run(picky, **options, fail_on_chunk_error=False)
    failed = [trial.number for trial in expected.trials if trial.value is None]
    assert len(failed) > 1
    for number in failed:
        with pytest.raises(LossFailedError) as caught:
            run(picky, **options, run_name="a")
        assert caught.value.trial == number
        command = f"seedwise replay {tmp_path / 'a'} --trial {number} --seed 7"
        assert command in str(caught.value)
    assert table(run(picky, **options, run_name="a")) == table(expected)


def test_a_grid_that_is_exhausted_stays_so(run):
    sampler = optuna.samplers.GridSampler({"x": [0.0, 0.5, 1.0]}, seed=3)
    loss = sw.loss(name="line", description="l", parameter_space={"x": (0, 1)})(
        lambda params, seed: params["x"] + seed
    )
    first = run(loss, n_trials=9, sampler=sampler, run_name="a")
    assert first.n_trials == 3
    assert table(run(loss, n_trials=9, sampler=sampler, run_name="a")) == table(first)


@pytest.mark.parametrize("points", [list(np.linspace(0, 1, 5)), [0, 1, 2, 3]])
def test_a_sampler_that_gives_other_types_than_the_study_file(run, points, interrupt_after):
    """The loss sees the same before and after, and the ledger knows the params again."""

    def note(params, seed):
        if type(params["x"]) is not float:  # an assert of a test would bring pytest to the workers
            raise TypeError(params["x"])
        return params["x"] + seed

    loss = sw.loss(name="line", description="l", parameter_space={"x": (0, 9)})(note)
    options = {"sampler": optuna.samplers.GridSampler({"x": points}, seed=3)}
    options |= {"n_trials": 4, "max_concurrent_trials": 2}
    expected = run(loss, **options)
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        run(loss, **options, run_name="a")
    assert table(run(loss, **options, run_name="a")) == table(expected)


def test_a_study_file_that_is_gone_is_made_again_from_the_ledger(run, tmp_path):
    expected = run(n_trials=6, run_name="a")
    for name in ("study.journal", "sampler-a.checkpoint", "sampler-b.checkpoint"):
        (tmp_path / "a" / name).unlink()
    calls = (tmp_path / "a" / "chunks.ledger").read_bytes()
    assert table(run(n_trials=6, run_name="a")) == table(expected)
    assert (tmp_path / "a" / "chunks.ledger").read_bytes() == calls  # nothing was evaluated


def test_a_sampler_without_a_seed_can_not_make_the_study_again(run, tmp_path):
    sampler = optuna.samplers.RandomSampler()
    run(n_trials=3, sampler=sampler, run_name="a")
    for name in ("study.journal", "sampler-a.checkpoint", "sampler-b.checkpoint"):
        (tmp_path / "a" / name).unlink()
    with pytest.raises(LedgerMismatchError, match="because it has no seed"):
        run(n_trials=3, sampler=sampler, run_name="a")
    assert run(n_trials=3, sampler=sampler, run_name="a", accept_changes=True).n_trials == 3


def test_a_folder_that_is_no_run(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    with pytest.raises(RunExistsError, match="holds no run"):
        run(n_trials=1, run_name="mine")
    with pytest.raises(NotARunError, match=r"no meta\.json"):
        sw.resume_run(tmp_path / "mine")
    with pytest.raises(NotARunError, match="no such folder"):
        sw.resume_run(tmp_path / "nowhere")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_folder_that_others_can_write_to_is_not_believed(run, client, tmp_path):
    run(n_trials=1, run_name="a")
    (tmp_path / "a" / "run.json").chmod(0o666)
    with pytest.raises(NotARunError, match="others could have put a program into it"):
        sw.resume_run(tmp_path / "a", cluster=client)


def test_another_cpu_is_warned_of(run, tmp_path):
    run(n_trials=1, run_name="a")
    path = tmp_path / "a" / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cpu_model": "a 486"}))
    with pytest.warns(UserWarning, match="begun on a CPU 'a 486'"):
        run(n_trials=2, run_name="a")


def test_signal_handlers_are_as_they_were(run):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    run(n_trials=1)
    assert [signal.getsignal(number) for number in numbers] == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import seedwise.cluster.slurm  # noqa: F401
    assert [signal.getsignal(number) for number in numbers] == before


def test_code_that_was_edited_is_not_what_resume_run_runs_and_is_refused_elsewhere(
    run, client, tmp_path
):
    """Nor is a module that is imported when the loss is called."""
    helper = tmp_path / "helper_of_the_loss.py"
    source = (
        "import sys, seedwise as sw\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "@sw.loss(name='late', description='l', parameter_space={'x': (0, 1)})\n"
        "def late(params, seed):\n"
        "    from helper_of_the_loss import OFFSET\n"
        "    return OFFSET + seed\n"
    )
    path = tmp_path / "late_module.py"
    path.write_text(source)
    helper.write_text("OFFSET = 0.0\n")
    late = runpy.run_path(str(path))["late"]
    for name, keywords in (("module", {"loss_module": str(path)}), ("late", {})):
        helper.write_text("OFFSET = 0.0\n")
        first = run(late, n_trials=2, run_name=name, n_seeds=10, **keywords)
        helper.write_text("OFFSET = 100.0\n")
        resumed = sw.resume_run(tmp_path / name, cluster=client, n_trials=3)
        assert {trial.value for trial in resumed.trials} == {first.best_value}
        with pytest.raises(ChangedRunError, match="loss: was"):
            run(late, n_trials=4, run_name=name, n_seeds=10, **keywords)
    sys.path.remove(str(tmp_path))


def test_the_chunk_size_of_a_run_without_n_seeds_is_free(client, tmp_path):
    options = {"cluster": client, "run_root": tmp_path, "progress": False, "run_name": "a"}
    sw.optimize_run(bowl, n_trials=1, race=False, **options)
    result = sw.resume_run(tmp_path / "a", cluster=client, n_trials=2, chunk_size=500)
    assert [trial.n_seeds for trial in result.trials] == [1000, 1000]


def test_a_folder_of_somebody_elses_is_not_gone_on_with(run, tmp_path):
    run(n_trials=1, run_name="a")
    (tmp_path / "a").chmod(0o777)
    with pytest.raises(NotARunError, match="others could have put a program into it"):
        run(n_trials=2, run_name="a")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap").chmod(0o777)
    with pytest.raises(NotARunError, match="others could have put a program into it"):
        run(n_trials=2, run_name="trap")


def test_told_trials_are_not_made_again_of_another_loss(run, tmp_path):
    def make(offset):
        @sw.loss(name="moved", description="m", parameter_space={"x": (0, 1)})
        def moved(params, seed):
            return offset + seed

        return moved

    run(make(0.0), n_trials=2, run_name="a")
    first = run(make(100.0), n_trials=4, run_name="a", accept_changes=True)
    study = first.study_file.read_bytes()
    for name in ("sampler-a.checkpoint", "sampler-b.checkpoint"):
        (tmp_path / "a" / name).unlink()
    with pytest.raises(DamagedFileError, match="options were changed on the way"):
        run(make(100.0), n_trials=6, run_name="a")
    assert first.study_file.read_bytes() == study


def test_a_new_parameter_is_refused_while_a_trial_without_it_is_in_flight(run, interrupt_after):
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        run(n_trials=3, run_name="a")
    with pytest.raises(SpaceError, match="parameter 'z': trial 1 is in flight and has no value"):
        run(other_bowl({"z": (0, 2)}), n_trials=3, run_name="a", accept_changes=True)


def test_trials_in_flight_are_finished_though_n_trials_is_lowered(run, interrupt_after):
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        run(n_trials=8, max_concurrent_trials=4, run_name="a")
    result = run(n_trials=2, max_concurrent_trials=4, run_name="a")
    assert result.n_trials == 6
    assert {trial.state.name for trial in result.study().get_trials()} == {"COMPLETE"}


def test_what_a_kill_in_the_middle_of_writing_left_is_swept(run, tmp_path):
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / ".meta.json.0a1b2c3d.new").write_text("{")
    run(n_trials=1, run_name="a")
    assert not list((tmp_path / "a").glob(".*.new"))


def test_a_copy_that_is_gone_on_with_is_a_run_of_its_own(run, tmp_path):
    """Its jobs are not those of the run that was copied, by whatever they are known."""
    run(n_trials=2, run_name="original")
    original, copy = tmp_path / "original", tmp_path / "copy"
    JobBook(original / "slurm/jobs.jsonl").note("77")
    shutil.copytree(original, copy)
    before = json.loads((original / "meta.json").read_text())["run_id"]
    assert run(n_trials=3, run_name="copy").n_trials == 3
    assert json.loads((copy / "meta.json").read_text())["run_id"] != before
    assert not (copy / "slurm/jobs.jsonl").exists()
    assert json.loads((original / "meta.json").read_text())["run_id"] == before
    assert JobBook(original / "slurm/jobs.jsonl").ids() == ["77"]


@pytest.fixture
def silent_elsewhere(run, tmp_path, monkeypatch):
    """A run whose driver, on another host, is to be waited out for a moment."""
    monkeypatch.setattr(lease, "_MARGIN_S", 0.05)
    run(n_trials=2, run_name="taken")
    held = {**attrs.asdict(this_process("0" * 32)), "host": "far"}
    path = tmp_path / "taken" / "driver.lease"
    path.write_text(json.dumps(held))
    silent_since_s = path.stat().st_mtime - lease.SILENT_S + 0.5
    os.utime(path, (silent_since_s, silent_since_s))
    return path


WAITED_OUT = rf"seedwise: note: process {os.getpid()} on far, since .* waiting for \d s, .*\n"


def test_a_driver_that_waits_for_another_to_be_silent_says_so(run, silent_elsewhere, capsys):
    result = run(n_trials=3, run_name="taken", take_over=True, progress=True)
    assert result.n_trials == 3
    assert re.match(WAITED_OUT, capsys.readouterr().err)


def test_a_cleaning_that_waits_for_another_to_be_silent_says_so(silent_elsewhere, capsys):
    cleaned = sw.clean_run(silent_elsewhere.parent, take_over=True)
    assert "driver.lease" in cleaned.removed
    assert re.match(WAITED_OUT, capsys.readouterr().err)

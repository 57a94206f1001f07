"""One seed again, without Dask: the loss of the run, bit for bit, or what it raised."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage

import seedwise as sw
from seedwise.driver.parts import make_parts, read_saved, save
from seedwise.driver.replay import Replayed, replay
from seedwise.errors import LossValueError, OptionError
from seedwise.folder.find import open_run_directory
from seedwise.model.options.study import RunOptions
from seedwise.model.seeds import Chunk
from seedwise.study.journal import SingleWriterJournal
from seedwise.study.samplers import distributions
from seedwise.study.storage import quiet_optuna
from seedwise.worker.block import evaluate_block
from tests.losses import bowl, bowls, picky


@sw.loss(name="told", description="tells its context", parameter_space={"x": (0, 1)})
def told(params, seed, context):
    if context != {"entry_id": "subject 7", "trial_number": 1}:
        raise ValueError(f"{context}")
    return {"total_loss": seed, "components": {"a": params["x"]}}


@sw.loss(name="scribe", description="writes files", parameter_space={"x": (0, 1)})
def scribe(params, seed, context):
    if seed != 1:
        (context["trial_dir"] / f"{seed}.txt").write_text(f"{seed}")
        return {"total_loss": seed, "components": {"a": params["x"], "b": float("inf")}}
    return 1.0


@sw.loss(name="parts", description="p", parameter_space={"x": (0, 1)}, vectorized=True)
def parts_of_many(params, seeds):
    return {"total_loss": seeds, "components": {"half": seeds / 2}}


@sw.loss(name="infinite", description="for odd seeds", parameter_space={"x": (0, 1)})
def infinite(params, seed):
    return float("inf") if seed % 2 else 1.0


@sw.loss(name="infinites", description="the same", parameter_space={"x": (0, 1)}, vectorized=True)
def infinites(params, seeds):
    return np.where(seeds % 2, np.inf, 1.0)


class Folder:
    """The folder of a run, with a study of which the last trial is open."""

    def __init__(self, path, loss, n_trials: int = 3, **keywords) -> None:
        self.directory = open_run_directory(path, "mine", loss.name)
        self.directory.meta.write({"study_name": "a study"})
        parts = make_parts(loss, RunOptions.from_keywords({"n_seeds": 6, **keywords}))
        save(parts, self.directory)
        self.loss, self.plan = loss, parts.plan
        self.params = {}
        journal = SingleWriterJournal(self.directory.study_file)
        with quiet_optuna():
            study = optuna.create_study(
                storage=JournalStorage(journal), study_name="a study", sampler=parts.sampler
            )
        for _ in range(n_trials):
            trial = study.ask(distributions(loss.parameter_space))
            self.params[trial.number] = trial.params
            if trial.number < n_trials - 1:
                study.tell(trial, 1.0)
        journal.close()

    def replay(self, trial: int, seed: int | None = None) -> Replayed:
        return replay(self.directory, read_saved(self.directory), trial, seed)


@pytest.mark.parametrize("loss", [bowl, bowls])
@pytest.mark.parametrize("trial", range(3))
def test_the_losses_are_the_bits_of_the_run(loss, trial, tmp_path):
    run = Folder(tmp_path, loss, seeds=[5, 3, -9, 2**40])
    context = {"entry_id": None, "trial_number": trial}
    chunk = Chunk(0, 0, run.plan.seeds)
    block = evaluate_block(loss, run.params[trial], chunk, context)
    expected = dict(zip([5, 3, -9, 2**40], block.losses.tolist(), strict=True))
    replayed = run.replay(trial)
    assert replayed == Replayed(run.params[trial], expected)
    assert list(replayed.losses) == [5, 3, -9, 2**40]
    for seed, value in expected.items():
        assert run.replay(trial, seed) == Replayed(run.params[trial], {seed: value})


def test_the_seeds_are_those_of_the_run(tmp_path):
    assert list(Folder(tmp_path / "a", bowl).replay(0).losses) == [0, 1, 2, 3, 4, 5]
    from_7 = sw.loss(
        name="from 7", description="a bowl", parameter_space=bowl.parameter_space, seed_start=7
    )(bowl.function)
    assert list(Folder(tmp_path / "b", from_7, n_seeds=2).replay(0).losses) == [7, 8]


def test_the_loss_is_told_its_context(tmp_path):
    run = Folder(tmp_path, told, entry_id="subject 7")
    assert run.replay(1, 4).losses == {4: 4.0}
    with pytest.raises(ValueError, match="'trial_number': 0"):
        run.replay(0, 4)


def test_what_the_loss_raises_comes_out_as_it_is(tmp_path):
    run = Folder(tmp_path, picky, n_trials=9, n_seeds=8)
    failing = next(trial for trial, params in run.params.items() if params["x"] > 0)
    with pytest.raises(ZeroDivisionError, match="is too much for seed 7") as caught:
        run.replay(failing, 7)
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "picky"  # where a debugger is to stop
    with pytest.raises(ZeroDivisionError):
        run.replay(failing)
    assert list(run.replay(failing, 6).losses) == [6]


@pytest.mark.parametrize("loss", [infinite, infinites])
def test_a_loss_that_is_not_finite_is_refused_as_in_the_run(loss, tmp_path):
    run = Folder(tmp_path, loss)
    assert run.replay(0, 2).losses == {2: 1.0}
    with pytest.raises(LossValueError, match="not finite"):
        run.replay(0, 3)


@pytest.mark.parametrize("trial", [-1, 3, 99])
def test_another_trial_is_refused(trial, tmp_path):
    with pytest.raises(OptionError, match="a trial of the run, which has 0 to 2") as caught:
        Folder(tmp_path, bowl).replay(trial)
    assert (caught.value.name, caught.value.value) == ("trial", trial)


def test_a_run_that_has_no_trial_yet_says_so(tmp_path):
    with pytest.raises(OptionError, match=r"trial=0: must be a trial .*, which has none yet"):
        Folder(tmp_path, bowl, n_trials=0).replay(0)


def test_a_run_that_has_no_study_yet_says_so(tmp_path):
    run = Folder(tmp_path, bowl)
    run.directory.study_file.unlink()
    with pytest.raises(OptionError, match="which has none yet"):
        run.replay(0)
    assert not run.directory.study_file.exists()


@pytest.mark.parametrize("seed", [-1, 6, 2**70])
def test_another_seed_is_refused(seed, tmp_path):
    with pytest.raises(OptionError, match="one of the run's 6 seeds, 0 to 5") as caught:
        Folder(tmp_path, bowl).replay(0, seed)
    assert (caught.value.name, caught.value.value) == ("seed", seed)


def test_the_cluster_of_the_run_need_not_be_there(tmp_path):
    assert list(Folder(tmp_path, bowl, cluster="slurm").replay(0, 1).losses) == [1]
    saved_one = Folder(tmp_path / "other", bowl, cluster="tcp://node:8786")
    assert list(saved_one.replay(0, 1).losses) == [1]


def test_the_folder_is_left_as_it_is(tmp_path):
    run = Folder(tmp_path, bowl)
    before = {path: path.stat().st_mtime_ns for path in run.directory.path.rglob("*")}
    run.replay(0)
    assert {p: p.stat().st_mtime_ns for p in run.directory.path.rglob("*")} == before


def test_components_are_told_of_the_seeds_that_have_some(tmp_path):
    run = Folder(tmp_path / "a", scribe, n_seeds=3)
    parts = {"a": run.params[1]["x"], "b": float("inf")}
    assert run.replay(1).components == {0: parts, 2: parts}
    many = Folder(tmp_path / "b", parts_of_many, n_seeds=3)
    assert many.replay(1).components == {0: {"half": 0.0}, 1: {"half": 0.5}, 2: {"half": 1.0}}
    assert many.replay(1, 2).components == {2: {"half": 1.0}}


def test_files_that_the_loss_writes_go_to_a_folder_of_the_replay(tmp_path):
    run = Folder(tmp_path, scribe, n_seeds=3)
    replays = run.directory.path / "replays"
    run.replay(1, 1)
    assert not replays.exists()
    run.replay(1)
    (first,) = replays.iterdir()
    assert first.name.startswith("trial_001-")
    assert sorted(path.name for path in first.iterdir()) == ["0.txt", "2.txt"]
    assert first.stat().st_mode & 0o777 == replays.stat().st_mode & 0o777 == 0o700
    run.replay(1, 2)
    assert len(list(replays.iterdir())) == 2


def test_a_study_file_with_a_torn_end_is_read(tmp_path):
    run = Folder(tmp_path, bowl)
    losses = run.replay(0).losses
    with run.directory.study_file.open("ab") as file:
        file.write(b'{"op_code":4,"torn')
    assert run.replay(0).losses == losses

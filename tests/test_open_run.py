"""open_run: the result of any run from its folder alone, wherever that is."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import attrs
import pytest
from scipy import stats

import seedwise as sw
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import acquire_lease
from tests.losses import bowl, parted, picky
from tests.tables import table

GRID = sw.grid(x=[-1.0, 0.5], rate=[0.1], n=[2, 7], kind=["fancy"])


@pytest.fixture
def fit(client, tmp_path):
    def fit(kind, loss=bowl, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path / "runs", "progress": False}
        few = {"n_seeds": 8, "chunk_size": 3, **fixed, **keywords}
        if kind == "sweep":
            overrides = {"flip": True} if loss is bowl else None
            return sw.run_sweep(loss, few.pop("source", GRID), overrides=overrides, **few)
        few = {"n_trials": 4, **few}
        if kind == "entries":
            return sw.optimize_entries(loss, entry_ids=["anna", "ben", "cleo"], **few)
        return sw.optimize_run(loss, **few)

    return fit


def content(path: Path) -> dict[Path, tuple[bytes, int]]:
    """Return all that reading could change: which files there are, and what is in them."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def described(result) -> dict:
    """Return what a result says, but for its folder."""
    if isinstance(result, sw.MultiOptimizeResult):
        results = {entry: described(one) for entry, one in result.results_by_entry.items()}
        failed = {entry: (type(e), str(e), vars(e)) for entry, e in result.failed.items()}
        best = (result.best_values_by_entry, result.best_params_by_entry)
        return {"results": results, "failed": failed, "best": best, "outcome": result.outcome}
    names = ("loss_name", "mode", "direction", "n_trials", "outcome")
    return {
        **{name: getattr(result, name) for name in names},
        "table": table(result),
        "seeds": result.seeds.tolist(),
        "losses": [repr(result.losses(trial.number)) for trial in result.trials],
    }


KINDS = pytest.mark.parametrize(
    ("kind", "keywords"),
    [
        ("run", {"direction": "maximize", "trial_zero": {"x": 1.5}}),
        ("run", {"loss": picky, "seeds": [9, 7, 1], "fail_on_chunk_error": False}),
        ("entries", {"loss": parted}),
        ("sweep", {"trial_zero": {"x": 3.0, "rate": 2.0, "n": 1, "kind": "plain"}}),
        ("sweep", {"loss": picky, "source": sw.grid(x=[-0.5, 0.5])}),
    ],
)


@KINDS
def test_a_run_that_was_copied_is_what_its_call_returned(
    fit, tmp_path, monkeypatch, kind, keywords
):
    result = fit(kind, **keywords)
    there = tmp_path / "laptop" / "copy"
    shutil.copytree(result.run_dir, there)
    for name in ("run.json", "sampler-a.checkpoint", "sampler-b.checkpoint"):
        for file in there.rglob(name):
            file.unlink()  # they hold programs
    shutil.rmtree(there / "code")
    before = content(there)
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.delattr(pickle, name)
    read = sw.open_run(there)
    monkeypatch.undo()
    assert type(read) is type(result)
    assert read.run_dir == str(there)
    assert described(read) == described(result)
    assert content(there) == before
    assert sw.open_run(result.run_dir).to_dataframe().equals(result.to_dataframe())


def torn(path: Path) -> None:
    """Have each record file end with a part of its last record, as while one is written."""
    for name in ("study.journal", "chunks.ledger", "trials.table"):
        for file in path.rglob(name):
            whole = file.read_bytes()
            file.write_bytes(whole + whole[-40:-7])


@pytest.mark.parametrize("kind", ["run", "entries", "sweep"])
def test_a_run_that_is_at_work_is_read_as_it_stands(fit, kind):
    result = fit(kind, loss=parted if kind == "entries" else bowl)
    path = Path(result.run_dir)
    torn(path)
    with acquire_lease(RunDirectory(path).lease):
        before = content(path)
        assert described(sw.open_run(path)) == described(result)
        assert content(path) == before


def test_a_last_record_that_parses_but_is_not_what_was_written_is_not_read(fit):
    """As a power cut leaves it; Optuna's own reader takes it."""
    result = fit("run")
    file = result.study_file
    lines = file.read_bytes().splitlines(keepends=True)
    (at,) = [i for i, line in enumerate(lines) if b'"state":1' in line and b'"trial_id":3' in line]
    value = json.loads(lines[at])["values"][0]
    file.write_bytes(b"".join([*lines[:at], lines[at].replace(b"%r" % value, b"-99.0")]))
    assert table(sw.open_run(result.run_dir))[:3] == table(result)[:3]
    assert sw.open_run(result.run_dir).n_trials == len(sw.open_run(result.run_dir).trials) == 3
    with file.open("ab") as more:
        more.write(lines[0])
    with pytest.raises(sw.DamagedFileError, match=r"study\.journal is damaged at byte"):
        sw.open_run(result.run_dir)


def test_a_run_without_a_complete_trial_can_be_looked_at(fit):
    with pytest.raises(sw.LossFailedError):
        fit("run", picky, run_name="a", trial_zero={"x": 0.5})
    path = RunDirectory(Path(fit("run", run_name="b").run_dir)).path.parent / "a"
    read = sw.open_run(path)
    assert (read.n_trials, read.best, read.outcome[:23]) == (1, None, "0 complete, 1 failed: t")
    assert "best" not in repr(read)
    with pytest.raises(sw.NoCompleteTrialError, match="seedwise replay"):
        _ = read.best_value
    assert "is too much for seed 7" in read.traceback(0)
    (path / "study.journal").unlink()
    read = sw.open_run(path)
    assert (read.trials, len(read.to_dataframe())) == ((), 0)
    with pytest.raises(sw.NoCompleteTrialError, match="none was finished"):
        read.study()
    assert not (path / "study.journal").exists()


def test_entries_that_have_not_begun_or_have_no_trial_yet(fit):
    path = Path(fit("entries", parted).run_dir)
    shutil.rmtree(path / "entries" / "anna")
    (path / "entries" / "cleo" / "study.journal").unlink()
    read = sw.open_run(path)
    assert (list(read.results_by_entry), read.best_values_by_entry) == (["cleo"], {})
    assert read.outcome.startswith("0 fitted, 1 failed: ben: ValueError: could not convert ben")
    assert read.outcome.endswith(", 2 without a complete trial")
    assert read.to_dataframe()["best_trial"].isna().all()
    assert sw.open_run(path / "entries" / "ben").n_trials == 2


def test_the_error_of_an_entry_that_is_damaged_is_its_own(fit):
    path = Path(fit("entries", parted).run_dir)
    file = path / "entries" / "anna" / "study.journal"
    file.write_bytes(b"no record\n" + file.read_bytes())
    read = sw.open_run(path)
    assert (list(read.failed), list(read.results_by_entry)) == (["anna", "ben"], ["cleo"])
    assert isinstance(read.failed["anna"], sw.DamagedFileError)


# What each seed gave.


def test_losses_and_components_of_each_seed(fit):
    result = fit("run", parted, seeds=[5, 2, 9], entry_id="anna")
    for trial in result.trials:
        losses = [trial.params["x"] + 0.1 * seed for seed in (5, 2, 9)]
        assert result.losses(trial.number).tolist() == losses
        assert result.components(trial.number)["half"].tolist() == [x / 2 for x in losses]
        assert result.traceback(trial.number) is None
    for read in (result.losses, result.components, result.traceback):
        with pytest.raises(sw.OptionError, match="one of the 4 finished trials"):
            read(4)


def test_trials_are_compared_seed_by_seed(fit):
    source = sw.grid(x=[0.0], rate=[0.1], n=[4], kind=["plain", "fancy"])
    result = fit("sweep", source=source, n_seeds=30)
    found = result.compare(1, 0)
    known = stats.ttest_rel(result.losses(1), result.losses(0))
    assert found.n_seeds == 30
    assert found.difference == pytest.approx(result.trials[1].value - result.trials[0].value)
    assert found.difference / found.stderr == pytest.approx(known.statistic)
    assert found.interval == pytest.approx(tuple(known.confidence_interval()))
    single = fit("run", n_seeds=1).compare(0, 1)
    assert (single.n_seeds, single.stderr, single.interval) == (1, None, None)


def test_a_failed_trial_is_not_compared(fit):
    result = fit("sweep", picky, source=sw.grid(x=[-0.5, 0.5]))
    with pytest.raises(sw.OptionError, match=r"trial_num=1: .*did not fail\. seed 7: ZeroDiv"):
        result.compare(0, 1)


def test_losses_of_other_seeds_or_of_another_loss_are_not_mixed(fit):
    first = fit("run", run_name="a", n_trials=2)
    more = {"run_name": "a", "accept_changes": True}
    other = attrs.evolve(bowl, function=lambda params, seed: params["x"] + seed)
    result = fit("run", other, n_trials=4, **more)
    assert result.losses(1).tolist() == first.losses(1).tolist()
    assert result.compare(2, 3).n_seeds == 8
    with pytest.raises(sw.OptionError, match="trials of one loss"):
        result.compare(1, 2)
    result = fit("run", other, n_trials=6, seeds=range(50, 58), **more)
    assert len(result.losses(5)) == 8
    for number in (1, 3):
        with pytest.raises(sw.OptionError, match="present seeds"):
            result.losses(number)


def test_a_study_that_was_read_can_not_be_written_to(fit):
    study = fit("run").study()
    with pytest.raises(OSError, match="open for reading only"):
        study.set_user_attr("a", 1)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(sw.NotARunError):
        sw.open_run(tmp_path)

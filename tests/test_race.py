"""A race on real workers, and parts of the plan: who gets which seeds, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import seedwise as sw
from seedwise.errors import OptionError
from seedwise.model.racing import looks
from tests.losses import lonely
from tests.tables import table

N_SEEDS = 40
RACE = {
    "race": True,
    "n_trials": 16,
    "n_seeds": N_SEEDS,
    "max_concurrent_trials": 4,
    "sampler": "tpe",
    "n_validation_seeds": 0,
}
PARTS = {**RACE, "race": "auto", "max_concurrent_trials": 1}


def run(root, **options):
    return sw.optimize_run(lonely, run_root=root, progress=False, **{**RACE, **options})


@pytest.fixture(scope="module")
def raced(client, tmp_path_factory):
    """A race in chunks that hold a whole look."""
    return run(tmp_path_factory.mktemp("raced"), cluster=client, chunk_size=1000)


def test_some_trials_are_dropped_at_different_looks_and_some_are_not(raced):
    dropped = [trial for trial in raced.trials if trial.raw_value is not None]
    whole = [trial for trial in raced.trials if trial.raw_value is None]
    assert {trial.n_seeds for trial in whole} == {N_SEEDS}
    assert len({trial.n_seeds for trial in dropped}) > 1
    assert {trial.n_seeds for trial in dropped} <= set(looks(True, N_SEEDS).sizes[:-1])
    assert [trial.number for trial in whole[:4]] == [0, 1, 2, 3]  # they had no incumbent


def test_the_best_trial_of_stock_optuna_has_all_its_seeds(raced):
    backend = JournalFileBackend(str(raced.study_file))
    study = optuna.load_study(study_name="lonely", storage=JournalStorage(backend))
    assert study.best_trial.number == raced.best_trial.number
    assert study.best_trial.user_attrs["n_seeds"] == raced.best_n_seeds == N_SEEDS
    by_number = {trial.number: trial for trial in raced.trials}
    for trial in study.trials:
        mine = by_number[trial.number]
        assert trial.state is optuna.trial.TrialState.COMPLETE
        assert trial.user_attrs.get("raw_value") == mine.raw_value
        assert (trial.value, trial.user_attrs["stderr"]) == (mine.value, mine.stderr)


def test_what_is_shown_of_a_dropped_trial_are_the_seeds_that_dropped_it(raced):
    """The ledger may have more of them, of looks that began early."""
    assert sw.open_run(raced.run_dir).trials == raced.trials
    for trial in raced.trials:
        losses = raced.losses(trial.number)
        assert np.isfinite(losses[: trial.n_seeds]).all()
        assert np.isnan(losses[trial.n_seeds :]).all()
        raw = trial.value if trial.raw_value is None else trial.raw_value
        assert losses[: trial.n_seeds].mean() == pytest.approx(raw)
        compared = raced.compare(trial.number, 0)
        assert compared.n_seeds == trial.n_seeds


def test_a_race_is_known_when_its_run_is_resumed(client, tmp_path):
    race = sw.Race(first_look=4, growth=3.0, level=0.2, contender_seeds=30)
    first = run(tmp_path, cluster=client, race=race, n_trials=5)
    more = sw.resume_run(first.run_dir, cluster=client, n_trials=12, progress=False)
    assert more.trials[:5] == first.trials
    assert {trial.n_seeds for trial in more.trials} <= {4, 12, 30}
    assert len({trial.n_seeds for trial in more.trials}) > 1
    meta = json.loads((tmp_path / "lonely_v0001" / "meta.json").read_text())
    fields = {"first_look": 4, "growth": 3.0, "level": 0.2, "contender_seeds": 30}
    assert meta["options"]["race"] == fields
    assert sw.replay_seed(first.run_dir, trial=4, seed=39).losses.keys() == {39}


def test_another_loss_is_not_compared_with_the_incumbent_of_before(client, tmp_path):
    first = run(tmp_path, cluster=client, max_concurrent_trials=1, n_trials=6)
    again = run(
        tmp_path,
        cluster=client,
        max_concurrent_trials=1,
        run_name=first.study_name + "_v0001",
        seeds=range(1000, 1000 + N_SEEDS),
        n_seeds=None,
        accept_changes=True,
        n_trials=9,
    )
    assert again.trials[:6] == first.trials
    assert again.trials[6].n_seeds == N_SEEDS  # nothing of these seeds was told before


# Parts of the plan.


@pytest.fixture(scope="module")
def parts(client, tmp_path_factory):
    """Trials with 16 of 40 seeds."""
    return run(tmp_path_factory.mktemp("parts"), cluster=client, **PARTS)


def test_each_trial_has_the_seeds_that_follow(parts):
    for trial in parts.trials:
        have = set(np.flatnonzero(~np.isnan(parts.losses(trial.number))))
        first = 16 * trial.number
        assert have == {place % N_SEEDS for place in range(first, first + 16)}
        assert (trial.n_seeds, trial.raw_value) == (16, None)
    assert "raw_value" not in parts.columns()


def test_trials_without_a_seed_in_common_are_not_compared(parts):
    with pytest.raises(OptionError) as caught:
        parts.compare(0, 1)
    assert str(caught.value).endswith(
        "must be trials with a seed in common. Trials of this run have different seeds; with "
        "race=False all have the same."
    )
    assert parts.compare(0, 2).n_seeds == 8
    assert parts.compare(0, 5).n_seeds == 16


def test_of_parts_and_of_dropped_trials_the_remarks_are_true(parts, raced):
    (alike,) = [remark for remark in parts.remarks if "can't be told" in remark]
    assert f"the best trial, {parts.best_trial.number} (95 %)" in alike
    by_seed = [remark for remark in raced.remarks if "can't be told" in remark]
    assert all(", seed by seed (95 %)" in remark for remark in by_seed)


# A limit of seeds.


@pytest.mark.parametrize(("race", "most"), [(False, 100), (True, 150)])
def test_a_run_that_came_to_its_most_seeds_is_finished(client, tmp_path, race, most, capsys):
    options = {"race": race, "max_total_seeds": most, "max_concurrent_trials": 1}
    result = run(tmp_path, cluster=client, **options)
    seeds = [trial.n_seeds for trial in result.trials]
    assert sum(seeds[:-1]) < most <= sum(seeds)
    assert result.n_trials < RACE["n_trials"]
    status = sw.run_status(result.run_dir)
    assert (status.state, status.pending, status.n_trials) == ("finished", 0, result.n_trials)
    again = sw.resume_run(result.run_dir, cluster="local", progress=True)
    assert table(again) == table(result)
    assert "workers" not in capsys.readouterr().err  # nothing was opened
    assert sw.run_status(result.run_dir).pending == 0
    more = sw.resume_run(result.run_dir, cluster=client, progress=False, max_total_seeds=most + 1)
    assert more.trials[: result.n_trials] == result.trials


def test_each_entry_has_the_limit_for_itself(client, tmp_path):
    options = {**RACE, "race": False, "max_total_seeds": 70, "max_concurrent_trials": 1}
    result = sw.optimize_entries(
        lonely, entry_ids=["a", "b"], cluster=client, run_root=tmp_path, progress=False, **options
    )
    assert [one.n_trials for one in result.results_by_entry.values()] == [2, 2]
    status = sw.run_status(result.run_dir)
    assert (status.state, status.pending, status.n_trials) == ("finished", 0, 4)
    status = sw.run_status(f"{result.run_dir}/entries/a")
    assert (status.state, status.pending, status.n_trials) == ("finished", 0, 2)

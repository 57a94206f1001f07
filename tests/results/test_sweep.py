"""The result of a sweep: a view of its files."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import MissingExtraError, OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Ledger, params_digest
from seedwise.folder.trial_files import TrialFolders
from seedwise.folder.trial_table import TrialTable, read_rows
from seedwise.model.options.study import SweepOptions
from seedwise.model.options.work import ExecutionMode
from seedwise.model.points import Cases
from seedwise.model.sources import grid, random
from seedwise.model.sources.distributions import uniform
from seedwise.model.space import checked_space, search_param
from seedwise.model.trials import (
    ChunkResult,
    Proposal,
    SeedFailure,
    TrialResult,
    TrialState,
    best_trial,
)
from seedwise.results.sweep import SweepResult, SweepTrials

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
SPACE = checked_space({"x": (0, 1), "kind": search_param(allowed=["a", "b"])})
CASES = Cases(grid(x=[0.0, 0.5, 1.0], kind=["a", "b"]), SweepOptions(), SPACE)
SEEDS = np.array([5, 3, 9, 7])


def trial(number: int, value: float | None, **more) -> TrialResult:
    fields = {"stderr": 0.5, "n_seeds": 4, "state": COMPLETE, "duration_s": 1.25}
    if value is None:
        fields |= {"stderr": None, "n_seeds": 0, "state": FAIL, "error": "seed 3: ValueError: no"}
    return TrialResult(number, CASES.params(number), value, **{**fields, **more})


TRIALS = [
    trial(0, 2.0, components={"cost": 1.5, "risk": 3.0}),
    trial(1, None),
    trial(2, -1.0, stderr=None, components={"cost": math.inf, "risk": math.nan}),
    trial(5, 7.0, components={"cost": -0.5, "risk": 1.0}),
]


def make(path: Path, trials=TRIALS, cases: Cases = CASES, **more) -> SweepResult:
    """Return the result of a sweep in a folder, as told in this order."""
    with TrialTable(path / "trials.table") as table:
        table.add(trials, [params_digest(one.params) for one in trials])
    rows = read_rows(path / "trials.table")
    fields = {
        "loss_name": "walk",
        "run_dir": str(path),
        "mode": ExecutionMode.SINGLE,
        "direction": "minimize",
        "n_trials": len(trials),
        "seeds": SEEDS,
        "trials": SweepTrials(rows, cases),
        "rows": rows,
        "cases": cases,
    }
    return SweepResult(**{**fields, **more})


@pytest.fixture
def result(tmp_path) -> SweepResult:
    return make(tmp_path)


def bits(one: TrialResult) -> str:
    """Return a trial as text that only the same bits give, NaN included."""
    return repr(attrs.asdict(one))


# Trials.


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_trials_are_as_they_were_told_in_the_order_of_their_numbers(tmp_path, order):
    result = make(tmp_path, [TRIALS[index] for index in order])
    assert len(result.trials) == result.n_trials == 4
    assert [bits(one) for one in result.trials] == [bits(one) for one in TRIALS]
    for one in result.trials:
        assert [type(part) for part in (one.number, one.n_seeds, one.duration_s)] == [
            int,
            int,
            float,
        ]


def test_trials_are_a_sequence(result):
    trials, known = result.trials, [bits(one) for one in TRIALS]
    assert [bits(trials[index]) for index in range(-4, 4)] == known * 2
    assert [bits(one) for one in trials[1:3]] == known[1:3]
    assert [bits(one) for one in trials[::-2]] == known[::-2]
    assert [bits(one) for one in reversed(trials)] == known[::-1]
    assert trials[9:] == []
    for index in (4, -5, 99):
        with pytest.raises(IndexError):
            trials[index]


def test_a_trial_is_made_when_it_is_looked_at(tmp_path):
    class Counted(Cases):
        asked: list[int] = []  # noqa: RUF012

        def params(self, number):
            self.asked.append(number)
            return super().params(number)

    source = random({"x": uniform(0, 1)}, n_trials=10**15, seed=3)
    cases = Counted(source, SweepOptions(), {"x": SPACE["x"]})
    numbers = [0, 10**9, 10**15 - 1]
    trials = [
        TrialResult(number, source[number].params, 1.0, None, 1, COMPLETE, 0.5)
        for number in numbers
    ]
    result = make(tmp_path, trials, cases)
    assert Counted.asked == []
    assert result.trials[1].params == source[10**9].params
    assert result.best.number == 0
    assert Counted.asked == [10**9, 0]


def test_a_pruned_trial_is_pruned(tmp_path):
    result = make(tmp_path, [trial(0, None, state=PRUNED)])
    assert result.trials[0].state is PRUNED
    assert result.failed == [result.trials[0]]


# The best, and those that failed.


VALUES = st.lists(st.none() | st.integers(-2, 2).map(float), max_size=6)


@given(values=VALUES, direction=st.sampled_from(["minimize", "maximize"]))
def test_the_best_is_that_of_a_run(tmp_path_factory, values, direction):
    trials = [trial(number, value) for number, value in enumerate(values)]
    result = make(tmp_path_factory.mktemp("sweep"), trials, direction=direction)
    assert result.best == best_trial(trials, direction)
    assert result.failed == [one for one in trials if one.value is None]
    if result.best is not None:
        assert result.best_trial == result.best


@pytest.mark.parametrize("told", [1, -1], ids=["in order", "backwards"])
def test_the_outcome_says_how_many_failed_and_the_commonest_why(tmp_path, told):
    errors = {1: "seed 3: ValueError: no", 3: "seed 7: KeyError: 7", 4: "KeyError: 'a'"}
    trials = [trial(n, None, error=errors[n]) if n in errors else trial(n, 1.0) for n in range(6)]
    assert make(tmp_path, trials[::told]).outcome == (
        "3 complete, 3 failed, 2 of them with KeyError, such as trial 3: seed 7: KeyError: 7"
    )


def test_without_a_trial_there_is_no_best(tmp_path):
    result = make(tmp_path, [])
    assert (result.best, result.failed, list(result.trials)) == (None, [], [])


# Losses of each seed.


def fill(path: Path) -> None:
    """Write a ledger as a sweep does: of trial 0 all seeds, of trial 1 up to its failure."""
    failure = SeedFailure(2, 9, "ValueError", "no", "trace")
    with Ledger(path / "chunks.ledger") as ledger:
        for number, chunks in (
            (
                0,
                [
                    ChunkResult(0, 1, 1, 2, 2, np.array([3.0, 4.0]), None, {"cost": np.ones(2)}),
                    ChunkResult(0, 0, 1, 0, 2, np.array([1.0, -0.0])),
                ],
            ),
            (
                1,
                [
                    ChunkResult(1, 0, 1, 0, 2, np.array([1.5, 2.5])),
                    ChunkResult(1, 1, 1, 2, 2, failure=failure),
                ],
            ),
            (4, [ChunkResult(4, 0, 1, 0, 2, np.array([1.5, 2.5]))]),  # in flight
        ):
            proposal = Proposal(number, CASES.params(number))
            ledger.record([(proposal, chunk) for chunk in chunks])


def test_the_losses_of_each_seed_are_in_the_order_of_the_seeds(result, tmp_path):
    fill(tmp_path)
    assert result.losses(0).tobytes() == np.array([1.0, -0.0, 3.0, 4.0]).tobytes()
    assert np.array_equal(result.losses(1), [1.5, 2.5, np.nan, np.nan], equal_nan=True)
    (cost,) = result.components(0).values()
    assert np.array_equal(cost, [np.nan, np.nan, 1.0, 1.0], equal_nan=True)
    assert result.components(1) == {}


@pytest.mark.parametrize("number", [3, 4, 6, -1, 99])
def test_a_trial_that_is_not_told_has_none(result, tmp_path, number):
    fill(tmp_path)
    for read in (result.losses, result.components):
        with pytest.raises(OptionError, match="one of the 4 finished trials") as caught:
            read(number)
        assert (caught.value.name, caught.value.value) == ("trial_num", number)


# Files.


def test_files_that_the_loss_wrote_are_found_by_trial(result, tmp_path):
    folders = TrialFolders(tmp_path, 3)
    attempt = Path(folders.attempts_dir) / "trial_002-0-0123abcd"
    attempt.mkdir(parents=True)
    (attempt / "plot.png").write_bytes(b"a plot")
    folders.settle(2, [attempt.name], {})
    assert result.artifacts() == {2: (tmp_path / "trials" / "trial_002" / "plot.png",)}


def test_the_ledger_is_where_the_folder_says(result, tmp_path):
    assert RunDirectory(Path(result.run_dir)).ledger == tmp_path / "chunks.ledger"


# The table.


def test_the_table_has_a_row_a_trial(result):
    table = result.to_dataframe()
    assert table.columns.tolist() == [
        "number",
        "params_kind",
        "params_x",
        "value",
        "stderr",
        "n_seeds",
        "state",
        "duration_s",
        "error",
        "components_cost",
        "components_risk",
    ]
    assert table["number"].tolist() == [0, 1, 2, 5]
    assert table["params_kind"].tolist() == [one.params["kind"] for one in TRIALS]
    assert table["params_x"].tolist() == [one.params["x"] for one in TRIALS]
    assert table["state"].tolist() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert table["n_seeds"].tolist() == [4, 0, 4, 4]
    assert table["duration_s"].tolist() == [1.25] * 4
    assert table["error"].isna().tolist() == [True, False, True, True]
    assert table["error"][1] == "seed 3: ValueError: no"
    assert table["components_cost"].tolist()[::2] == [1.5, math.inf]
    assert table["components_risk"].isna().tolist() == [False, True, True, False]


def test_a_failed_trial_has_nan_and_the_column_stays_of_floats(result):
    table = result.to_dataframe()
    assert table["value"].dtype == table["stderr"].dtype == "float64"
    assert table["value"].isna().tolist() == [False, True, False, False]
    assert table["stderr"].isna().tolist() == [False, True, True, False]
    assert table["n_seeds"].dtype == "int64"


def test_the_table_of_no_trial_has_no_row(tmp_path):
    table = make(tmp_path, []).to_dataframe()
    assert len(table) == 0
    assert "value" in table.columns


def test_the_table_is_that_of_a_run(result):
    """The same names and types as `OptimizeResult.to_dataframe` has."""
    from seedwise.results.study import OptimizeResult

    of_a_run = OptimizeResult(
        loss_name="walk",
        study_name="walk",
        run_dir=result.run_dir,
        mode=result.mode,
        direction="minimize",
        seeds=SEEDS,
        trials=tuple(TRIALS),
    ).to_dataframe()
    ours = result.to_dataframe()
    assert set(ours.columns) == set(of_a_run.columns)
    for name in ours.columns:
        assert ours[name].dtype == of_a_run[name].dtype, name
        assert ours[name].equals(of_a_run[name]), name


def test_without_pandas_the_error_names_the_extra(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seedwise\[pandas\]'"):
        result.to_dataframe()


def test_a_result_is_frozen_and_shown_in_short(result):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result.n_trials = 0
    shown = repr(result)
    assert "n_trials=4" in shown
    assert "TrialResult" not in shown
    assert len(shown) < 300

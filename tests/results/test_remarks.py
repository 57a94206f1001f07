"""What is said of a study: it is said where it is so, and not elsewhere."""

from __future__ import annotations

import random
import re

import attrs
import numpy as np
import pytest

import seedwise as sw
from seedwise.folder.ledger import Ledger
from seedwise.model.options.work import ExecutionMode
from seedwise.model.space import search_param
from seedwise.model.statistics import estimate
from seedwise.model.trials import ChunkResult, Proposal, TrialResult, TrialState
from seedwise.results.remarks import study_remarks
from seedwise.results.study import OptimizeResult
from seedwise.results.tables import read_losses

N_SEEDS = 50
SPACE = {"x": search_param(range=(-1.0, 1.0))}
NOISE = np.random.default_rng(1).normal(size=N_SEEDS)


def trial(number, losses, point):
    found = estimate(np.asarray(losses, dtype=float))
    outcome = found.mean, found.stderr, found.n_seeds, TrialState.COMPLETE
    return TrialResult(number, point, *outcome, duration_s=1.0)


def result(path, trials, n_seeds=N_SEEDS, direction="minimize"):
    """The result of a run with this ledger."""
    fields = {"mode": ExecutionMode.SINGLE, "direction": direction, "seeds": np.arange(n_seeds)}
    return OptimizeResult("walk", "walk", str(path.parent), **fields, trials=tuple(trials))


def of_parts(path, values, noise, n_parts=4, dropped=()):
    """What is said of trials that have a part of the seeds each, in turns, or were dropped."""
    rng, size = np.random.default_rng(4), N_SEEDS // n_parts
    trials, records = [], []
    for number, (value, point) in enumerate(zip(values, INSIDE, strict=True)):
        losses = value + noise * rng.normal(size=size)
        start = number % n_parts * size
        records.append(
            (Proposal(number, point), ChunkResult(number, 0, 1, start, size, losses=losses))
        )
        one = trial(number, losses, point)
        trials.append(attrs.evolve(one, raw_value=one.value) if number in dropped else one)
    with Ledger(path) as ledger:
        ledger.record(records)
    return list(study_remarks(result(path, trials), SPACE))


def told(path, losses, params, searched=SPACE, direction="minimize"):
    """What is said of trials with these losses, at these params."""
    trials, records = [], []
    for number, (row, point) in enumerate(zip(losses, params, strict=True)):
        array = np.asarray(row, dtype=float)
        chunk = ChunkResult(number, 0, 1, 0, len(array), losses=array)
        records.append((Proposal(number, point), chunk))
        trials.append(trial(number, row, point))
    with Ledger(path) as ledger:
        ledger.record(records)
    return list(study_remarks(result(path, trials, len(losses[0]), direction), searched))


def means(values, noise=0.01, common=True):
    """Losses of trials with these means; with the same noise for each, or noise of their own."""
    rng = np.random.default_rng(2)
    own = [NOISE if common else rng.normal(size=N_SEEDS) for _ in values]
    return [value + noise * one for value, one in zip(values, own, strict=True)]


def points(values):
    return [{"x": float(value)} for value in values]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chunks.ledger"


CLEAR = [1.0, *(2.0 + 0.5 * i for i in range(11))]
INSIDE = points(np.linspace(-0.5, 0.5, 12))


def test_of_a_clear_study_nothing_is_said(path):
    assert told(path, means(CLEAR), INSIDE) == []


@pytest.mark.parametrize(
    ("param", "value", "is_said"),
    [
        (search_param(range=(0.0, 1.0)), 0.999, True),
        (search_param(range=(0.0, 1.0)), 0.001, True),
        (search_param(range=(0.0, 1.0)), 0.98, False),
        (search_param(range=(0.0, 1.0)), 1.5, False),  # trial_zero may lie outside
        (search_param(range=(1e-4, 1.0), log=True), 1.05e-4, True),
        (search_param(range=(1e-4, 1.0), log=True), 2e-3, False),
        (search_param(range=(0, 9), dtype="int"), 9, True),
        (search_param(range=(0, 9), dtype="int"), 8, False),
        (search_param(allowed=[1, 2]), 2, False),
    ],
)
def test_a_best_point_at_the_edge(path, param, value, is_said):
    params = [{"x": value}, *({"x": 0.5} for _ in CLEAR[1:])]
    said = told(path, means(CLEAR), params, {"x": param})
    assert any("is at the edge of its range" in remark for remark in said) is is_said


@pytest.mark.parametrize(
    ("param", "is_said"),
    [
        (search_param(range=(5, 50)), True),
        (search_param(range=(-1, 1)), False),
        (search_param(range=(5, 50), dtype="int"), False),
        (search_param(range=(5, 50), step=5), False),
        (search_param(range=(5.5, 50)), False),
        (search_param(range=(1, 100), log=True), False),
    ],
)
def test_a_range_of_whole_numbers_that_was_searched_as_floats(path, param, is_said):
    said = told(path, means(CLEAR), points([20.5] * 12), {"x": param})
    assert any("search_param(range=(5, 50), dtype='int')" in remark for remark in said) is is_said


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_trials_that_can_not_be_told_from_the_best(path, direction):
    sign = 1.0 if direction == "minimize" else -1.0
    values = [sign * one for one in (1.0, 1.0001, 1.0002, *CLEAR[3:])]
    losses = means(values, noise=0.1, common=False)
    (remark,) = told(path, losses, INSIDE, direction=direction)
    assert remark.startswith("2 of the 11 others can't be told from the best trial, ")
    # The same differences are seen where all have the same noise.
    path.unlink()
    assert told(path, means(values, noise=0.1), INSIDE, direction=direction) == []


@pytest.mark.parametrize("n_parts", [1, 2, 4, 12])
def test_trials_of_different_seeds_are_compared_by_their_means(path, n_parts):
    values = [1.0, 1.0001, 1.0002, *CLEAR[3:]]
    (remark,) = of_parts(path, values, 0.1, n_parts)
    by_seed = ", seed by seed" if n_parts == 1 else ""
    said = rf"[23] of the 11 others can't be told from the best trial, [012]{by_seed} \(95 %\): "
    assert re.match(said, remark)
    path.unlink()
    assert of_parts(path, CLEAR, 0.01, n_parts) == []


def test_the_noise_of_different_seeds_is_that_of_the_means(path):
    said = of_parts(path, [1.0 + 0.01 * i for i in range(12)], 1.0)
    assert said[1].startswith("the noise of 12 seeds (±0.")


def test_losses_of_a_look_that_began_early_are_not_compared(path):
    # Trial 1 was dropped after 12 of 50 seeds; by the others it would be as good as the best.
    losses = means(CLEAR)
    row = np.concatenate([losses[1][:12], losses[0][12:] - 3])
    trials = [trial(0, losses[0], INSIDE[0]), trial(1, row[:12], INSIDE[1])]
    trials[1] = attrs.evolve(trials[1], raw_value=2.0)
    with Ledger(path) as ledger:
        ledger.record(
            (Proposal(number, INSIDE[number]), ChunkResult(number, 0, 1, 0, N_SEEDS, losses=one))
            for number, one in enumerate([losses[0], row])
        )
    assert list(study_remarks(result(path, trials), SPACE)) == []
    assert np.isfinite(read_losses(result(path, trials), trials)[1].losses).sum() == 12


def test_the_same_point_again_is_not_another(path):
    params = [INSIDE[0], INSIDE[0], *INSIDE[2:]]
    assert told(path, means([1.0, 1.0, *CLEAR[2:]]), params) == []


def test_a_loss_without_noise(path):
    (remark,) = told(path, means(CLEAR, noise=0.0), INSIDE)
    assert remark.startswith("all 50 seeds of a trial gave the same value")


def test_noise_that_hides_the_differences(path):
    losses = means([1.0 + 0.01 * i for i in range(12)], noise=1.0, common=False)
    said = told(path, losses, INSIDE)
    assert len(said) == 2
    assert said[1].startswith("the noise of 50 seeds (±0.1")
    assert "is larger than the differences between the trials" in said[1]


def test_of_single_seeds_and_of_no_trial_little_is_said(path):
    assert told(path, [[value] for value in CLEAR], INSIDE) == []
    assert list(study_remarks(result(path, [], 1), SPACE)) == []


def test_losses_of_other_seeds_or_of_another_loss_are_not_compared(path):
    losses = means([1.0, 1.0001, 1.0002, *CLEAR[3:]], noise=0.1, common=False)
    told(path, losses, INSIDE)  # all but one before the change
    with Ledger(path) as ledger:
        ledger.begin_phase("seeds")
        last = Proposal(12, {"x": 0.1})
        ledger.record([(last, ChunkResult(12, 0, 1, 0, N_SEEDS, losses=losses[0] - 1))])
    trials = [
        trial(number, row, point)
        for number, (row, point) in enumerate(
            zip([*losses, losses[0] - 1], [*INSIDE, {"x": 0.1}], strict=True)
        )
    ]
    assert list(study_remarks(result(path, trials), SPACE)) == []


def test_they_are_told_at_the_end_and_are_in_the_result(client, tmp_path, capsys):
    @sw.loss(name="slope", description="best at an end", parameter_space={"x": (0.0, 1.0)})
    def slope(params, seed):
        if params["x"] > 0.9:
            raise ArithmeticError("too far")
        return params["x"] + random.Random(seed).gauss(0, 0.001)

    options = {"n_trials": 12, "n_seeds": 20, "cluster": client, "run_root": tmp_path}
    zero = {"trial_zero": {"x": 0.0}, "fail_on_chunk_error": False, "run_name": "a"}
    found = sw.optimize_run(slope, **options, **zero)
    said = capsys.readouterr().err
    assert found.remarks[0].startswith("the best x, 0, is at the edge of its range, 0 to 1")
    assert "failed" in found.remarks[-1]
    assert all(f"seedwise: remark: {remark}\n" in said for remark in found.remarks)
    assert sw.open_run(found.run_dir).remarks == found.remarks
    # A finished run that is called again has nothing to say.
    sw.optimize_run(slope, **options, **zero)
    assert "remark" not in capsys.readouterr().err

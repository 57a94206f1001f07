"""The validation as part of a run: bits, resuming, failures, entries, and where it shows."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main
from seedwise.driver import validation as module
from seedwise.driver.entries import Entry
from seedwise.driver.run import Run
from seedwise.errors import OptionError, RunStopped
from seedwise.model.validation import n_evaluations
from seedwise.results import study
from seedwise.study.smoothed import smoothed_study
from tests.losses import bowl, lonely
from tests.tables import bits, summary, table
from tests.test_retry_failed import killed

N_SEEDS, N_FRESH, N_TRIALS = 12, 8, 6
SPACE = {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}
FRESH = range(N_SEEDS, N_SEEDS + N_FRESH + N_FRESH // 2)


@pytest.fixture
def run(client, tmp_path):
    def run(loss, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path / "runs", "progress": False}
        fixed |= {"self_check": False, "run_name": "mine", "race": False, "sampler": "tpe"}
        few = {"n_trials": N_TRIALS, "n_seeds": N_SEEDS, "chunk_size": 5}
        few |= {"n_validation_seeds": N_FRESH, "n_validation_candidates": 4}
        return sw.optimize_run(loss, **{**fixed, **few, **keywords})

    return run


@pytest.fixture
def noted(tmp_path):
    """A loss that notes what it evaluates, and does to some seeds what files of the test say."""

    @sw.loss(name="noted", description="a bowl", parameter_space=SPACE)
    def noted(params, seed, context):
        with (tmp_path / "log").open("a") as file:
            file.write(f"{context['trial_number']} {seed}\n")
        bad = tmp_path / "bad"
        if bad.exists() and [context["trial_number"], seed] in json.loads(bad.read_text()):
            raise ArithmeticError("diverged")
        noise = random.Random(f"{seed} {params['x']}").gauss(0.0, 0.3)
        return (params["x"] - 0.3) ** 2 + params["y"] ** 2 + noise

    return noted


def fresh_of(pairs) -> list[tuple[int, int]]:
    return [pair for pair in pairs if pair[1] >= N_SEEDS]


def numbers(result) -> list[int]:
    return [one.number for one in result.validation.candidates]


def test_the_search_is_the_same_without_a_validation(run):
    without = table(run(bowl, n_validation_seeds=0))
    assert without == table(run(bowl, run_name="other"))[:-1]


WAVY = (lambda params, seed: params["x"] ** 2 + random.Random(seed).gauss(0.0, 0.1)), True
FLAT = (lambda params, seed: random.Random(f"{params['x']} {seed}").gauss(0.0, 1.0)), False


@pytest.mark.parametrize(("function", "is_smoothed"), [WAVY, FLAT], ids=["wavy", "flat"])
@pytest.mark.parametrize("n_fresh", [N_FRESH, 0])
def test_values_are_smoothed_once_after_the_search(
    run, monkeypatch, function, is_smoothed, n_fresh
):
    found = []

    def noted(*args):
        found.append(smoothed_study(*args))
        return found[-1]

    for place in (module, study):
        monkeypatch.setattr(place, "smoothed_study", noted)
    loss = sw.loss(name="hills", description="hills", parameter_space={"x": (-1, 1)})(function)
    more = {"n_trials": 14, "n_seeds": 32, "race": "auto", "sampler": "auto"}
    result = run(loss, **more, n_validation_seeds=n_fresh)
    assert [one.surrogate.explains for one in found] == [is_smoothed]
    said = [remark for remark in result.remarks if "do not predict its value" in remark]
    assert len(said) == (not is_smoothed)
    # A finished run is not smoothed again.
    n_before = len(found)
    assert run(loss, **more, n_validation_seeds=n_fresh) == result
    assert len(found) == n_before


# What it says, and where.


def test_what_it_says_and_where(run, noted, evaluated):
    result = run(noted)
    pairs = evaluated()
    assert len(pairs) == len(set(pairs)) == N_TRIALS * N_SEEDS + n_evaluations(4, N_FRESH)
    assert {seed for _, seed in pairs} == set(range(N_SEEDS + N_FRESH + N_FRESH // 2))
    found = result.validation
    best = sorted(result.trials, key=lambda trial: trial.value)[:4]
    assert sorted(numbers(result)) == sorted(trial.number for trial in best)
    assert {one.search_value for one in found.candidates} == {trial.value for trial in best}
    again = {"trial": found.number, "validation": True}
    losses = [sw.replay_seed(result.run_dir, seed=seed, **again) for seed in FRESH[N_FRESH // 2 :]]
    values = [next(iter(one.losses.values())) for one in losses]
    assert result.validated_value == found.value == pytest.approx(np.mean(values))
    assert found.stderr == pytest.approx(np.std(values, ddof=1) / N_FRESH**0.5)
    assert found.interval[0] < found.value < found.interval[1]
    assert result.validated_params == result.trials[found.number].params
    assert result.validated_params is not found.params
    # The search's best is as it was.
    assert result.best_value == best[0].value

    assert sw.open_run(result.run_dir) == result
    assert f"validated_value={result.validated_value!r}" in repr(result)
    summary = json.loads((Path(result.run_dir) / "summary.json").read_text())
    said = {name: summary[name] for name in summary if name.startswith("validated")}
    assert said == {
        "validated_value": found.value,
        "validated_params": found.params,
        "validated_stderr": found.stderr,
        "validated_interval": list(found.interval),
        "validated_n_seeds": N_FRESH,
        "validated_trial": found.number,
    }
    status = sw.run_status(result.run_dir)
    assert (status.validated_value, status.validated_stderr) == (found.value, found.stderr)
    assert (status.state, status.validation_seeds) == ("finished", 0)
    columns = result.columns()
    assert columns["validation_value"][found.number] == found.value
    assert columns["validation_n_seeds"].count(None) == N_TRIALS - 4
    assert len(result.to_dataframe()) == N_TRIALS
    shown = CliRunner().invoke(main, ["show", result.run_dir]).output
    assert f"validated_value: {found.value!r}\n" in shown
    shown = CliRunner().invoke(main, ["status", result.run_dir]).output
    assert re.search(r"^validated +\S+ ± \S+ on fresh seeds$", shown, re.MULTILINE)
    log = (Path(result.run_dir) / "events.jsonl").read_text()
    assert '"kind": "validated"' in log
    assert not (Path(result.run_dir) / "validation").exists()


def test_without_a_validation_nothing_speaks_of_it(run, noted):
    result = run(noted, n_validation_seeds=0)
    assert (result.validation, result.validated_value, result.validated_params) == (None,) * 3
    assert "validated" not in repr(result)
    assert not any("validat" in name for name in result.columns())
    assert not any("validat" in path.name for path in Path(result.run_dir).iterdir())
    assert "validat" not in (Path(result.run_dir) / "summary.json").read_text()
    with pytest.raises(OptionError, match="the run has no validation"):
        sw.replay_seed(result.run_dir, trial=0, validation=True)


def test_the_last_line_is_the_honest_value(run, noted, capsys):
    result = run(noted, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert any("its best trials are validated: 20 evaluations" in line for line in lines)
    assert lines[-1].startswith(f"seedwise: validated {result.validated_value:.6g} ± ")
    assert f": trial {result.validation.number} at x=" in lines[-1]


def test_that_the_best_is_so_by_luck_leads_to_the_honest_value(run):
    @sw.loss(name="alike", description="hardly depends on x", parameter_space=SPACE)
    def alike(params, seed):
        return random.Random(f"{seed} {params['x']}").random()

    def advice(result):
        (remark,) = [one for one in result.remarks if "in part luck" in one]
        return remark.partition("so ")[2]

    assert advice(run(alike)) == "report the validated value"
    without = run(alike, run_name="other", n_validation_seeds=0)
    assert advice(without) == "evaluate the best ones on other seeds"


def test_losses_write_their_files_beside_those_of_the_search(run):
    @sw.loss(name="filed", description="writes", parameter_space=SPACE)
    def filed(params, seed, context):
        (context["trial_dir"] / f"{seed}.txt").touch()
        return {"total_loss": params["x"] + seed % 3, "components": {"x": params["x"]}}

    result = run(filed)
    path = Path(result.run_dir)
    assert {p.name for files in result.artifacts().values() for p in files} == {
        f"{seed}.txt" for seed in range(N_SEEDS)
    }
    written = {p.name: len(list(p.iterdir())) for p in path.glob("validation/trials/trial_???")}
    # The winner and the other of the last round, and those that went before.
    assert sorted(written.values()) == [2, 2, 4, 12]
    assert written[f"trial_{result.validation.number:03}"] == 12
    assert not list(path.glob("validation/trials/.attempts"))


# Resumed.


def test_a_run_that_is_finished_is_not_validated_again(run, noted, evaluated):
    first = run(noted)
    evaluated()
    assert run(noted) == first
    assert evaluated() == []


def test_with_more_trials_it_is_validated_anew_and_known_seeds_are_not_evaluated(
    run, noted, evaluated
):
    first = run(noted)
    before = evaluated()
    more = run(noted, n_trials=3 * N_TRIALS)
    again = evaluated()
    assert not set(before) & set(again)
    assert len(again) == len(set(again))
    assert more.trials[:N_TRIALS] == first.trials
    expected = run(noted, n_trials=3 * N_TRIALS, run_name="other")
    assert table(more) == table(expected)
    assert numbers(more) != numbers(first)
    assert {number for number, _ in fresh_of(again)} <= set(numbers(more))


@pytest.mark.parametrize(
    ("changed", "reuses"),
    [
        ({"n_validation_seeds": N_FRESH + 2}, False),
        ({"n_validation_candidates": 6}, True),
        ({"n_validation_candidates": 1}, True),
        ({"n_validation_candidates": 99}, True),
    ],
)
def test_a_finished_run_is_validated_as_it_is_asked_for(run, noted, evaluated, changed, reuses):
    trials = run(noted, n_validation_seeds=0).trials
    run(noted)
    before = evaluated()
    result = run(noted, **changed)
    again = evaluated()
    assert result.trials == trials
    assert fresh_of(again) == again
    assert bool(set(again) & set(before)) is not reuses
    alone = run(noted, run_name="other", **changed)
    assert table(result)[-1] == table(alone)[-1]
    assert len(numbers(result)) == min(changed.get("n_validation_candidates", 4), N_TRIALS)


def test_while_the_search_goes_on_there_is_no_validated_value(run, noted, monkeypatch, tmp_path):
    result = run(noted)
    seen = []

    def listen(run_, trials):
        seen.append(sw.open_run(result.run_dir).validation)
        raise RunStopped(Path(result.run_dir), None)

    with monkeypatch.context() as patched:
        patched.setattr("seedwise.driver.validation.begin_validation", listen)
        with pytest.raises(RunStopped):
            run(noted, n_trials=N_TRIALS + 1)
    assert seen == [None]
    assert sw.open_run(result.run_dir).validation is None
    summary = json.loads((Path(result.run_dir) / "summary.json").read_text())
    assert "validated_value" not in summary
    assert sw.run_status(result.run_dir).validated_value is None
    assert run(noted, n_trials=N_TRIALS + 1).validation is not None


def test_what_is_found_is_never_written_to_the_record_of_a_driver_that_took_over(
    run, noted, monkeypatch
):
    write = module.write_validation

    def write_late(mine, found):
        record = mine.directory.validation_record
        others = {"of": {**record.read()["of"], "n_told": 99}}
        write(attrs.evolve(mine, guard=lambda: record.write(others)), found)

    monkeypatch.setattr("seedwise.driver.validation.write_validation", write_late)
    said = json.loads((Path(run(noted).run_dir) / "validation.json").read_text())
    assert ("found" in said, said["of"]["n_told"]) == (True, N_TRIALS)


def test_fresh_losses_of_another_loss_do_not_count(run, evaluated, tmp_path):
    def made(scale):
        @sw.loss(name="scaled", description="a bowl", parameter_space=SPACE)
        def scaled(params, seed, context):
            with (tmp_path / "log").open("a") as file:
                file.write(f"{context['trial_number']} {seed}\n")
            return scale * (params["x"] + random.Random(seed).random())

        return scaled

    first = run(made(1.0))
    before = evaluated()
    second = run(made(-1.0), accept_changes=True)
    again = evaluated()
    assert fresh_of(again) == again
    assert len(again) == len(fresh_of(before)) == n_evaluations(4, N_FRESH)
    assert second.trials == first.trials
    # The best by the old values are the worst by the new loss, which alone counts.
    assert numbers(second)[0] == max(numbers(second), key=lambda n: second.trials[n].params["x"])
    assert numbers(first)[0] == min(numbers(second), key=lambda n: second.trials[n].params["x"])
    # Nor would the old losses count for the old loss again.
    third = run(made(1.0), accept_changes=True)
    assert len(evaluated()) == n_evaluations(4, N_FRESH)
    assert third.validation == first.validation


def test_seeds_that_an_earlier_plan_had_are_not_fresh(run, noted, evaluated):
    run(noted, n_seeds=30)
    evaluated()
    result = run(noted, n_seeds=N_SEEDS, n_trials=N_TRIALS + 1, accept_changes=True)
    seeds = {seed for _, seed in evaluated()}
    assert seeds == {*range(N_SEEDS), *range(30, 30 + N_FRESH + N_FRESH // 2)}
    replayed = sw.replay_seed(result.run_dir, trial=0, validation=True)
    assert list(replayed.losses) == list(range(30, 30 + N_FRESH + N_FRESH // 2))
    evaluated()
    run(noted, n_seeds=N_SEEDS, n_trials=N_TRIALS + 1)  # it is finished
    assert evaluated() == []


def test_a_run_that_was_copied_or_moved_is_validated_from_what_is_there(run, noted, tmp_path):
    run(noted, n_validation_seeds=0)
    runs = tmp_path / "runs"
    expected = run(noted)
    shutil.copytree(runs / "mine", runs / "copy")
    (runs / "mine").rename(runs / "moved")
    for name in ("copy", "moved"):
        found = run(noted, run_name=name)
        assert found.validation == expected.validation
        assert run(noted, run_name=name, n_trials=N_TRIALS + 1).validation is not None


def test_a_run_that_begins_anew_has_no_old_validation(run, noted, evaluated):
    run(noted)
    n_before = len(evaluated())
    result = run(noted, clean_run_dir=True, assume_yes=True)
    assert len(evaluated()) == n_before
    assert result.validation is not None


# Options.


def test_one_trial_fewer_than_candidates_and_equal_points(run, noted, evaluated):
    result = run(noted, n_trials=1)
    assert (numbers(result), result.validation.n_seeds) == ([0], N_FRESH)
    assert len(evaluated()) == N_SEEDS + N_FRESH
    same = sw.manual([{"x": 0.5, "y": 0.1}] * 3)
    result = run(noted, n_trials=3, run_name="same", enqueue=same)
    assert numbers(result) == [0]


def test_overrides_maximize_and_several_at_once(run):
    result = run(
        bowl,
        overrides={"n": 4},
        direction="maximize",
        max_concurrent_trials=3,
        random_seed=2,
    )
    best = max(result.trials, key=lambda trial: trial.value)
    assert best.number in numbers(result)
    assert result.validated_params["n"] == 4
    assert result.validated_value == result.validation.value


def test_the_seeds_of_a_validation_are_not_in_the_budget_of_the_search(run, noted, evaluated):
    result = run(noted, max_total_seeds=3 * N_SEEDS, timeout=3600)
    assert result.n_trials == 3
    assert result.validated_value is not None
    assert sw.run_status(result.run_dir).state == "finished"
    evaluated()
    assert run(noted, max_total_seeds=3 * N_SEEDS) == result
    assert evaluated() == []


def test_no_complete_trial_no_validation(run, tmp_path):
    @sw.loss(name="bad", description="fails", parameter_space=SPACE)
    def bad(params, seed):
        raise ValueError("no")

    with pytest.raises(sw.NoCompleteTrialError):
        run(bad, fail_on_chunk_error=False, n_trials=2)
    assert not (tmp_path / "runs" / "mine" / "validation.json").exists()


def test_a_check_says_what_it_costs_and_does_not_validate(client, tmp_path, noted, evaluated):
    report = sw.check_run(
        noted,
        cluster=client,
        run_root=tmp_path / "runs",
        progress=False,
        self_check=False,
        n_seeds=N_SEEDS,
        race=False,
        n_validation_seeds=N_FRESH,
    )
    assert report.n_validation_evaluations == n_evaluations(8, N_FRESH)
    assert set(evaluated()) == {(0, 0)}


# Time.


@pytest.mark.parametrize("when", ["before", "round"])
def test_time_that_is_up_ends_the_validation_too(run, noted, evaluated, monkeypatch, when):
    """Whether before it begins, or between its rounds."""
    n_calls = {"before": 0, "round": 1}[when]
    begun = []

    class Clocked(module.Halving):
        def begin_round(self):
            begun.append(super().begin_round())
            return begun[-1]

    def out_of_time(self):
        n_told = len(self.trials)
        return n_told >= N_TRIALS and len(begun) >= n_calls + (when == "round")

    with monkeypatch.context() as patched:
        patched.setattr(module, "Halving", Clocked)
        patched.setattr("seedwise.driver.study_work.StudyWork.out_of_time", out_of_time)
        result = run(noted, timeout=3600)
    assert (result.validation, result.n_trials) == (None, N_TRIALS)
    assert len(begun) == {"before": 0, "round": 2}[when]
    first = evaluated()
    status = sw.run_status(result.run_dir)
    assert status.state == "stopped"
    log = (Path(result.run_dir) / "events.jsonl").read_text()
    assert "time is up, and the best trials are not validated" in log
    result = run(noted)
    assert result.validation is not None
    second = evaluated()
    assert len(set(first) | set(second)) == len(first) + len(second)
    assert sw.run_status(result.run_dir).state == "finished"


def test_a_search_that_time_ended_is_validated_when_it_is_asked_for(run, noted, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(
            "seedwise.driver.study_work.StudyWork.out_of_time", lambda self: len(self.trials) > 2
        )
        result = run(noted, timeout=3600)
    assert (result.n_trials, result.validation) == (3, None)
    assert sw.run_status(result.run_dir).state == "stopped"
    result = run(noted, n_trials=3)
    assert (result.n_trials, len(numbers(result))) == (3, 3)


# Failures.


def test_a_failed_fresh_seed_counts_against_its_candidate_and_does_not_stop_the_run(
    run, noted, tmp_path, capsys, evaluated
):
    winner = run(noted, run_name="other").validation.number
    evaluated()
    bad = tmp_path / "bad"
    seed = N_SEEDS + 3
    bad.write_text(json.dumps([(winner, seed)]))
    result = run(noted, fail_on_chunk_error=True, progress=True)
    failed = result.validation.candidates[-1]
    assert (failed.number, failed.value) == (winner, None)
    assert failed.error == f"seed {seed}: ArithmeticError: diverged"
    assert result.validation.number not in (winner, None)
    assert evaluated().count((winner, seed)) == 2  # it was tried again
    told = capsys.readouterr().err
    (command,) = re.findall(r"can't win: .*; to see why: seedwise (.*)", told)
    assert command.endswith(f"--trial {winner} --seed {seed} --validation")
    shown = CliRunner().invoke(main, command.split())
    assert "ArithmeticError: diverged" in shown.output + shown.stderr
    assert sw.run_status(result.run_dir).state == "finished"
    refused = CliRunner().invoke(main, command.removesuffix(" --validation").split())
    assert "one of the run's 12 seeds" in refused.output + refused.stderr


def test_if_all_fail_the_run_ends_all_the_same_and_says_so(run, noted, tmp_path, capsys):
    (tmp_path / "bad").write_text(
        json.dumps([(number, seed) for number in range(N_TRIALS) for seed in FRESH])
    )
    result = run(noted, progress=True)
    found = result.validation
    assert (found.number, result.validated_value, result.validated_params) == (None, None, None)
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("seedwise: validation: all 4 candidates failed on fresh seeds, such as trial ")
    )
    assert result.best_value is not None
    summary = json.loads((Path(result.run_dir) / "summary.json").read_text())
    assert summary["validated_value"] is None
    assert "validation: all 4" in CliRunner().invoke(main, ["show", result.run_dir]).output


@pytest.mark.parametrize("comes_in", [True, False])
def test_what_failed_is_evaluated_anew_with_retry_failed_and_the_rest_is_reused(
    run, noted, tmp_path, evaluated, comes_in
):
    """A trial of the search that then is a candidate, or is none; and a candidate."""
    expected = run(noted, run_name="other")
    in_order = sorted(expected.trials, key=lambda trial: trial.value)
    trial = in_order[0 if comes_in else -1].number
    candidate = in_order[1].number
    bad = tmp_path / "bad"
    bad.write_text(json.dumps([(trial, 3), (candidate, FRESH[0])]))
    evaluated()
    first = run(noted, fail_on_chunk_error=False)
    assert first.trials[trial].error
    assert first.validation.candidates[-1].number == candidate
    before = evaluated()
    again = run(noted, fail_on_chunk_error=False, retry_failed=True)
    assert table(again) == table(first)
    assert fresh_of(evaluated()) == 2 * [(candidate, FRESH[0])]  # tried twice, as ever
    bad.unlink()
    assert table(run(noted, retry_failed=True)) == table(expected)
    retried = evaluated()
    fresh = set(fresh_of(retried))
    assert set(retried) - fresh == {(trial, seed) for seed in range(N_SEEDS)}
    assert {number for number, _ in fresh} == ({trial, candidate} if comes_in else {candidate})
    assert fresh & set(before) == {(candidate, FRESH[0])}
    assert table(run(noted, retry_failed=True)) == table(expected)
    assert evaluated() == []


# Entries.


@pytest.mark.parametrize(("owner", "step"), [(Entry, "write_summary"), (Run, "note_end")])
def test_an_entry_whose_driver_is_killed_at_its_very_end_says_how_it_ended(
    client, tmp_path, owner, step
):
    def call():
        return sw.optimize_entries(
            lonely,
            entry_ids=["a"],
            run_name_prefix="all",
            cluster=client,
            run_root=tmp_path,
            progress=False,
            n_trials=2,
            n_seeds=4,
            n_validation_seeds=4,
        )

    with killed(owner, step, before=True), pytest.raises(KeyboardInterrupt):
        call()
    (result,) = call().results_by_entry.values()
    assert summary(result)["validated_value"] == result.validated_value
    assert sw.run_status(result.run_dir).state == "finished"


def test_each_entry_is_validated_as_it_would_be_alone(client, tmp_path):
    @sw.loss(name="own", description="a bowl for each", parameter_space=SPACE)
    def own(params, seed, context):
        shift = {"a": 0.2, "a-validation": -0.4}[context["entry_id"]]
        return (params["x"] - shift) ** 2 + random.Random(seed).gauss(0.0, 0.2)

    fixed = {"cluster": client, "run_root": tmp_path, "progress": False, "race": False}
    few = {"n_trials": 5, "n_seeds": N_SEEDS, "chunk_size": 5, "sampler": "tpe"}
    few |= {"n_validation_seeds": N_FRESH, "n_validation_candidates": 3}
    entries = ["a", "a-validation"]
    result = sw.optimize_entries(own, entry_ids=entries, **fixed, **few)
    for index, entry in enumerate(entries):
        alone = sw.optimize_run(own, entry_id=entry, random_seed=123 + index, **fixed, **few)
        assert table(result.results_by_entry[entry]) == table(alone)
    values = {entry: one.validated_value for entry, one in result.results_by_entry.items()}
    params = {entry: one.validated_params for entry, one in result.results_by_entry.items()}
    assert result.validated_values_by_entry == values
    assert result.validated_params_by_entry == params
    columns = result.columns()
    assert columns["validated_value"] == list(values.values())
    assert columns["validated_params_x"] == [one["x"] for one in params.values()]
    assert list(map(bits, columns["validated_trial"])) == [
        bits(one.validation.number) for one in result.results_by_entry.values()
    ]
    summary = json.loads((Path(result.run_dir) / "summary.json").read_text())
    assert summary["validated_values_by_entry"] == values
    assert summary["validated_params_by_entry"] == params
    of_entry = json.loads((Path(result.run_dir) / "entries/a/summary.json").read_text())
    assert of_entry["validated_value"] == values["a"]
    assert sw.run_status(Path(result.run_dir) / "entries/a").validated_value == values["a"]
    assert sw.open_run(result.run_dir) == result

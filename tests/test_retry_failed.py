"""retry_failed: failed trials are evaluated again under their number, then the search goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time

import pytest

import seedwise as sw
from seedwise.driver import study_work
from seedwise.driver.run import Run
from seedwise.errors import LossFailedError, NoCompleteTrialError, SpaceError
from seedwise.folder import stop_note
from seedwise.folder.ledger import Ledger
from seedwise.study.proposer import Proposer
from tests.losses import right, wrong
from tests.tables import bits, some, table

SPACE = {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}


@pytest.fixture
def run(client, tmp_path):
    def run(loss, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path / "runs", "progress": False}
        fixed["self_check"] = False  # each evaluation is counted
        few = {"n_trials": 16, "n_seeds": 6, "chunk_size": 3, "trial_retry_attempts": 0}
        return sw.optimize_run(loss, **{**fixed, **few, **keywords})

    return run


@pytest.fixture
def bad(tmp_path):
    """A file; while it is there, `noted` fails."""
    path = tmp_path / "bad"
    path.touch()
    return path


@pytest.fixture
def noted(tmp_path, bad):
    """A loss that notes what it evaluates, and whose code stays the same when it is mended."""

    @sw.loss(name="noted", description="fails for x > 0.4", parameter_space=SPACE)
    def noted(params, seed, context):
        with (tmp_path / "log").open("a") as file:
            file.write(f"{context['trial_number']} {seed}\n")
        if params["x"] > 0.4 and seed == 4 and bad.exists():
            if bad.read_text() == "kills":
                os._exit(3)
            while bad.read_text() == "hangs":
                time.sleep(0.1)
            raise ArithmeticError("diverged")
        return (params["x"] - 0.3) ** 2 + params["y"] + random.Random(seed).random()

    return noted


def lossy(function, space=SPACE):
    return sw.loss(name="lossy", description="wrong, then right", parameter_space=space)(function)


@contextlib.contextmanager
def killed(owner, name, *, before=False, number=None):
    """Have the driver end at a call, before or after it has done its work."""
    work = getattr(owner, name)

    def stop(*args, **keywords):
        here = number is None or args[1].number == number
        if here and before:
            raise KeyboardInterrupt
        done = work(*args, **keywords)
        if here:
            raise KeyboardInterrupt
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stop)
        yield


def failed(result) -> list[int]:
    return [trial.number for trial in result.trials if trial.error is not None]


@pytest.mark.parametrize("lag", [pytest.param(1, marks=pytest.mark.full), 3])
def test_with_a_corrected_loss_it_is_as_if_the_loss_had_never_been_wrong(run, lag):
    options = {"max_concurrent_trials": lag}
    expected = run(lossy(right), **options)
    with pytest.raises(LossFailedError, match="accept_changes=True, retry_failed=True"):
        run(lossy(wrong), run_name="a", **options)
    given = {"run_name": "a", "accept_changes": True, "retry_failed": True}
    result = run(lossy(right), **given, **options)
    assert table(result) == table(expected)
    study = result.study()  # with stock Optuna
    assert bits(study.best_value) == bits(expected.best_value)
    assert study.best_trial.number == expected.best_trial.number
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert all("error" not in trial.user_attrs for trial in study.trials)


@pytest.mark.parametrize(
    ("content", "keywords"),
    [
        ("raises", {"fail_on_chunk_error": False}),
        pytest.param("raises", {"prune_failed_trials": True}, marks=pytest.mark.full),
        pytest.param("kills", {"chunk_timeout_seconds": 60}, marks=pytest.mark.full),
    ],
)
def test_only_failed_trials_are_evaluated_again(run, noted, bad, evaluated, content, keywords):
    bad.write_text(content)
    first = run(noted, run_name="a", **keywords)
    assert len(failed(first)) > 1
    evaluated()
    bad.unlink()
    assert table(run(noted, run_name="a", **keywords)) == table(first)
    assert evaluated() == []
    result = run(noted, run_name="a", retry_failed=True, **keywords)
    assert evaluated() == [(trial, seed) for trial in failed(first) for seed in range(6)]
    assert failed(result) == []
    assert [t.params for t in result.trials] == [t.params for t in first.trials]
    assert table(run(noted, run_name="a", **keywords)) == table(result)
    good = [trial for trial in first.trials if trial.value is not None]
    assert [result.trials[trial.number] for trial in good] == good


@pytest.mark.full
def test_of_a_trial_that_took_too_long_the_finished_seeds_count(run, noted, bad, evaluated):
    bad.write_text("hangs")
    options = {"n_trials": 1, "trial_zero": {"x": 0.5, "y": 0.0}}
    with pytest.raises(NoCompleteTrialError, match="chunk_timeout_seconds"):
        run(noted, run_name="a", chunk_timeout_seconds=4, **options)
    evaluated()
    bad.unlink()
    result = run(noted, run_name="a", retry_failed=True, **options)
    assert evaluated() == [(0, seed) for seed in (3, 4, 5)]  # those of the chunk that hung
    assert table(result) == table(run(noted, run_name="b", **options))


def test_when_nothing_failed_nothing_is_done(run, noted, bad, monkeypatch):
    bad.unlink()
    first = run(noted, run_name="a", n_trials=4)
    monkeypatch.setattr("seedwise.driver.carry_out.open_workplace", None)
    assert table(run(noted, run_name="a", n_trials=4, retry_failed=True)) == table(first)


def test_a_trial_that_fails_again_stops_the_run_again(run, noted, evaluated):
    with pytest.raises(LossFailedError) as first:
        run(noted, run_name="a")
    for _ in range(2):
        evaluated()
        with pytest.raises(LossFailedError) as again:
            run(noted, run_name="a", retry_failed=True)
        assert str(again.value) == str(first.value)
        assert {trial for trial, _ in evaluated()} == {first.value.trial}
    with pytest.raises(LossFailedError) as later:
        run(noted, run_name="a")
    assert later.value.trial > first.value.trial


@pytest.mark.parametrize("error_is_told", [pytest.param(True, marks=pytest.mark.full), False])
def test_a_study_that_stopped_does_not_raise_the_old_error(run, noted, bad, error_is_told):
    end = (
        contextlib.nullcontext() if error_is_told else killed(stop_note, "note_seen", before=True)
    )
    with end, pytest.raises((LossFailedError, KeyboardInterrupt)):
        run(noted, run_name="a")
    bad.unlink()
    result = run(noted, run_name="a", retry_failed=True)
    assert failed(result) == []
    assert run(noted, run_name="a", n_trials=17).n_trials == 17


@pytest.mark.full
def test_a_loss_that_was_corrected_before_its_failure_was_told_is_not_blamed(run):
    number = failed(run(lossy(wrong), fail_on_chunk_error=False))[0]
    with killed(Proposer, "tell", before=True, number=number), pytest.raises(KeyboardInterrupt):
        run(lossy(wrong), run_name="a")
    assert failed(run(lossy(right), run_name="a", accept_changes=True)) == []
    assert run(lossy(right), run_name="a", n_trials=17).n_trials == 17


STEPS = {
    "begin_again": Ledger,
    "take_back_tells": study_work,
    "prepare": Run,
    "tell": Proposer,
}


@pytest.mark.parametrize(
    ("lag", "step", "before"),
    some(
        itertools.product([1, 3], STEPS, [True, False]),
        (3, "tell", False),
    ),
)
def test_a_kill_at_any_step_changes_nothing(run, noted, bad, evaluated, lag, step, before):
    options = {"fail_on_chunk_error": False, "max_concurrent_trials": lag}
    first, _ = run(noted, run_name="cut", **options), run(noted, run_name="whole", **options)
    good = {trial.number for trial in first.trials} - {*failed(first)}
    told_again = failed(first)[:-1] if step == "tell" else []
    bad.unlink()
    options |= {"n_trials": 20, "retry_failed": True}
    whole = run(noted, run_name="whole", chunk_size=2, **options)
    at = failed(first)[-1] if step == "tell" else None
    with killed(STEPS[step], step, before=before, number=at), pytest.raises(KeyboardInterrupt):
        run(noted, run_name="cut", **options)
    evaluated()
    result = run(noted, run_name="cut", **options)
    assert table(result) == table(whole)
    assert not {trial for trial, _ in evaluated()} & {*good, *told_again}


@pytest.mark.full
def test_a_retried_trial_is_no_incumbent_of_those_asked_for_before_it_was_told(run, bad):
    """Trial 12 is far the best; 16 and 17 are in flight when it is told, and then a kill comes."""

    @sw.loss(name="late", description="fails in trial 12", parameter_space=SPACE)
    def late(params, seed, context):
        if context["trial_number"] == 12:
            if bad.exists():
                raise ArithmeticError("diverged")
            return random.Random(seed).random() - 10.0
        return params["x"] ** 2 + random.Random(f"{seed} {params['x']}").random()

    options = {"fail_on_chunk_error": False, "max_concurrent_trials": 3, "sampler": "random"}
    options |= {"race": sw.Race(first_look=2), "n_validation_seeds": 0}
    for name in ("cut", "whole"):
        assert failed(run(late, run_name=name, **options)) == [12]
    bad.unlink()
    options |= {"n_trials": 20, "retry_failed": True}
    whole = run(late, run_name="whole", **options)
    with killed(Proposer, "tell", number=12), pytest.raises(KeyboardInterrupt):
        run(late, run_name="cut", **options)
    assert table(run(late, run_name="cut", **options)) == table(whole)


def test_it_can_be_resumed_without_the_option_after_a_kill(run, noted, bad, client):
    first = run(noted, run_name="a", fail_on_chunk_error=False)
    bad.unlink()
    with killed(Run, "prepare", before=True), pytest.raises(KeyboardInterrupt):
        run(noted, run_name="a", fail_on_chunk_error=False, retry_failed=True)
    assert failed(sw.resume_run(first.run_dir, cluster=client)) == []


def test_resume_run_retries(run, noted, bad, client):
    first = run(noted, fail_on_chunk_error=False)
    bad.unlink()
    assert failed(sw.resume_run(first.run_dir, cluster=client, retry_failed=True)) == []


def test_a_trial_without_a_value_of_a_new_parameter_is_refused_before_anything_is_done(
    run, tmp_path
):
    run(lossy(wrong), run_name="a", fail_on_chunk_error=False)
    folder = tmp_path / "runs" / "a"
    kept = ["study.journal", "meta.json"]
    before = [(folder / name).read_bytes() for name in kept]
    options = {"run_name": "a", "fail_on_chunk_error": False, "accept_changes": True}
    wider = lossy(wrong, {**SPACE, "z": (0.0, 1.0)})
    with pytest.raises(SpaceError, match=r"failed and has no value of it; leave out retry_failed"):
        run(wider, **options, retry_failed=True)
    assert [(folder / name).read_bytes() for name in kept] == before
    assert run(wider, **options, n_trials=17).n_trials == 17


@pytest.mark.full
def test_entries(client, tmp_path, bad):
    @sw.loss(name="fit", description="fails for ben", parameter_space=SPACE)
    def fit(params, seed, context):
        if context["entry_id"] == "ben" and context["trial_number"] in (2, 3) and bad.exists():
            raise ArithmeticError("diverged")
        return params["x"] + len(context["entry_id"]) * random.Random(seed).random()

    def call(name, **keywords):
        return sw.optimize_entries(
            fit,
            entry_ids=["anna", "ben", "carl"],
            run_name_prefix=name,
            run_root=tmp_path / "runs",
            n_trials=5,
            n_seeds=4,
            cluster=client,
            progress=False,
            **keywords,
        )

    first = call("a")
    assert list(first.failed) == ["ben"]
    assert "run_name_prefix='a', accept_changes=True, retry_failed=True" in str(
        first.failed["ben"]
    )
    again = call("a", retry_failed=True)
    assert str(again.failed["ben"]) == str(first.failed["ben"])
    bad.unlink()
    mended, whole = call("a", retry_failed=True), call("b")
    assert mended.failed == {}
    for entry, result in whole.results_by_entry.items():
        assert table(mended.results_by_entry[entry]) == table(result)

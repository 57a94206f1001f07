"""What a run's results depend on: all that decides them, and nothing that does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seedwise as sw
from seedwise.model.keywords import keyword_names
from seedwise.model.options import RunOptions
from seedwise.model.seeds import seed_plan
from seedwise.run.changes import changed, decides_losses, what_decides_results

SPACE = {"x": (0.0, 1.0), "n": sw.search_param(range=(1, 9), dtype="int")}


def define(function, **changes):
    fields = {"name": "walk", "description": "where it ends", "parameter_space": SPACE}
    return sw.loss(**{**fields, **changes})(function)


def walk(params, seed):
    return params["x"] + seed


def walk_on(params, seed):
    return params["x"] + seed + 1


LOSS = define(walk)


def describe(loss=LOSS, **keywords) -> dict[str, str]:
    options = RunOptions.from_keywords(keywords)
    names = ("seeds", "n_seeds", "chunk_size", "num_chunks")
    plan = seed_plan(
        **{name: getattr(options, name) for name in names}, seed_start=loss.seed_start
    )
    return what_decides_results(loss, options, plan)


def changes(loss=LOSS, **keywords) -> set[str]:
    return set(changed(describe(), describe(loss, **keywords)))


#: Values of options that change the results, and what is named then.
DECIDING = {
    "seeds": ([3, 1, 2], "seeds"),
    "n_seeds": (7, "seeds"),
    "sampler": ("random", "sampler"),
    "random_seed": (1, "random_seed"),
    "direction": ("maximize", "direction"),
    "max_concurrent_trials": (2, "max_concurrent_trials"),
    "trial_retry_attempts": (0, "trial_retry_attempts"),
    "entry_id": ("subject 7", "entry_id"),
}

#: Values of options that change where and how the work is done, or how much of it.
OTHERS = {
    "n_trials": 3,
    "chunk_size": 10,  # with n_seeds
    "num_chunks": 5,  # with n_seeds
    "mode": "distributed",
    "run_root": Path("elsewhere"),
    "run_name": "mine",
    "loss_module": "losses",
    "slurm_poll_seconds": 3,
    "slurm_timeout_minutes": 7.0,
    "cpus_per_task": 2,
    "mem_per_cpu": "3G",
    "array_parallelism_limit": 4,
    "worker_parallelism": 2,
    "worker_time_limit": timedelta(hours=1),
    "slurm_qos": None,
    "fail_on_chunk_error": False,
    "chunk_timeout_seconds": 60.0,
    "use_processes": True,
    "forward_sys_argv_to_workers": False,
    "cluster": "slurm",
    "workers": (1, 9),
    "timeout": 60.0,
    "progress": False,
    "accept_changes": True,
    "take_over": True,
    "slurm": sw.SlurmOptions(partition="cpu"),
}


def test_of_every_option_it_is_known_whether_it_decides():
    assert {*DECIDING, *OTHERS} == set(keyword_names(RunOptions))
    assert not set(DECIDING) & set(OTHERS)


@pytest.mark.parametrize("option", DECIDING)
def test_an_option_that_decides_is_named(option):
    value, name = DECIDING[option]
    assert changes(**{option: value}) == {name}


@pytest.mark.parametrize("option", OTHERS)
def test_where_and_how_the_work_is_done_is_no_matter(option):
    keywords = {"n_seeds": 1000, option: OTHERS[option]}
    assert describe(**keywords) == describe(n_seeds=1000)


@pytest.mark.parametrize(
    "seeds", [[1, 2, 4], [1, 3, 2], [2, 1, 3], [1, 2], [1, 2, 3, 4], [1, 5, 3]]
)
def test_other_seeds_or_another_order_is_a_change(seeds):
    assert set(changed(describe(seeds=[1, 2, 3]), describe(seeds=seeds))) == {"seeds"}


def test_the_same_seeds_in_other_words_are_no_change():
    words = [
        {"seeds": iter(range(6))},
        {"n_seeds": 6},
        {"chunk_size": 2, "num_chunks": 3},
        {"seeds": [0, 1, 2, 3, 4, 5], "chunk_size": 4},
    ]
    assert len({str(describe(**keywords)) for keywords in words}) == 1
    shifted = define(walk, seed_start=2)
    assert describe(shifted, n_seeds=4) == describe(seeds=[2, 3, 4, 5])


# The loss.


def test_the_code_of_a_loss_counts_and_not_what_is_said_of_it():
    assert changes(define(walk, description="another word for it")) == set()
    assert changes(define(walk_on)) == {"loss"}
    assert changes(define(walk, name="way")) == {"loss"}
    assert changes(define(walk, vectorized=True)) == {"loss"}


def test_a_change_of_a_loss_is_told_in_words():
    ((old, new),) = changed(describe(), describe(define(walk_on))).values()
    assert old.startswith("walk, code ")
    assert new.startswith("walk, code ")


@pytest.mark.parametrize(
    ("space", "names"),
    [
        ({**SPACE, "x": (0.0, 1.5)}, {"parameter_space['x']"}),
        (
            {**SPACE, "x": sw.search_param(range=(0.0, 1.0), step=0.5)},
            {"parameter_space['x']"},
        ),
        (
            {**SPACE, "n": sw.search_param(range=(1, 9), dtype="int", log=True)},
            {"parameter_space['n']"},
        ),
        ({**SPACE, "n": (1.0, 9.0)}, {"parameter_space['n']"}),
        ({**SPACE, "y": (0, 1)}, {"parameter_space['y']", "order of parameters"}),
        ({"x": SPACE["x"]}, {"parameter_space['n']", "order of parameters"}),
        ({"n": SPACE["n"], "x": SPACE["x"]}, {"order of parameters"}),
        ({**SPACE, "x": (0, 1)}, set()),
    ],
)
def test_a_change_of_the_space_names_the_parameter(space, names):
    assert changes(define(walk, parameter_space=space)) == names


def test_allowed_values_count_with_their_order_and_type():
    def space(*allowed):
        return define(walk, parameter_space={"k": sw.search_param(allowed=allowed)})

    first = describe(space("a", "b"))
    assert changed(first, describe(space("a", "b"))) == {}
    for other in (space("b", "a"), space("a", "b", "c"), space("a")):
        assert set(changed(first, describe(other))) == {"parameter_space['k']"}
    assert set(changed(describe(space(1, 2)), describe(space(1.0, 2.0)))) == {
        "parameter_space['k']"
    }


# Samplers of the user's own.


def test_a_sampler_counts_with_its_settings():
    def tpe(**settings):
        return describe(sampler=optuna.samplers.TPESampler(**settings))["sampler"]

    assert tpe(seed=1) == tpe(seed=1)
    assert tpe(seed=1).startswith("TPESampler (")
    assert len({tpe(seed=1), tpe(seed=2), tpe(seed=1, n_startup_trials=3)}) == 3
    assert describe(sampler=optuna.samplers.RandomSampler(seed=1))["sampler"] != tpe(seed=1)


# Comparing.

DESCRIBED = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3"]))


def test_each_is_described_in_a_line_of_text():
    described = describe(sampler=optuna.samplers.RandomSampler(seed=1), entry_id="a")
    for name, text in described.items():
        assert isinstance(name, str)
        assert isinstance(text, str)
        assert "\n" not in text


@given(old=DESCRIBED, new=DESCRIBED)
def test_what_differs_is_what_was_and_what_is(old, new):
    found = changed(old, new)
    assert set(found) == {name for name in {*old, *new} if old.get(name) != new.get(name)}
    for name, pair in found.items():
        assert pair == (old.get(name, "none"), new.get(name, "none"))
    assert changed(new, old) == {name: pair[::-1] for name, pair in found.items()}
    assert changed({**old, **new}, new).keys() == old.keys() - new.keys()
    assert changed(old, old) == {}


@pytest.mark.parametrize(
    ("names", "worthless"),
    [
        ([], False),
        (["loss"], True),
        (["seeds"], True),
        (["entry_id"], True),
        (["sampler", "random_seed", "direction", "max_concurrent_trials"], False),
        (["trial_retry_attempts", "parameter_space['loss']", "order of parameters"], False),
        (["sampler", "seeds"], True),
    ],
)
def test_some_changes_make_the_losses_on_record_worthless(names, worthless):
    assert decides_losses(dict.fromkeys(names, ("old", "new"))) is worthless

"""What a run's results depend on: all that decides them, and nothing that does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seedwise as sw
from seedwise.driver.same_run import (
    CodeIdentity,
    code_identity,
    decides_losses,
    what_decides_results,
)
from seedwise.folder.history import changed
from seedwise.model.options.fields import keyword_names
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.seeds import seed_plan
from seedwise.model.sources import ParameterSource, grid, manual
from seedwise.usercode.code import Module
from tests.builders import code, shipment

SPACE = {"x": (0.0, 1.0), "n": sw.search_param(range=(1, 9), dtype="int")}


def define(function, **changes):
    fields = {"name": "walk", "description": "where it ends", "parameter_space": SPACE}
    return sw.loss(**{**fields, **changes})(function)


def walk(params, seed):
    return params["x"] + seed


def walk_on(params, seed):
    return params["x"] + seed + 1


LOSSES = [define(walk)]  # not by its name, so that it goes by value as others do


def describe(
    loss=LOSSES[0], kind=RunOptions, source: ParameterSource | None = None, **keywords
) -> dict[str, str]:
    options = kind.from_keywords(keywords)
    names = ("seeds", "n_seeds", "chunk_size", "num_chunks")
    plan = seed_plan(
        **{name: getattr(options, name) for name in names}, seed_start=loss.seed_start
    )
    packed = shipment(loss)
    digest = code_identity(loss, packed).digest(packed.code)
    return what_decides_results(loss, digest, options, plan, source)


def changes(loss=LOSSES[0], **keywords) -> set[str]:
    return set(changed(describe(), describe(loss, **keywords)))


#: Values of options that change the results, and what is named then.
DECIDING = {
    "seeds": (range(1, 1001), "seeds"),  # as many, so that trials get as many
    "n_seeds": (999, "seeds"),
    "race": (sw.Race(first_look=16, contender_seeds=16), "race"),
    "sampler": ("random", "sampler"),
    "random_seed": (1, "random_seed"),
    "direction": ("maximize", "direction"),
    "max_concurrent_trials": (2, "max_concurrent_trials"),
    "trial_retry_attempts": (0, "trial_retry_attempts"),
    "entry_id": ("subject 7", "entry_id"),
    "overrides": ({"x": 0.5}, "parameter_space['x']"),
    "trial_zero": ({"x": 0.5}, "trial_zero"),
    "enqueue": (manual([{"x": 0.5}]), "enqueue"),
    "prune_failed_trials": (True, "prune_failed_trials"),
}

#: Values of options that change where and how the work is done, or how much of it.
OTHERS = {
    "n_trials": 3,
    "max_total_seeds": 500,
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
    "self_check": False,
    "cluster": "slurm",
    "workers": (1, 9),
    "timeout": 60.0,
    "n_validation_seeds": 64,
    "n_validation_candidates": 4,
    "progress": False,
    "resume": "auto",
    "accept_changes": True,
    "take_over": True,
    "slurm": sw.SlurmOptions(partition="cpu"),
    "refine_search_factor": 0.5,  # it begins a phase, which the run's folder records
    "retry_failed": True,
    "clean_run_dir": True,
    "assume_yes": True,
    "insecure": True,
}

#: The same of what a sweep and entries have and a run has not, or what is another matter there.
DECIDING_A_SWEEP = {
    **{name: DECIDING[name] for name in ("seeds", "n_seeds", "trial_retry_attempts", "entry_id")},
    "overrides": ({"x": 0.5}, "overrides"),
    "trial_zero": ({"x": 0.5}, "trial_zero"),
}
OTHERS_OF_A_SWEEP = {
    **{name: OTHERS[name] for name in OTHERS if name in keyword_names(SweepOptions)},
    "direction": "maximize",  # no sampler is asked
    "trial_nums": [3],
}
OTHERS_OF_ENTRIES = {
    **{name: OTHERS[name] for name in OTHERS if name in keyword_names(EntriesOptions)},
    "entry_ids": ["anna", "ben"],  # each has a study of its own
    "run_name_prefix": "mine",
    "max_concurrent_entries": 1,
}
POINTS = grid(x=[0.0, 0.5], n=[1, 2])


def test_of_every_option_it_is_known_whether_it_decides():
    assert {*DECIDING, *OTHERS} == set(keyword_names(RunOptions))
    assert not set(DECIDING) & set(OTHERS)
    assert {*DECIDING_A_SWEEP, *OTHERS_OF_A_SWEEP} == set(keyword_names(SweepOptions))
    assert not set(DECIDING_A_SWEEP) & set(OTHERS_OF_A_SWEEP)
    of_a_study = DECIDING.keys() - {"entry_id"}
    assert {*of_a_study, *OTHERS_OF_ENTRIES} == set(keyword_names(EntriesOptions))
    assert not of_a_study & set(OTHERS_OF_ENTRIES)


@pytest.mark.parametrize("option", DECIDING)
def test_an_option_that_decides_is_named(option):
    value, name = DECIDING[option]
    assert changes(**{option: value}) == {name}


@pytest.mark.parametrize("option", OTHERS)
def test_where_and_how_the_work_is_done_is_no_matter(option):
    keywords = {"n_seeds": 1000, option: OTHERS[option]}
    assert describe(**keywords) == describe(n_seeds=1000)


@pytest.mark.parametrize("option", DECIDING_A_SWEEP)
def test_an_option_that_decides_a_sweep_is_named(option):
    value, name = DECIDING_A_SWEEP[option]
    sweep = {"kind": SweepOptions, "source": POINTS}
    assert set(changed(describe(**sweep), describe(**sweep, **{option: value}))) == {name}


@pytest.mark.parametrize("option", OTHERS_OF_A_SWEEP)
def test_other_options_are_no_matter_to_a_sweep(option):
    sweep = {"kind": SweepOptions, "source": POINTS, "n_seeds": 1000}
    keywords = {option: OTHERS_OF_A_SWEEP[option]}
    assert describe(**{**sweep, **keywords}) == describe(**sweep)


def test_the_space_is_no_matter_to_a_sweep_nor_is_a_sampler():
    sweep = {"kind": SweepOptions, "source": POINTS}
    wider = define(walk, parameter_space={**SPACE, "x": (0.0, 9.0)})
    assert describe(wider, **sweep) == describe(**sweep)
    assert not describe(**sweep).keys() & {"sampler", "random_seed", "direction", "enqueue"}


@pytest.mark.parametrize("option", sorted(DECIDING.keys() - {"entry_id"}))
def test_an_option_that_decides_a_study_decides_those_of_entries(option):
    value, name = DECIDING[option]
    entries = {"kind": EntriesOptions, "entry_ids": ["anna"]}
    assert set(changed(describe(**entries), describe(**entries, **{option: value}))) == {name}


@pytest.mark.parametrize("option", OTHERS_OF_ENTRIES)
def test_other_options_are_no_matter_to_entries(option):
    entries = {"kind": EntriesOptions, "entry_ids": ["anna"], "n_seeds": 1000}
    keywords = {option: OTHERS_OF_ENTRIES[option]}
    assert describe(**{**entries, **keywords}) == describe(**entries)


# Points that are given.


@pytest.mark.parametrize("keyword", ["source", "enqueue"])
def test_other_points_are_another_source_and_more_random_ones_are_not(keyword):
    def points(source):
        if keyword == "source":
            return describe(kind=SweepOptions, source=source)
        return describe(enqueue=source)

    def draws(n_trials, seed=1, high=1.0):
        space = {"x": sw.uniform(0, high), "n": sw.randint(1, 9)}
        return sw.random(space, n_trials=n_trials, seed=seed)

    assert changed(points(draws(5)), points(draws(10**12))) == {}
    assert changed(points(POINTS), points(grid(n=[1, 2], x=[0.0, 0.5]))) == {}
    for one, other in (
        (draws(5), draws(5, seed=2)),
        (draws(5), draws(5, high=2.0)),
        (POINTS, grid(x=[0.0, 0.5], n=[1, 3])),
        (POINTS, grid(x=[0.5, 0.0], n=[1, 2])),
        (POINTS, manual([case.params for case in POINTS])),
    ):
        assert set(changed(points(one), points(other))) == {keyword}


def test_a_source_is_told_by_its_type():
    described = describe(kind=SweepOptions, source=POINTS)["source"]
    assert described.startswith("grid (")


def test_held_values_count_by_what_they_make_of_the_space():
    plain, held = describe(), describe(overrides={"n": 4})
    ((name, (old, new)),) = changed(plain, held).items()
    assert name == "parameter_space['n']"
    assert "range=(1, 9)" in old
    assert "range=(4, 4)" in new
    assert describe(overrides={"n": 4.0}) == held


def test_the_order_in_which_points_name_parameters_is_no_matter():
    for option in ("trial_zero", "overrides"):
        one, other = {"x": 0.5, "n": 3}, {"n": 3, "x": 0.5}
        sweep = {"kind": SweepOptions, "source": POINTS}
        assert describe(**sweep, **{option: one}) == describe(**sweep, **{option: other})


# Seeds.


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


# The code.


def test_pieces_are_named_by_their_files_wherever_the_project_lies():
    """A file may be two modules, and two modules may have files of the same name."""
    text = "import fit, utils\ndef loss(params, seed): return fit, utils, pkg.utils\n"
    files = {
        "__main__": "fit.py",
        "fit": "fit.py",
        "pkg.utils": "pkg/utils.py",
        "pkg": "pkg/__init__.py",
    }

    def pieces(root):
        modules = {
            name: Module(f"/{root}/{file}", f"{root}/{file}", is_package=name == "pkg")
            for name, file in files.items()
        }
        made = code(dict.fromkeys(modules, text))
        return CodeIdentity("__main__", ("loss",)).pieces(attrs.evolve(made, modules=modules))

    found = pieces("home/me/walk")
    assert list(found) == [
        (file, label)
        for file in ("fit.py", "fit", "pkg/__init__.py", "pkg/utils.py")
        for label in ("loss", "module level")
    ]
    assert found == pieces("scratch/other")


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

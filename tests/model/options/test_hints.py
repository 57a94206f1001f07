"""What is said of a keyword that does not exist: what to use instead."""

from __future__ import annotations

import inspect
import re
import shlex

import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main
from seedwise.errors import UnknownOptionError
from seedwise.model.options import hints
from seedwise.model.options.fields import keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.sources import manual

RUN, ENTRIES, SWEEP, SLURM = RunOptions, EntriesOptions, SweepOptions, SlurmOptions
PUBLIC = {name: getattr(sw, name) for name in ("random", *sw.__all__)}
NO_SEARCH = "a sweep takes its points from its source, and goes on after a case that fails."


def message(kind: type, name: str) -> str:
    make = getattr(kind, "from_keywords", lambda keywords: kind(**keywords))
    with pytest.raises(UnknownOptionError) as caught:
        make({name: 1})
    assert caught.value.name == name
    assert caught.value.known == tuple(keyword_names(kind))
    return str(caught.value).removeprefix(f"unknown keyword {name!r}: ")


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (RUN, "partition", "use slurm=SlurmOptions(partition='cpu')."),
        (SWEEP, "account", "use slurm=SlurmOptions(account='lab')."),
        (ENTRIES, "interface", "use slurm=SlurmOptions(interface=...)."),
        (RUN, "gres", "use slurm=SlurmOptions(extra_directives=['--gres=...'])."),
        (RUN, "mail_user", "use slurm=SlurmOptions(extra_directives=['--mail-user=...'])."),
        (RUN, "time", "use worker_time_limit='02:00:00'."),
        (
            RUN,
            "n_jobs",
            (
                "use workers=40 for processes here or jobs on Slurm, or max_concurrent_trials=4 "
                "for trials at once."
            ),
        ),
        (SWEEP, "n_jobs", "use workers=40 for processes here or jobs on Slurm."),
        (SWEEP, "jobs", "use workers=40 for processes here or jobs on Slurm."),
        (RUN, "n_workers", "use workers=40."),
        (RUN, "pruner", "a trial is not stopped early: it is evaluated on all its seeds."),
        (RUN, "catch", "use fail_on_chunk_error=False to go on after a trial that fails."),
        (SWEEP, "catch", NO_SEARCH),
        (
            RUN,
            "callbacks",
            (
                "no function of yours is called during a run. Its progress is in "
                "run_status(run_dir), and its trials are in the result."
            ),
        ),
        (
            RUN,
            "storage",
            (
                "a run keeps all that it finds in its folder in run_root; result.study() opens "
                "the study."
            ),
        ),
        (RUN, "num_samples", "use n_trials=100."),
        (SWEEP, "num_samples", NO_SEARCH),
        (SWEEP, "n_trials", NO_SEARCH),
        (SWEEP, "sampler", NO_SEARCH),
        (
            RUN,
            "seed",
            "use random_seed=1 for the sampler, or n_seeds=1000 for the seeds of each trial.",
        ),
        (SWEEP, "seed", "use n_seeds=1000 for the seeds of each trial."),
        (RUN, "study_name", "use run_name='fit'."),
        (ENTRIES, "study_name", "use run_name_prefix='fit'."),
        (ENTRIES, "run_name", "use run_name_prefix='fit'."),
        (RUN, "seed_start", "it belongs to the loss: @loss(seed_start=...)."),
        (RUN, "search_space", "it belongs to the loss: @loss(parameter_space={...})."),
        (RUN, "entry_ids", "optimize_entries takes it."),
        (RUN, "trial_nums", "run_sweep takes it."),
        (SLURM, "gres", "use extra_directives=['--gres=...']."),
        (SLURM, "qos", "SlurmOptions does not have it: give the function slurm_qos='short'."),
        (SLURM, "workers", "SlurmOptions does not have it: give the function workers=40."),
        # What is near to a keyword.
        (RUN, "n_trails", "did you mean 'n_trials'?"),
        (SWEEP, "nseeds", "did you mean 'n_seeds'?"),
        (ENTRIES, "entry_id", "did you mean 'entry_ids'?"),
        (RUN, "partion", "did you mean slurm=SlurmOptions(partition=...)?"),
        (SLURM, "partion", "did you mean 'partition'?"),
        (SLURM, "zzz", f"known are {', '.join(keyword_names(SLURM))}."),
        # Of many keywords the nearest three.
        (
            RUN,
            "memoize",
            (
                "nearest are mode, mem_per_cpu, timeout; help() of the function shows all "
                f"{len(keyword_names(RUN))}."
            ),
        ),
    ],
)
def test_an_unknown_keyword_has_a_hint(kind, name, hint):
    assert message(kind, name) == hint


def test_the_fields_of_a_dict_for_slurm_have_hints_too():
    with pytest.raises(UnknownOptionError, match=r"'gres': use extra_directives=\['--gres"):
        RUN.from_keywords({"slurm": {"gres": "gpu:1"}})


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("search_param(low=0, high=1)", "unknown keyword 'low': use range=(0, 1)."),
        ("search_param(high=1, low=0)", "unknown keyword 'high': use range=(0, 1)."),
        ("search_param(choices=[1, 2])", "unknown keyword 'choices': use allowed=['x', 'y']."),
        ("search_param(type='int')", "unknown keyword 'type': use dtype='int'."),
        ("search_param(rang=(0, 1))", "unknown keyword 'rang': did you mean 'range'?"),
        ("search_param(zzz=1)", "'zzz': known are range, allowed, dtype, log, step."),
        (
            "search_param((1, 2))",
            "value without a keyword: (1, 2). Write search_param(range=(1, 2))",
        ),
        ("loss(space={})", "unknown keyword 'space': use parameter_space={'x': (0, 1)}."),
        ("loss(params={})", "unknown keyword 'params': use parameter_space={'x': (0, 1)}."),
        ("loss(vectorize=True)", "unknown keyword 'vectorize': use vectorized=True."),
        ("loss(print)", "<built-in function print>. Write @loss(name='walk', description='where"),
        ("grid({'a': [1, 2]})", "value without a keyword: {'a': [1, 2]}. Write grid(a=[1, 2])."),
        ("random({}, n=5)", "unknown keyword 'n': use n_trials=5, seed=1."),
        ("random({}, n_trials=5, rng=0)", "unknown keyword 'rng': use seed=1."),
        ("manual(params=[{}])", "unknown keyword 'params': use cases=[{'a': 1}, {'a': 2}]."),
        ("manual([{}], [], 3)", "value without a keyword: 3. Write manual([{'a': 1}, {'a': 2}])."),
    ],
)
def test_the_functions_around_a_run_have_hints_too(call, hint):
    with pytest.raises(UnknownOptionError) as caught:
        eval(call, PUBLIC)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", hints._FUNCTIONS)
def test_what_such_a_hint_says_can_be_written(name):
    example, table = hints._FUNCTIONS[name]
    for call in example.removeprefix("@").split(" or "):
        eval(call, PUBLIC)
    for part in table:
        inspect.signature(getattr(sw, name)).bind_partial(**eval(f"dict({part})", PUBLIC))
    words = " ".join(table.values()).split()
    assert len(words) == len(set(words))
    assert not {*inspect.signature(getattr(sw, name)).parameters} & set(words)


def test_grid_takes_any_name():
    assert sw.grid(n=[1], function=[2]).names == ("function", "n")


PARTS = [part for parts in hints._INSTEAD for part in parts.split("; ")]


@pytest.mark.parametrize("part", PARTS)
def test_what_a_hint_names_is_an_option_and_its_value_is_allowed(part):
    name, value = re.match(r"(\w+)=(\S+)", part).groups()
    text = value.replace("{flag}", "gres").replace("[...]", "['a']")
    value = eval(text, {"manual": manual})
    if name in keyword_names(SLURM):
        SLURM(**{name: value})
    elif name in keyword_names(RUN):
        RUN.from_keywords({name: value})
    else:
        ENTRIES.from_keywords({"entry_ids": ["a"], name: value})


def test_no_word_is_in_the_tables_twice():
    words = " ".join([*hints._INSTEAD.values(), *hints._SAID.values()]).split()
    assert len(words) == len(set(words))
    taken = {*keyword_names(RUN), *keyword_names(SLURM)} & set(words)
    assert not taken


# On the command line.


def shown(*words: str) -> str:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    return done.output.splitlines()[-1].removeprefix("Error: No such option: ")


DIRECTIVES = "an option of sbatch goes into --extra-directives, as in --extra-directives="


@pytest.mark.parametrize("command", ["check", "resume"])
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--gres gpu:1", "--gres; use --extra-directives=--gres=gpu:1."),
        ("--gres=gpu:1", "--gres; use --extra-directives=--gres=gpu:1."),
        ("--mail-user --json", "--mail-user; use --extra-directives=--mail-user=...."),
        ("--exclusive", "--exclusive; use --extra-directives=--exclusive."),
        ("--n_trials 5", "--n_trials; did you mean --n-trials?"),
        ("--n-trails 5", "--n-trails; did you mean --n-trials?"),
        ("--num-samples 5", "--num-samples; use --n-trials=100."),
        ("--time 3:00", "--time; use --worker-time-limit=02:00:00."),
        ("-t 3:00", "-t; use --worker-time-limit=02:00:00."),
        ("-p cpu", "-p; did you mean --partition?"),
        ("-C avx", "-C; use --extra-directives=--constraint=avx."),
        ("--qos urgent", "--qos; use --slurm-qos=short."),
        ("--x0 1", "--x0; use --trial-zero='{\"x\": 0.3}'."),
        ("--verbose", "--verbose; use --no-progress."),
        (
            "--pruner x",
            "--pruner; a trial is not stopped early: it is evaluated on all its seeds.",
        ),
        (
            "--seed 1",
            (
                "--seed; use --random-seed=1 for the sampler, or --n-seeds=1000 for the seeds of "
                "each trial."
            ),
        ),
        ("--zzz", f"--zzz; {DIRECTIVES}--gres=gpu:1; --help lists all options."),
    ],
)
def test_a_flag_that_does_not_exist_has_a_hint(command, words, hint):
    assert shown(command, *words.split(), "fit.py") == hint


def test_points_are_said_as_json():
    hint = "--points-to-evaluate; use --enqueue='{\"x\": 0.3}'."
    assert shown("run", "--points-to-evaluate", "fit.py") == hint


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "--qos urgent",
            f"--qos; {DIRECTIVES}--qos=urgent; what is for the script goes after it.",
        ),
        (
            "--n-trials 5",
            f"--n-trials; {DIRECTIVES}--qos=urgent; what is for the script goes after it.",
        ),
        ("--gres gpu:1", "--gres; use --extra-directives=--gres=gpu:1."),
        ("--worker-time-limit 5", "--worker-time-limit; use --walltime."),
        ("--time 5", "--time; use --walltime."),
        ("--mem 4G", "--mem; use --memory."),
        ("--cpus-per-task 4", "--cpus-per-task; use --cpus."),
        ("-c 4", "-c; use --cpus."),
    ],
)
def test_a_flag_that_submit_does_not_have_has_a_hint(words, hint):
    assert shown("submit", *words.split(), "fit.py") == hint


@pytest.mark.parametrize("part", PARTS)
def test_what_a_hint_shows_on_the_command_line_is_a_flag_that_can_be_read(part):
    name, *_ = part.partition("=")
    command = main.commands["resume"]
    if f"--{name.replace('_', '-')}" not in [flag for one in command.params for flag in one.opts]:
        assert name in ("enqueue", "entry_ids", "run_name", "run_name_prefix", "run_root")
        return
    flag, *_ = shlex.split(hints._as_flag(part.replace("{flag}", "gres"), "x"))
    command.make_context("resume", ["runs/a", flag])

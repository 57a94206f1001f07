"""The options: each is defined once, and checked when it is given."""

from __future__ import annotations

import collections
import inspect
import math
import re
import types
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import optuna
import pytest

from seedwise import optimize_entries, optimize_run, run_sweep
from seedwise.errors import OptionError
from seedwise.model.options.checks import SAMPLERS
from seedwise.model.options.fields import keyword_docs, keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.options.work import ExecutionMode, execution_mode
from seedwise.model.racing import looks
from seedwise.model.sources import grid, manual, random
from seedwise.model.sources.distributions import uniform

# The keywords that scripts written for slurptuna's optimize_run use, and their defaults.
REFERENCE = {
    "n_trials": 10,
    "seeds": None,
    "n_seeds": None,
    "chunk_size": None,
    "num_chunks": None,
    "random_seed": 123,
    "entry_id": None,
    "direction": "minimize",
    "mode": ExecutionMode.SINGLE,
    "run_root": "runs",
    "run_name": None,
    "loss_module": None,
    "slurm_poll_seconds": 15,
    "slurm_timeout_minutes": 120,
    "cpus_per_task": 1,
    "mem_per_cpu": "2G",
    "max_concurrent_trials": None,  # 1 as there, where each trial gets all seeds
    "array_parallelism_limit": None,
    "worker_parallelism": 1,
    "worker_time_limit": timedelta(hours=2),
    "slurm_qos": "short",
    "trial_retry_attempts": 1,
    "fail_on_chunk_error": True,
    "use_processes": False,
    "forward_sys_argv_to_workers": True,
}

WHOLE = "a whole number above 0"
NUMBER = "a finite number above 0"
TEXT = "a non-empty string, or None"
TRUTH = "True or False"
FOLDER = "the name of a folder, without a path or a - at its start"
PART = "a number above 0 and below 1"
NAMED = "a dict of parameter names to values, such as {'x': 0.3}"
SOURCE = "a source, made with grid(), random() or manual()"
MEMORY = "a whole number with K, M, G or T, such as '2G'"
WALLTIME = "a timedelta above 0, such as timedelta(hours=2), or a str, such as '02:00:00'"
MODE = "'single' or 'distributed'"
WORKERS = "a whole number above 0, or (min, max) with 0 <= min <= max and max above 0"

COUNTS = [
    "n_trials",
    "n_seeds",
    "chunk_size",
    "num_chunks",
    "cpus_per_task",
    "slurm_poll_seconds",
    "max_concurrent_trials",
    "array_parallelism_limit",
    "worker_parallelism",
]


def given(**keywords) -> RunOptions:
    return RunOptions.from_keywords(keywords)


#: What each function takes besides its options.
FUNCTIONS = {
    optimize_run: (RunOptions, ["loss"]),
    optimize_entries: (EntriesOptions, ["loss"]),
    run_sweep: (SweepOptions, ["loss", "source"]),
}
each_function = pytest.mark.parametrize("function", FUNCTIONS)
each_class = pytest.mark.parametrize(
    "options", [RunOptions, EntriesOptions, SweepOptions, SlurmOptions]
)


def parameters(function=optimize_run) -> list[inspect.Parameter]:
    """Return a function's keywords."""
    own = FUNCTIONS[function][1]
    first = list(inspect.signature(function).parameters.values())
    assert [parameter.name for parameter in first[: len(own)]] == own
    return first[len(own) :]


@each_function
def test_the_signature_is_the_fields(function):
    fields = {field.name: field for field in attrs.fields(FUNCTIONS[function][0]) if field.init}
    keywords = parameters(function)
    assert [p.name for p in keywords] == keyword_names(FUNCTIONS[function][0])
    assert {p.name: p.default for p in keywords} == {
        name: field.default for name, field in fields.items()
    }
    assert {p.kind for p in keywords} == {inspect.Parameter.KEYWORD_ONLY}


@each_function
def test_every_keyword_has_a_type_that_its_default_is_of(function):
    for keyword in parameters(function):
        if keyword.annotation is not Any:
            union = isinstance(keyword.annotation, types.UnionType)
            kinds = typing.get_args(keyword.annotation) if union else (keyword.annotation,)
            classes = tuple(typing.get_origin(kind) or kind for kind in kinds)
            assert isinstance(keyword.default, (*classes, int) if float in classes else classes)


@pytest.mark.parametrize(
    ("function", "first"),
    [
        (optimize_run, ["n_trials", "n_seeds", "workers", "cluster", "mode", "sampler"]),
        (optimize_entries, ["entry_ids", "n_trials", "n_seeds", "workers", "cluster", "mode"]),
        (run_sweep, ["n_seeds", "workers", "cluster", "mode"]),
    ],
)
def test_the_keywords_that_are_used_most_come_first(function, first):
    names = [p.name for p in parameters(function)]
    assert names[: len(first)] == first
    together = [["seeds", "chunk_size", "num_chunks"], ["slurm", "worker_time_limit"]]
    for group in together:
        place = names.index(group[0])
        assert names[place : place + len(group)] == group


def test_the_reference_signature_is_all_there():
    ours = {p.name: p.default for p in parameters()}
    assert {name: ours[name] for name in REFERENCE} == REFERENCE


@each_class
def test_every_option_has_a_type_and_a_sentence(options):
    for field in attrs.fields(options):
        if field.init:
            assert field.metadata["type"], field.name
            assert re.fullmatch(r"['A-Z].*\.", field.metadata["doc"]), field.name


@each_class
def test_the_docs_name_every_keyword_once(options):
    docs = keyword_docs(options)
    entry = re.compile(r"^(\w+) : .+, (?:optional|default .+)$", re.MULTILINE)
    assert entry.findall(docs) == keyword_names(options)
    assert max(map(len, docs.splitlines())) < 100


@each_function
def test_the_functions_docs_hold_the_options_docs(function):
    assert keyword_docs(FUNCTIONS[function][0]) in function.__doc__
    assert "**options" not in function.__doc__


@each_function
def test_a_call_takes_its_own_arguments_by_place_or_name_and_nothing_else(function):
    own = FUNCTIONS[function][1]
    for args, keywords in (((), {}), (own[:-1], {}), ([*own, 3], {}), ((), {own[0]: 1, "x": 3})):
        with pytest.raises(TypeError):
            function(*args, **keywords)


def test_the_defaults_pass_their_own_checks():
    options = given()
    assert options.given == frozenset()
    assert Path(options.run_root) == Path("runs")
    assert options.place == "local"


def test_what_was_given_is_known():
    assert given(n_trials=10, mode="single").given == {"n_trials", "mode"}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [(name, bad, WHOLE) for name in COUNTS for bad in (0, -1, True, 2.0, "3")]
    + [
        ("n_trials", None, WHOLE),
        ("n_trials", np.array([3]), WHOLE),
        ("random_seed", -1, "a whole number from 0 to 2**32 - 1"),
        ("random_seed", False, "a whole number from 0 to 2**32 - 1"),
        ("random_seed", 2**32, "a whole number from 0 to 2**32 - 1"),
        ("trial_retry_attempts", -1, "a whole number, 0 or above"),
        ("slurm_timeout_minutes", 0, NUMBER),
        ("timeout", 0, NUMBER),
        ("timeout", math.nan, NUMBER),
        ("timeout", math.inf, NUMBER),
        ("timeout", True, NUMBER),
        ("timeout", "9", NUMBER),
        ("entry_id", " ", TEXT),
        ("entry_id", 3, TEXT),
        ("loss_module", "", TEXT),
        ("slurm_qos", "", TEXT),
        ("slurm_qos", "  ", TEXT),
        ("slurm_qos", 1, TEXT),
        ("direction", "up", "'minimize' or 'maximize'"),
        ("direction", None, "'minimize' or 'maximize'"),
        ("mode", "both", MODE),
        ("mode", None, MODE),
        ("run_name", "a/b", FOLDER),
        ("run_name", "..", FOLDER),
        ("run_name", "-x", FOLDER),
        ("run_name", "", TEXT),
        ("mem_per_cpu", "2X", MEMORY),
        ("mem_per_cpu", "G", MEMORY),
        ("mem_per_cpu", "0G", MEMORY),
        ("mem_per_cpu", "1.5G", MEMORY),
        ("mem_per_cpu", 2, MEMORY),
        ("mem_per_cpu", None, MEMORY),
        ("worker_time_limit", timedelta(0), WALLTIME),
        ("worker_time_limit", timedelta(seconds=-1), WALLTIME),
        ("worker_time_limit", 7200, WALLTIME),
        ("worker_time_limit", "2h", WALLTIME),
        ("worker_time_limit", "UNLIMITED", WALLTIME),
        ("worker_time_limit", f"{10**9}-00", WALLTIME),
        ("fail_on_chunk_error", 1, TRUTH),
        ("use_processes", "no", TRUTH),
        ("forward_sys_argv_to_workers", None, TRUTH),
        ("progress", 0, TRUTH),
        ("workers", 0, WORKERS),
        ("workers", -2, WORKERS),
        ("workers", True, WORKERS),
        ("workers", 2.0, WORKERS),
        ("workers", (3, 2), WORKERS),
        ("workers", (-1, 2), WORKERS),
        ("workers", (0, 0), WORKERS),
        ("workers", (1, 2, 3), WORKERS),
        ("workers", (), WORKERS),
        ("workers", [1, 2], WORKERS),
        ("slurm", "cpu", "a SlurmOptions, a dict of its fields, or None"),
        ("slurm", {3: "cpu"}, "a SlurmOptions, a dict of its fields, or None"),
        ("refine_search_factor", 0, PART),
        ("refine_search_factor", 1, PART),
        ("refine_search_factor", -0.5, PART),
        ("refine_search_factor", math.nan, PART),
        ("refine_search_factor", True, PART),
        ("refine_search_factor", "0.5", PART),
        ("overrides", {}, NAMED),
        ("overrides", {3: 0.5}, NAMED),
        ("overrides", [("x", 0.5)], NAMED),
        ("overrides", "x=3", NAMED),
        ("trial_zero", {}, NAMED),
        ("trial_zero", 0.5, NAMED),
        ("enqueue", [{"x": 0.5}], SOURCE),
        ("enqueue", {"x": 0.5}, SOURCE),
        ("enqueue", "grid", SOURCE),
        ("prune_failed_trials", 1, TRUTH),
        ("clean_run_dir", 1, TRUTH),
        ("assume_yes", "y", TRUTH),
        ("insecure", "yes", TRUTH),
    ],
)
def test_a_bad_value_is_refused(name, value, allowed):
    sentence = re.escape(f"{name}={value!r}: must be {allowed}.")
    with pytest.raises(OptionError, match=f"^{sentence}$") as caught:
        given(**{name: value})
    assert (caught.value.name, caught.value.allowed) == (name, allowed)
    assert repr(caught.value.value) == repr(value)


def test_a_float_of_numpy_is_no_whole_number():
    with pytest.raises(OptionError, match=r"n_trials=3\.0: must be a whole number above 0"):
        given(n_trials=np.float64(3))


@pytest.mark.parametrize("cluster", ["pbs", "single", "", 3, object()])
def test_an_unknown_cluster_is_refused(cluster):
    with pytest.raises(OptionError, match=r"cluster=.*: must be None, 'local', 'slurm', a Dask"):
        given(cluster=cluster)


@pytest.mark.parametrize("sampler", ["TPE", "", None, 3, object()])
def test_an_unknown_sampler_is_refused(sampler):
    known = ", ".join(map(repr, SAMPLERS))
    with pytest.raises(OptionError, match=f"sampler=.*: must be {known}, or an Optuna sampler"):
        given(sampler=sampler)


def test_slurm_options_are_checked_like_the_others():
    with pytest.raises(OptionError, match="partition=' ': must be a non-empty string, or None"):
        SlurmOptions(partition=" ")


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [(name, np.int64(3), 3) for name in COUNTS]
    + [
        ("workers", np.int32(2), 2),
        ("timeout", np.float32(0.5), 0.5),
        ("use_processes", np.bool_(True), True),
        ("direction", np.str_("maximize"), "maximize"),
        ("refine_search_factor", np.float32(0.5), 0.5),
    ],
)
def test_numpy_scalars_become_plain_values(name, value, plain):
    read = getattr(given(**{name: value}), name)
    assert read == plain
    assert type(read) is type(plain)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slurm_qos", None),
        ("run_name", "a b.v1"),
        ("mem_per_cpu", "512M"),
        ("worker_time_limit", timedelta(seconds=1)),
        ("workers", (0, 1)),
        ("random_seed", 0),
        ("trial_retry_attempts", 0),
        ("cluster", "tcp://host:8786"),
        ("sampler", optuna.samplers.RandomSampler()),
        ("slurm", SlurmOptions()),
        ("refine_search_factor", 0.5),
        ("overrides", {"x": 0.5, "kind": "plain"}),
        ("trial_zero", {"n": 3}),
        ("enqueue", grid(x=[0.5])),
        ("enqueue", manual([{"x": 0.5}])),
        ("enqueue", random({"x": uniform(0, 1)}, n_trials=10**12, seed=1)),
        ("prune_failed_trials", True),
    ]
    + [("sampler", name) for name in SAMPLERS],
)
def test_a_good_value_is_kept(name, value):
    assert getattr(given(**{name: value}), name) == value


@pytest.mark.parametrize("name", ["overrides", "trial_zero"])
def test_values_by_name_are_a_dict_of_our_own(name):
    values = {"x": 0.5}
    for mapping in (values, types.MappingProxyType(values), collections.OrderedDict(values)):
        read = getattr(given(**{name: mapping}), name)
        assert type(read) is dict
        assert read == values
        assert read is not mapping


def test_a_class_that_is_no_source_is_refused():
    with pytest.raises(OptionError, match="must be a source"):
        given(enqueue=object())


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("02:00:00", timedelta(hours=2)),
        ("1-12", timedelta(days=1, hours=12)),
        ("90", timedelta(minutes=90)),
        ("90:30", timedelta(minutes=90, seconds=30)),
    ],
)
def test_a_walltime_may_be_written_as_slurm_reads_it(text, limit):
    assert given(worker_time_limit=text).worker_time_limit == limit


def test_a_dict_of_its_fields_becomes_slurm_options_and_is_checked():
    read = given(slurm={"partition": "cpu", "prologue": ["module load a"]}).slurm
    assert read == SlurmOptions(partition="cpu", prologue=["module load a"])
    with pytest.raises(OptionError, match="partition=' ': must be a non-empty string"):
        given(slurm={"partition": " "})


@pytest.mark.parametrize(
    ("keywords", "hint"),
    [
        ({"mode": "slurm"}, "Write mode='distributed', or cluster='slurm'."),
        ({"mode": "Local"}, "Write mode='single', or cluster='local'."),
        ({"cluster": "distributed"}, "Write cluster='slurm', or mode='distributed'."),
        ({"cluster": "single"}, "Write cluster='local', or mode='single'."),
    ],
)
def test_a_mode_and_a_cluster_that_are_mixed_up(keywords, hint):
    with pytest.raises(OptionError) as caught:
        given(**keywords)
    assert str(caught.value).endswith(hint)


def test_optunas_and_rays_mode_is_the_direction():
    with pytest.raises(
        OptionError, match=r"'distributed'\. direction='minimize' or 'maximize' say"
    ):
        given(mode="min")


def test_strings_for_slurm_become_tuples():
    options = SlurmOptions(extra_directives="--gres=gpu:1", prologue=["module load a", "b"])
    assert options.extra_directives == ("--gres=gpu:1",)
    assert options.prologue == ("module load a", "b")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("python3", ("python3",)),
        ("apptainer exec 'my image.sif' python", ("apptainer", "exec", "my image.sif", "python")),
        (["conda", "run", "-n", "my env", "python"], ("conda", "run", "-n", "my env", "python")),
        (("/nosuch/my python",), ("/nosuch/my python",)),
        ("/nosuch/my python", ("/nosuch/my", "python")),
        ("x " * 9000, ("x",) * 9000),  # too long for a path
    ],
)
def test_a_command_that_starts_python(given, words):
    assert SlurmOptions(python=given).python == words


def test_a_python_whose_path_has_blanks_and_quotes_is_one_word(tmp_path):
    path = tmp_path / "it's my python"
    path.touch()
    assert SlurmOptions(python=str(path)).python == (str(path),)


@pytest.mark.parametrize("value", ["", " ", "it's", [], ["a", ""], ["a", 1], "a 'b\nc'", 3])
def test_what_is_not_a_command(value):
    with pytest.raises(OptionError, match=r"python=.*: must be a command, as a list of words or"):
        SlurmOptions(python=value)


def test_an_unknown_keyword_is_refused_with_those_that_are_known():
    with pytest.raises(TypeError, match="unknown keyword 'n_trails': did you mean 'n_trials'"):
        given(n_trails=3)
    nearest = (
        r"unknown keyword 'zzz': nearest are \w+, \w+, \w+; help\(\) of the function shows all"
    )
    with pytest.raises(TypeError, match=nearest) as caught:
        given(zzz=3)
    assert caught.value.known == tuple(keyword_names(RunOptions))


def test_options_are_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        given().n_trials = 3


@pytest.mark.parametrize("mode", ["single", "Single", "SINGLE", ExecutionMode.SINGLE])
def test_a_mode_is_read_in_any_case(mode):
    assert given(mode=mode).mode is ExecutionMode.SINGLE


def test_execution_mode():
    assert execution_mode("Distributed") is ExecutionMode.DISTRIBUTED
    with pytest.raises(ValueError, match="mode='both': must be 'single' or 'distributed'"):
        execution_mode("both")


@pytest.mark.parametrize(
    ("keywords", "place"),
    [
        ({"mode": "single"}, "local"),
        ({"mode": "distributed"}, "slurm"),
        ({"cluster": "local"}, "local"),
        ({"cluster": "slurm"}, "slurm"),  # the mode was not given, so it does not contradict
        ({"cluster": "slurm", "mode": "distributed"}, "slurm"),
        ({"cluster": "local", "mode": "single"}, "local"),
        ({"cluster": "tcp://host:1", "mode": "single"}, "tcp://host:1"),
        ({"cluster": "tcp://host:1", "mode": "distributed"}, "tcp://host:1"),
    ],
)
def test_the_place_is_what_mode_and_cluster_say(keywords, place):
    assert given(**keywords).place == place


@pytest.mark.parametrize(("mode", "cluster"), [("single", "slurm"), ("distributed", "local")])
def test_mode_and_cluster_must_not_contradict_each_other(mode, cluster):
    sentence = f"cluster='{cluster}': must be in line with mode='{mode}'"
    with pytest.raises(OptionError, match=sentence):
        given(mode=mode, cluster=cluster)


@pytest.mark.parametrize(
    ("race", "given", "lag"),
    [("auto", None, 4), (False, None, 1), (True, None, 1), ("auto", 1, 1), (False, 3, 3)],
)
def test_trials_with_parts_of_the_seeds_are_four_at_once_by_default(race, given, lag):
    options = RunOptions(race=race, max_concurrent_trials=given)
    assert options.lag_of(looks(race, 1000)) == lag

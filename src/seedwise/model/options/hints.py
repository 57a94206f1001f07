"""What to use instead of an argument or a flag that does not exist."""

import ast
import difflib
import functools
import inspect
import json
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from seedwise.errors import UnknownOptionError
from seedwise.errors.base import shown

F = TypeVar("F", bound=Callable[..., Any])


def _by_word(table: Mapping[str, str]) -> dict[str, str]:
    return {word: instead for instead, words in table.items() for word in words.split()}


# What says the same here as keywords of sbatch, dask-jobqueue, submitit, Optuna, Ray Tune, joblib
# and SciPy. Each part between semicolons begins with an option and a value without blanks.
_INSTEAD = {
    "n_trials=100": "max_evals max_iter max_trials maxiter n_calls n_iter num_samples num_trials",
    "n_seeds=1000": "n_repeats n_replicates n_replications num_seeds repeats replicates",
    "random_seed=1 for the sampler; n_seeds=1000 for the seeds of each trial": (
        "random_state rng seed"
    ),
    "chunk_size=100": "batch_size",
    "workers=40": "max_workers n_processes n_workers num_workers",
    "workers=40 for processes here or jobs on Slurm; max_concurrent_trials=4 for trials at once": (
        "jobs n_jobs"
    ),
    "max_concurrent_trials=4": "max_concurrent",
    "cluster='slurm' or a Dask cluster, client or address": "address backend client executor",
    "sampler='tpe'": "algo algorithm optimizer search_alg",
    "direction='minimize'": "directions",
    "overrides={'x':0.3}": "fixed fixed_params",
    "trial_zero={'x':0.3}": "init initial_params x0",
    "enqueue=manual([{'x':0.3}])": "points_to_evaluate",
    "fail_on_chunk_error=False to go on after a trial that fails": (
        "catch fail_fast raise_on_failed_trial"
    ),
    "trial_retry_attempts=1": "max_failures max_retries n_retries retries",
    "timeout=3600 for the run; chunk_timeout_seconds=60 for a chunk": (
        "max_time time_budget_s timeout_s"
    ),
    "progress=False": "progress_bar progress_reporter show_progress_bar verbose",
    "run_root='runs'": "directory folder local_dir log_dir output_dir storage_path",
    "run_name='fit'; run_name_prefix='fit'": "experiment_name job_name name study_name",
    "run_name='fit' of a run that exists; run_name_prefix='fit' of a run that exists": (
        "load_if_exists restore"
    ),
    "worker_time_limit='02:00:00'": "time time_limit time_min timeout_min walltime",
    "mem_per_cpu='2G'": "mem mem_gb memory",
    "cpus_per_task=4": "cores cpus n_cpus ncpus",
    "cpus_per_task=4 with mem_per_cpu": "resources resources_per_trial",
    "slurm_qos='short'": "qos",
    "array_parallelism_limit=50": "array_parallelism",
    "entry_ids=['anna'] for all of them; entry_id='anna' for one of them": "entries",
    "partition='cpu'": "queue slurm_partition",
    "account='lab'": "project slurm_account",
    "extra_directives=['--{flag}=...']": (
        "constraint dependency exclude gpus gpus_per_node gpus_per_task gres hint licenses "
        "mail_type mail_user nice nodelist nodes reservation"
    ),
    "extra_directives=['--exclusive']": "exclusive",
    "extra_directives=[...]": "job_extra job_extra_directives slurm_additional_parameters",
    "prologue=[...]": "env_extra job_script_prologue modules setup slurm_setup",
    "python='/path/to/python'": "interpreter slurm_python",
}

_SAID = {
    "a trial is not stopped early: it is evaluated on all its seeds.": (
        "early_stopping pruner scheduler stop stopper"
    ),
    "no function of yours is called during a run. Its progress is in run_status(run_dir), and its "
    "trials are in the result.": "callback callbacks",
    "a run keeps all that it finds in its folder in run_root; result.study() opens the study.": (
        "storage"
    ),
    "there is nothing to set: trials are evaluated in other processes.": "gc_after_trial",
    "it belongs to the loss: @loss({name}=...).": "description seed_start vectorized",
    "it belongs to the loss: @loss(parameter_space={{...}}).": (
        "bounds config param_space parameter_space parameters params search_space space"
    ),
    "the function to minimise is the first argument, and its value is what counts.": (
        "func function metric objective"
    ),
    "optimize_entries takes it.": "entry_ids max_concurrent_entries run_name_prefix",
    "run_sweep takes it.": "source trial_nums",
}

# Flags of sbatch of one letter.
_LETTERS = {
    "A": "account",
    "C": "constraint",
    "G": "gpus",
    "N": "nodes",
    "c": "cpus_per_task",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}

# The same of the functions that describe a loss and the cases of a sweep, and how each is called;
# one without a table has that of all.
_FUNCTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "SlurmOptions": ("SlurmOptions(partition='cpu')", {}),
    "search_param": (
        "search_param(range=(1, 2)) or search_param(allowed=['x', 'y'])",
        {
            "range=(0, 1)": "bounds high interval low lower max min upper",
            "allowed=['x', 'y']": "categories choice choices options values",
            "dtype='int'": "kind type",
            "log=True": "log_scale logscale scale",
            "step=0.5": "increment q resolution",
        },
    ),
    "loss": (
        "@loss(name='walk', description='where it ends', parameter_space={'x': (0, 1)})",
        {
            "parameter_space={'x': (0, 1)}": (
                "bounds config param_space parameters params search_space space"
            ),
            "description='where it ends'": "desc doc help",
            "seed_start=0": "first_seed seed",
            "vectorized=True": "batch batched vectorise vectorised vectorize",
        },
    ),
    "GridSource": ("grid(a=[1, 2])", {}),
    "RandomSource": (
        "random({'a': uniform(0, 1)}, n_trials=5, seed=1)",
        {
            "n_trials=5, seed=1": "count n n_cases n_points n_samples num_samples num_trials size",
            "seed=1": "random_seed random_state rng",
            "space={'a': uniform(0, 1)}": "distributions parameter_space search_space",
        },
    ),
    "ManualSource": (
        "manual([{'a': 1}, {'a': 2}])",
        {"cases=[{'a': 1}, {'a': 2}]": "params points trials values"},
    ),
}

_FEW = 10

# By each word, and by the option itself, which others may not have.
_USE = {parts.partition("=")[0]: parts for parts in reversed(_INSTEAD)} | _by_word(_INSTEAD)
_SAY = _by_word(_SAID)


def refuse_unknown(names: Iterable[str], known: Sequence[str], of_slurm: Sequence[str]) -> None:
    """Raise UnknownOptionError for the first name that is not known, or is of `slurm`."""
    for name in names:
        if name not in known:
            raise UnknownOptionError(name, known, _hint(name, known, of_slurm))


def hinted(function: F) -> F:
    """Have one of `_FUNCTIONS` say what to write instead of an argument that it does not take."""
    example, table = _FUNCTIONS[function.__qualname__.removesuffix(".__init__")]
    use = _by_word(table)
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    known = [one.name for one in parameters if one.name != "self"]
    n_by_place = sum(one.kind <= one.POSITIONAL_OR_KEYWORD for one in parameters)

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        if len(args) > n_by_place:
            raise UnknownOptionError(None, known, f"{shown(args[n_by_place])}. Write {example}.")
        for name in () if takes_any else keywords:
            if name not in known:
                otherwise = _nearest if use else _hint
                hint = f"use {use[name]}." if name in use else otherwise(name, known)
                raise UnknownOptionError(name, known, hint)
        return function(*args, **keywords)

    return cast("F", call)


def _options_for(name: str) -> list[str]:
    """Return what to use instead of a name, each with a value; nothing if that is unknown."""
    parts = _USE.get(name, "").replace("{flag}", name.replace("_", "-"))
    return parts.split("; ") if parts else []


def _hint(name: str, known: Sequence[str], of_slurm: Sequence[str] = ()) -> str:
    if name in _SAY:
        return _SAY[name].format(name=name)
    parts, found = _options_for(name), []
    for part in parts or [f"{name}=..."]:
        option = part.partition("=")[0]
        if option in of_slurm:
            found.append(re.sub(r"^\S+", r"slurm=SlurmOptions(\g<0>)", part))
        elif option in known:
            found.append(part)
    if found:
        return f"use {', or '.join(found)}."
    if not parts:
        return _nearest(name, known, of_slurm)
    if of_slurm:
        return "a sweep takes its points from its source, and goes on after a case that fails."
    return f"SlurmOptions does not have it: give the function {parts[0]}."


def _nearest(name: str, known: Sequence[str], of_slurm: Sequence[str] = ()) -> str:
    close = difflib.get_close_matches(name, [*known, *of_slurm], n=1)
    if close:
        wanted = f"slurm=SlurmOptions({close[0]}=...)" if close[0] in of_slurm else repr(close[0])
        return f"did you mean {wanted}?"
    if len(known) <= _FEW:
        return f"known are {', '.join(known)}."
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0)
    return f"nearest are {', '.join(nearest)}; help() of the function shows all {len(known)}."


def key_hint(key: str, known: Sequence[str], of_slurm: Sequence[str]) -> str:
    """Return which of the `known` options to use instead of a key in a file of options."""
    hint = _hint(key, known, of_slurm)
    return re.sub(r"slurm=SlurmOptions\((.+?=.*?)\)(?=[.?]|, or )", r"\1 in [slurm]", hint)


def flag_hint(flag: str, value: str | None, known: Collection[str]) -> str:
    """Return which of the `known` options to use instead of a flag with what seems its value."""
    name = flag.lstrip("-").replace("-", "_")
    name = _LETTERS.get(name, name)
    if name in _SAY:
        return _SAY[name].format(name=name)
    parts = _options_for(name)
    found = [_as_flag(part, value) for part in parts if part.partition("=")[0] in known]
    # A command may have another word of the group, as submit does.
    others = _INSTEAD.get(_USE.get(name, ""), "").split()
    found = found or [f"--{word}" for word in others if word in known]
    if found and name not in known:
        return f"use {', or '.join(found)}."
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean --{close[0].replace('_', '-')}?"
    if "slurm_qos" in known:
        return f"{_OF_SBATCH}--gres=gpu:1; --help lists all options."
    return f"{_OF_SBATCH}--qos=urgent; what is for the script goes after it."


_OF_SBATCH = "an option of sbatch goes into --extra-directives, as in --extra-directives="


def _as_flag(part: str, value: str | None) -> str:
    """Return an option and its value in Python, with words after it, as on a command line."""
    option, _, rest = part.partition("=")
    name = option.replace("_", "-")
    text, blank, words = rest.partition(" ")
    example = ast.literal_eval(re.sub(r"^manual\((.*)\)$", r"\1", text))
    if isinstance(example, bool):
        return f"--{'' if example else 'no-'}{name}{blank}{words}"
    if isinstance(example, list):
        example = example[0]
    if isinstance(example, dict):
        example = shlex.quote(json.dumps(example))
    given = "..." if value is None else shlex.quote(value)
    shown = "..." if example is ... else str(example)
    return f"--{name}={shown.replace('...', given)}{blank}{words}"

"""The options of a run: each defined once.

A field of `RunOptions` holds the keyword's name, type, default, unit, check and description.
`keyword_docs` and `keyword_signature` make the public function's documentation and signature from
them; there is no second list.
"""

from __future__ import annotations

import enum
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import OptionError

__all__ = [
    "SAMPLERS",
    "ExecutionMode",
    "RunOptions",
    "SlurmOptions",
    "execution_mode",
    "keyword_docs",
    "keyword_signature",
]

SAMPLERS = ("tpe", "random", "qmc", "cmaes", "gp", "nsgaii")


class ExecutionMode(enum.Enum):
    """Where a run's work is done: on this machine, or as Slurm jobs."""

    SINGLE = "single"
    DISTRIBUTED = "distributed"


def execution_mode(mode: str) -> ExecutionMode:
    """Turn ``"single"`` or ``"distributed"`` into an `ExecutionMode`.

    Parameters
    ----------
    mode : {"single", "distributed"}
        The mode's name, in any case.

    Returns
    -------
    ExecutionMode
        The mode.

    Raises
    ------
    OptionError
        If it is neither; a ValueError.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.execution_mode("single")
    <ExecutionMode.SINGLE: 'single'>
    """
    try:
        return ExecutionMode(str(mode).lower())
    except ValueError:
        raise OptionError("mode", mode, "'single' or 'distributed'") from None


Check = Callable[[str, Any], None]


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(name, value, "a whole number")


def _positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise OptionError(name, value, "a whole number above 0")


def _not_negative(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OptionError(name, value, "a whole number, 0 or above")


def _positive_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise OptionError(name, value, "a finite number above 0")


def _truth(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise OptionError(name, value, "True or False")


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise OptionError(name, value, "a non-empty string, or None")


def _folder_name(name: str, value: Any) -> None:
    _text(name, value)
    if value in (".", "..") or Path(value).name != value:
        raise OptionError(name, value, "the name of a folder, without a path")


def _memory(name: str, value: Any) -> None:
    digits = value.rstrip("KMGTkmgtBb") if isinstance(value, str) else ""
    if not digits.isdecimal() or int(digits) == 0:
        raise OptionError(name, value, "a whole number with K, M, G or T, such as '2G'")


def _walltime(name: str, value: Any) -> None:
    if not isinstance(value, timedelta) or value.total_seconds() <= 0:
        raise OptionError(name, value, "a datetime.timedelta above 0, such as timedelta(hours=2)")


def _direction(name: str, value: Any) -> None:
    if value not in ("minimize", "maximize"):
        raise OptionError(name, value, "'minimize' or 'maximize'")


def _sampler(name: str, value: Any) -> None:
    known = f"{', '.join(map(repr, SAMPLERS))}, or an Optuna sampler"
    if isinstance(value, str) and value not in SAMPLERS:
        raise OptionError(name, value, known)
    if not isinstance(value, str) and not hasattr(value, "sample_relative"):
        raise OptionError(name, value, known)


def _cluster(name: str, value: Any) -> None:
    known = "None, 'local', 'slurm', a Dask cluster, a Dask client, or a scheduler's address"
    if isinstance(value, str):
        if value not in ("local", "slurm") and ":" not in value:
            raise OptionError(name, value, known)
    elif not hasattr(value, "scheduler_info"):
        raise OptionError(name, value, known)


def _workers(name: str, value: Any) -> None:
    bounds = value if isinstance(value, tuple) else (value, value)
    whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
    if len(bounds) != 2 or not whole or not 0 <= bounds[0] <= bounds[1] or bounds[1] < 1:
        raise OptionError(
            name, value, "a whole number above 0, or (min, max) with 0 <= min <= max and max above 0"
        )


def _slurm(name: str, value: Any) -> None:
    if not isinstance(value, SlurmOptions):
        raise OptionError(name, value, "a SlurmOptions, or None")


def _mode(value: Any) -> ExecutionMode:
    return value if isinstance(value, ExecutionMode) else execution_mode(value)


def _strings(value: Any) -> tuple[str, ...] | None:
    return None if value is None else (value,) if isinstance(value, str) else tuple(value)


def option(
    default: Any,
    type_: str,
    doc: str,
    check: Check | None = None,
    convert: Callable[[Any], Any] | None = None,
) -> Any:
    """Define an option: its default, type, description and check in one place."""

    def validate(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if check is not None and not (value is None and default is None):
            check(field.name, value)

    return attrs.field(
        default=default,
        validator=validate,
        converter=convert,
        metadata={"type": type_, "doc": doc},
    )


@attrs.frozen(kw_only=True)
class SlurmOptions:
    """What a Slurm job needs beyond `optimize_run`'s own keywords.

    What is None falls back to Dask's configuration (``jobqueue.slurm.*``: site files,
    ``DASK_JOBQUEUE__SLURM__...`` variables), and then to Slurm's own default.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.SlurmOptions(partition="cpu", prologue=["module load python"]).partition
    'cpu'
    """

    partition: str | None = option(None, "str", "Partition (``sbatch -p``).", _text)
    account: str | None = option(None, "str", "Account (``sbatch -A``).", _text)
    interface: str | None = option(
        None, "str", "Network interface that jobs and login node share, such as 'ib0'.", _text
    )
    extra_directives: tuple[str, ...] | None = option(
        None, "sequence of str", "More ``#SBATCH`` options, such as '--gres=gpu:1'.", None, _strings
    )
    prologue: tuple[str, ...] | None = option(
        None, "sequence of str", "Lines of shell that a job runs first.", None, _strings
    )
    python: str | None = option(
        None, "str", "Python interpreter of the jobs; None is the one that runs this.", _text
    )
    local_directory: str | None = option(
        None, "str", "Folder on the nodes for the workers' temporary files.", _text
    )


@attrs.frozen(kw_only=True)
class RunOptions:
    """The options of a run, checked when they are made.

    `optimize_run` documents them; its documentation is made from the fields.
    """

    n_trials: int = option(10, "int", "Number of trials.", _positive)
    seeds: Iterable[int] | None = option(
        None, "iterable of int", "Exactly these seeds in this order; goes before `n_seeds`."
    )
    n_seeds: int | None = option(
        None,
        "int",
        "Seeds of a trial, from the loss's `seed_start` on. None is ``chunk_size * num_chunks``.",
        _positive,
    )
    chunk_size: int | None = option(
        None,
        "int",
        "Seeds in a chunk, which is one Dask task. It changes how fast a run is, never its "
        "result. None is 100, or what gives `num_chunks`.",
        _positive,
    )
    num_chunks: int | None = option(
        None,
        "int",
        "Chunks in a trial. None is what `chunk_size` gives, or 10 where no seeds are given.",
        _positive,
    )
    random_seed: int = option(
        123, "int", "Seed of the sampler; an Optuna sampler that you pass has its own.", _not_negative
    )
    entry_id: str | None = option(
        None, "str", "Participant, condition or data set; the loss sees it in `context`.", _text
    )
    direction: str = option("minimize", "{'minimize', 'maximize'}", "What is best.", _direction)
    mode: ExecutionMode = option(
        ExecutionMode.SINGLE,
        "ExecutionMode or str",
        "'single' is a LocalCluster, 'distributed' a SLURMCluster. `cluster` says the same, and "
        "more.",
        None,
        _mode,
    )
    run_root: Path = option("runs", "str or Path", "Folder that holds the run folders.", None, Path)
    run_name: str | None = option(
        None,
        "str",
        "Name of the run's folder. None is the loss's name and the next free number.",
        _folder_name,
    )
    loss_module: str | None = option(
        None,
        "str",
        "Module, or path of a .py file, that the workers import to find the loss by its name. "
        "None sends them the function itself.",
        _text,
    )
    slurm_poll_seconds: int = option(
        15, "int", "Seconds between looks at the state of the Slurm jobs.", _positive
    )
    slurm_timeout_minutes: int = option(
        120,
        "int",
        "Minutes that a trial may run on Slurm, from its first chunk's start; waiting in the "
        "queue does not count. A trial that takes longer has failed.",
        _positive_number,
    )
    cpus_per_task: int = option(1, "int", "CPUs of a Slurm job.", _positive)
    mem_per_cpu: str = option("2G", "str", "Memory of a Slurm job for each CPU.", _memory)
    max_concurrent_trials: int = option(
        1,
        "int",
        "Trials in flight at once, k. Trial n is asked for when exactly the trials up to n - k "
        "are told, so k is part of what decides the result.",
        _positive,
    )
    array_parallelism_limit: int | None = option(
        None, "int", "Most Slurm jobs at once. None is no limit beyond `workers`.", _positive
    )
    worker_parallelism: int = option(
        1,
        "int",
        "Seeds that run at once in one worker, in threads, or in processes with "
        "`use_processes`. Of a vectorized loss it is chunks.",
        _positive,
    )
    worker_time_limit: timedelta = option(
        timedelta(hours=2), "timedelta", "Walltime of a Slurm job.", _walltime
    )
    slurm_qos: str | None = option(
        "short",
        "str or None",
        "QoS of the Slurm jobs. It is left out, with a warning, where Slurm refuses it for this "
        "account. None asks for none.",
        lambda name, value: None if value is None else _text(name, value),
    )
    trial_retry_attempts: int = option(
        1,
        "int",
        "How many more times a chunk is evaluated that failed, before its trial has failed.",
        _not_negative,
    )
    fail_on_chunk_error: bool = option(
        True,
        "bool",
        "Stop the run at a trial that failed, with the loss's own traceback. With False the trial "
        "is marked FAIL and the run goes on.",
        _truth,
    )
    use_processes: bool = option(
        False,
        "bool",
        "Run a worker's seeds in processes, not threads: for a loss of pure Python, which threads "
        "can't run at once.",
        _truth,
    )
    forward_sys_argv_to_workers: bool = option(
        True, "bool", "Give the workers this process's ``sys.argv`` while they import.", _truth
    )
    cluster: Any = option(
        None,
        "None, 'local', 'slurm', Cluster, Client or str",
        "Where the work runs. None is what `mode` says. A Dask cluster, client or scheduler "
        "address is used as it is, and neither closed nor scaled.",
        _cluster,
    )
    workers: int | tuple[int, int] | None = option(
        None,
        "int or (min, max)",
        "Workers, or bounds between which their number follows the work. A worker is a process "
        "here and a job on Slurm. None is as many as the chunks in flight can use, and at most "
        "the CPUs here, or 100 jobs.",
        _workers,
    )
    sampler: Any = option(
        "tpe",
        "str or optuna.samplers.BaseSampler",
        f"Sampler: {', '.join(map(repr, SAMPLERS))}, or an Optuna sampler of your own.",
        _sampler,
    )
    timeout: float | None = option(
        None,
        "float",
        "Seconds after which no further trial is asked for; those in flight are finished.",
        _positive_number,
    )
    progress: bool = option(True, "bool", "A line on stderr for each trial.", _truth)
    slurm: SlurmOptions | None = option(
        None, "SlurmOptions", "Partition, account and the like.", _slurm
    )

    #: Keywords that the call gave, in difference to those left at their default.
    given: frozenset[str] = attrs.field(default=frozenset(), init=False, repr=False)

    @classmethod
    def from_keywords(cls, keywords: dict[str, Any]) -> RunOptions:
        """Make options from a call's keywords, and remember which were given.

        Raises
        ------
        TypeError
            If there is no such keyword.
        OptionError
            If a value is not allowed, or two contradict each other.
        """
        known = [field.name for field in _keywords(cls)]
        unknown = sorted(set(keywords) - set(known))
        if unknown:
            msg = f"unknown keyword {unknown[0]!r}; known are: {', '.join(known)}"
            raise TypeError(msg)
        options = cls(**keywords)
        object.__setattr__(options, "given", frozenset(keywords))
        options._check_mode_against_cluster()
        return options

    @property
    def place(self) -> Any:
        """What `cluster` and `mode` say together: 'local', 'slurm', or what the caller passed."""
        if self.cluster is not None:
            return self.cluster
        return "local" if self.mode is ExecutionMode.SINGLE else "slurm"

    def _check_mode_against_cluster(self) -> None:
        means = {"local": ExecutionMode.SINGLE, "slurm": ExecutionMode.DISTRIBUTED}
        if "mode" not in self.given or not isinstance(self.cluster, str):
            return
        if means.get(self.cluster, self.mode) is not self.mode:
            raise OptionError(
                "cluster",
                self.cluster,
                f"in line with mode={self.mode.value!r}",
                "mode='single' is cluster='local', mode='distributed' is cluster='slurm'; give one "
                "of the two.",
            )


def _keywords(options: type) -> list[attrs.Attribute[Any]]:
    return [field for field in attrs.fields(options) if field.init]


def keyword_docs(options: type) -> str:
    """Return the numpydoc entries of a class of options."""
    entries = []
    for field in _keywords(options):
        default = field.default
        if isinstance(default, enum.Enum):
            default = default.value
        shown = "optional" if default is None else f"default {default!r}"
        text = textwrap.fill(field.metadata["doc"], 92)
        entries.append(f"{field.name} : {field.metadata['type']}, {shown}\n{_indent(text)}")
    return "\n".join(entries)


def keyword_signature(options: type, first: inspect.Parameter, returns: Any) -> inspect.Signature:
    """Return the signature of a function that takes `first` and a class's options as keywords."""
    keywords = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for field in _keywords(options)
    ]
    return inspect.Signature([first, *keywords], return_annotation=returns)


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")

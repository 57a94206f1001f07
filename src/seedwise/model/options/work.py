"""The options that all runs have: seeds, chunks, workers, and how a run is resumed."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs

from seedwise.errors import OptionError
from seedwise.model.options import checks
from seedwise.model.options.fields import Group, Options, keyword_names, options_class
from seedwise.model.options.hints import refuse_unknown
from seedwise.model.options.slurm import SlurmOptions, from_dict, slurm_options
from seedwise.model.slurm_time import as_timedelta, walltime
from seedwise.model.space import ParamValue, as_tuple

_DIRECTION = "direction='minimize' or 'maximize' says which mean loss is best."
_MODE_HINTS = {
    **dict.fromkeys(("min", "max", "minimize", "maximize"), _DIRECTION),
    "slurm": "Write mode='distributed', or cluster='slurm'.",
    "local": "Write mode='single', or cluster='local'.",
}


class ExecutionMode(enum.Enum):
    """Where a run's work is done: on this machine, or as Slurm jobs."""

    SINGLE = "single"
    DISTRIBUTED = "distributed"


def execution_mode(mode: str | ExecutionMode) -> ExecutionMode:
    """Turn ``"single"`` or ``"distributed"`` into an `ExecutionMode`.

    Parameters
    ----------
    mode : {"single", "distributed"} or ExecutionMode
        The mode's name, in upper or lower case; an `ExecutionMode` is returned as it is.

    Returns
    -------
    ExecutionMode
        The mode.

    Raises
    ------
    OptionError
        If it is neither; it is a ValueError.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.execution_mode("single")
    <ExecutionMode.SINGLE: 'single'>
    """
    if isinstance(mode, ExecutionMode):
        return mode
    try:
        return ExecutionMode(str(mode).lower())
    except ValueError:
        hint = _MODE_HINTS.get(str(mode).lower(), "")
        raise OptionError("mode", mode, "'single' or 'distributed'", hint) from None


@options_class
class WorkOptions(Options):
    """The options that all runs have, checked when they are made."""

    #: The kind of a run with these options, as its files name it.
    kind: ClassVar[str]
    #: The keyword that names the run's folder.
    name_keyword: ClassVar[str] = "run_name"
    #: What follows the loss's name if that keyword is not given.
    name_suffix: ClassVar[str] = ""
    usual: ClassVar[Sequence[str]] = (
        *("entry_ids", "n_trials", "n_seeds", "workers", "cluster", "mode", "sampler"),
    )

    n_seeds: int | None = Group.LENGTH.option(
        "Number of seeds, from the loss's `seed_start` on. None is ``chunk_size * num_chunks``, "
        "with 100 and 10 for what is not given.",
        default=None,
    )
    workers: int | tuple[int, int] | None = Group.PLACE.option(
        "Number of workers, or bounds within which it follows the work. A worker is a process "
        "here, and a job on Slurm. None is as many as the chunks in flight can use, within the "
        "CPUs here, or 100 jobs on Slurm. On the command line 4 or 4:100.",
        checks.workers,
        type="int or (min, max)",
        default=None,
        parse=checks.bounds,
        from_toml=as_tuple,
        from_json=as_tuple,
    )
    cluster: Any = Group.PLACE.option(
        "Where the work runs. None is what `mode` says. A Dask cluster, client or scheduler "
        "address is used as it is: it is neither closed nor scaled.",
        checks.cluster,
        type="None, 'local', 'slurm', Cluster, Client or str",
        default=None,
    )
    mode: ExecutionMode | str = Group.PLACE.option(
        "'single' is a LocalCluster, 'distributed' a SLURMCluster. `cluster` says the same, and "
        "can say more.",
        None,
        execution_mode,
        type="ExecutionMode or str",
        default=ExecutionMode.SINGLE,
        choices=[mode.value for mode in ExecutionMode],
        to_json=lambda mode: execution_mode(mode).value,
        from_json=execution_mode,
    )
    direction: str = Group.SEARCH.option(
        "Which mean loss is best.",
        checks.direction,
        type="{'minimize', 'maximize'}",
        default="minimize",
        choices=checks.DIRECTIONS,
    )
    overrides: Mapping[str, ParamValue] | None = Group.SEARCH.option(
        "Parameters that are held at a value, by name; the value may lie outside of the range. On "
        "the command line JSON.",
        checks.named_values,
        type="dict",
        default=None,
        parse=checks.json_value,
    )
    trial_zero: Mapping[str, ParamValue] | None = Group.SEARCH.option(
        "Params of trial 0, such as the nominal ones. In an optimisation the sampler chooses "
        "those that are not named. On the command line JSON.",
        checks.named_values,
        type="dict",
        default=None,
        parse=checks.json_value,
    )
    seeds: Iterable[int] | None = Group.LENGTH.option(
        "Exactly these seeds in this order; overrides `n_seeds`. On the command line 3,1,2.",
        type="iterable of int",
        default=None,
        parse=checks.integers,
    )
    chunk_size: int | None = Group.PLACE.option(
        "Seeds in a chunk, which is one Dask task, and one call of a vectorized loss. It changes "
        "the speed of a run, and last bits only where a vectorized loss mixes its seeds. None is "
        "a size that follows what seeds take, with 100 in a call; in a sweep it is 100, or what "
        "gives `num_chunks`.",
        default=None,
    )
    num_chunks: int | None = Group.PLACE.option(
        "Chunks in a trial. None is what `chunk_size` gives.", default=None
    )
    run_root: str | Path = Group.FILES.option(
        "Folder that holds the run folders.",
        checks.folder,
        lambda value: Path(value) if isinstance(value, str) else value,
        type="str or Path",
        default="runs",
    )
    timeout: float | None = Group.LENGTH.option(
        "Seconds after which no trial or validation round begins; those that began are finished.",
        default=None,
    )
    progress: bool = Group.FILES.option(
        "Show the progress on stderr, or in a notebook.", default=True
    )
    resume: str | None = Group.FILES.option(
        "'auto' resumes the newest run of this loss in `run_root` if that is not finished, where "
        "no name is given. None begins a new run then, and says that there is one to resume.",
        checks.resume,
        type="None or 'auto'",
        default=None,
        choices=["auto"],
    )
    accept_changes: bool = Group.FILES.option(
        "Resume a run even if options that decide its results were changed.", default=False
    )
    retry_failed: bool = Group.FAILURES.option(
        "Resume a run and evaluate its failed trials again, all seeds of each, under their number "
        "and at their params.",
        default=False,
    )
    take_over: bool = Group.FILES.option(
        "Take over a run whose driver, on another machine, is gone: wait until it has been silent "
        "for five minutes.",
        default=False,
    )
    clean_run_dir: bool = Group.FILES.option(
        "Remove what an earlier run left in the run's folder, and begin anew. On a terminal it "
        "asks first; elsewhere it is refused without `assume_yes`. It can't be combined with "
        "resuming a run.",
        default=False,
    )
    assume_yes: bool = Group.FILES.option(
        "Answer yes to what would be asked on a terminal.", default=False, flag="yes"
    )
    trial_retry_attempts: int = Group.FAILURES.option(
        "How many more times the chunk of a failed seed is evaluated, before its trial fails.",
        checks.not_negative,
        default=1,
    )
    chunk_timeout_seconds: float | None = Group.FAILURES.option(
        "Seconds that a chunk may take; one that takes longer fails its trial. With a limit, "
        "seeds run in processes, as with `use_processes`, so that a chunk can be ended. None is "
        "no limit.",
        default=None,
    )
    slurm_timeout_minutes: float = Group.FAILURES.option(
        "Minutes that a trial may run on Slurm, from the start of its first chunk; waiting in the "
        "queue does not count. If a trial takes longer, its chunks have failed, and are tried "
        "again as `trial_retry_attempts` says. The default is not a limit: a trial that takes "
        "longer is only reported.",
        default=120,
    )
    worker_parallelism: int = Group.PLACE.option(
        "Seeds that run at once in one worker, in threads, or in processes with "
        "`use_processes`. For a vectorized loss it counts chunks.",
        default=1,
    )
    use_processes: bool = Group.PLACE.option(
        "Run a worker's seeds in processes, not threads: for a loss in pure Python, which threads "
        "can't run in parallel.",
        default=False,
    )
    loss_module: str | None = Group.PLACE.option(
        "Module, or path of a .py file, that the workers import to find the loss by its name. "
        "None is the loss's own file; a function that has none is sent itself.",
        default=None,
    )
    self_check: bool = Group.PLACE.option(
        "Have workers and the driver evaluate the first seed of the first trial, and compare: the "
        "run does not begin if their losses differ, or differ from the recorded one of a run that "
        "is resumed.",
        default=True,
    )
    forward_sys_argv_to_workers: bool = Group.PLACE.option(
        "Give the workers this process's ``sys.argv`` while they import.", default=True
    )
    insecure: bool = Group.PLACE.option(
        "Open connections and pages without TLS and token: anyone who can reach this machine "
        "could run code as you. Only for a network that is yours alone. It does not change a "
        "cluster that you pass.",
        default=False,
    )
    slurm: SlurmOptions | Mapping[str, Any] | None = Group.JOBS.option(
        "Partition, account and other settings of Slurm jobs; it has no effect elsewhere. A dict "
        "has the fields of a SlurmOptions.",
        slurm_options,
        from_dict,
        type="SlurmOptions or dict",
        default=None,
        to_json=attrs.asdict,
        from_json=lambda fields: SlurmOptions(**fields),
    )
    worker_time_limit: timedelta | str = Group.JOBS.option(
        "Walltime of a Slurm job. Text is read as Slurm reads it: '02:00:00' and '0-2' are two "
        "hours, '90' is 90 minutes.",
        checks.walltime,
        as_timedelta,
        type="timedelta or str",
        default=timedelta(hours=2),
        parse=walltime,
        to_json=timedelta.total_seconds,
        from_json=lambda seconds: timedelta(seconds=seconds),
    )
    cpus_per_task: int = Group.JOBS.option("CPUs of a Slurm job.", default=1)
    mem_per_cpu: str = Group.JOBS.option(
        "Memory of a Slurm job for each CPU.", checks.memory, default="2G"
    )
    slurm_qos: str | None = Group.JOBS.option(
        "QoS of the Slurm jobs. If Slurm refuses it for this account, it is left out, with a "
        "note. None asks for no QoS.",
        lambda name, value: None if value is None else checks.text(name, value),
        type="str or None",
        default="short",
    )
    array_parallelism_limit: int | None = Group.JOBS.option(
        "Largest number of Slurm jobs at once. None is no limit beyond `workers`.", default=None
    )
    slurm_poll_seconds: int = Group.JOBS.option(
        "Seconds between checks for trials that run for too long and for refused jobs.", default=15
    )

    #: The keywords that the call gave; the others have their default.
    given: frozenset[str] = attrs.field(default=frozenset(), init=False, repr=False)

    @classmethod
    def from_keywords(cls, keywords: dict[str, Any]) -> Self:
        """Make options from a call's keywords, and remember which were given."""
        refuse_unknown(keywords, keyword_names(cls), keyword_names(SlurmOptions))
        options = cls(**keywords)
        object.__setattr__(options, "given", frozenset(keywords))
        mode = execution_mode(options.mode)
        other = "slurm" if mode is ExecutionMode.SINGLE else "local"
        if "mode" in keywords and options.cluster == other:
            hint = (
                "mode='single' is cluster='local', mode='distributed' is cluster='slurm'; give "
                "one of the two."
            )
            raise OptionError("cluster", other, f"in line with mode={mode.value!r}", hint)
        return options

    @property
    def place(self) -> Any:
        """Where the work runs: 'local', 'slurm', or what the caller passed as `cluster`."""
        if self.cluster is not None:
            return self.cluster
        return "local" if self.mode is ExecutionMode.SINGLE else "slurm"

    @property
    def slurm_settings(self) -> SlurmOptions:
        """What `slurm` says, with None for what it leaves out."""
        return self.slurm if isinstance(self.slurm, SlurmOptions) else SlurmOptions()

    @property
    def trial_limit_s(self) -> float | None:
        """Seconds after which a trial fails on Slurm; None if nobody chose a limit."""
        is_chosen = "slurm_timeout_minutes" in self.given and self.place == "slurm"
        return self.slurm_timeout_minutes * 60 if is_chosen else None

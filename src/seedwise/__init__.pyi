import collections.abc
import datetime
import pathlib
import typing

import attrs

from .api.control import clean_run, connect
from .api.look import open_run, replay_seed, run_status
from .api.resume import resume_run
from .driver.replay import Replayed
from .errors import (
    AddressError,
    AllEntriesFailedError,
    CaseIndexError,
    ChangedRunError,
    CheckFailedError,
    ChunkTooLongError,
    CleanRefusedError,
    ClusterError,
    ClusterStartError,
    DamagedFileError,
    EntryOfARunError,
    ForeignCodeError,
    JobNeverStartsError,
    KeyFolderError,
    LeaseLostError,
    LedgerMismatchError,
    LossDefinitionError,
    LossFailedError,
    LossNotFoundError,
    LossSignatureError,
    LossTransportError,
    LossValueError,
    MainGuardError,
    MissingExtraError,
    NestedDriverError,
    NoCompleteTrialError,
    NoDriverError,
    NotALossError,
    NotAnsweredError,
    NotARunError,
    NotYourRunError,
    OptionError,
    PreflightError,
    RequestRefusedError,
    RunExistsError,
    RunFileError,
    RunLockedError,
    RunStopped,
    SeedwiseError,
    SelfCheckError,
    SlurmNotFoundError,
    SnapshotError,
    SourceError,
    SpaceError,
    StudyFileError,
    SubmitRefusedError,
    TrialDirError,
    UnknownOptionError,
    WorkersFailedError,
)
from .model.check_report import CheckReport
from .model.loss import LossDefinition, loss
from .model.options.mode import ExecutionMode, execution_mode
from .model.options.race import Race
from .model.sources import (
    GridSource,
    ManualSource,
    ParamCase,
    ParameterSource,
    RandomSource,
    grid,
    manual,
    source_from_manifest,
)
from .model.sources import random as random  # not in __all__: Python has one of its own
from .model.sources.distributions import (
    Choice,
    LogUniform,
    LogUniformInt,
    RandInt,
    Uniform,
    choice,
    loguniform,
    loguniform_int,
    randint,
    uniform,
)
from .model.space import SearchParam, search_param
from .model.statistics import Comparison
from .model.status import PoolStatus, RunStatus
from .model.trials import TrialResult, TrialState
from .model.validation import ValidatedTrial, Validation
from .results.cleaned import CleanedRun
from .results.entries import MultiOptimizeResult
from .results.handle import RunHandle
from .results.study import OptimizeResult
from .results.sweep import SweepResult
from .slurm.limits.read import slurm_limits
from .slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)

if not typing.TYPE_CHECKING:  # lazy_loader finds them here, and checkers at the end of the file
    from .api.begin import optimize_entries, optimize_run, run_sweep
    from .api.check import check_run
    from .model.options.slurm import SlurmOptions

__version__: str

__all__ = [
    "AccountLimits",
    "AddressError",
    "AllEntriesFailedError",
    "CaseIndexError",
    "ChangedRunError",
    "CheckFailedError",
    "CheckReport",
    "Choice",
    "ChunkTooLongError",
    "CleanRefusedError",
    "CleanedRun",
    "ClusterError",
    "ClusterStartError",
    "Comparison",
    "DamagedFileError",
    "EntryOfARunError",
    "ExecutionMode",
    "ForeignCodeError",
    "GridSource",
    "JobNeverStartsError",
    "KeyFolderError",
    "LeaseLostError",
    "LedgerMismatchError",
    "LogUniform",
    "LogUniformInt",
    "LossDefinition",
    "LossDefinitionError",
    "LossFailedError",
    "LossNotFoundError",
    "LossSignatureError",
    "LossTransportError",
    "LossValueError",
    "MainGuardError",
    "ManualSource",
    "MissingExtraError",
    "MultiOptimizeResult",
    "NestedDriverError",
    "NoCompleteTrialError",
    "NoDriverError",
    "NodeKind",
    "NotALossError",
    "NotARunError",
    "NotAnsweredError",
    "NotYourRunError",
    "OptimizeResult",
    "OptionError",
    "ParamCase",
    "ParameterSource",
    "PartitionLimits",
    "PoolStatus",
    "PreflightError",
    "QosLimits",
    "Race",
    "RandInt",
    "RandomSource",
    "Replayed",
    "RequestRefusedError",
    "RunExistsError",
    "RunFileError",
    "RunHandle",
    "RunLockedError",
    "RunStatus",
    "RunStopped",
    "SearchParam",
    "SeedwiseError",
    "SelfCheckError",
    "SlurmLimits",
    "SlurmNotFoundError",
    "SlurmOptions",
    "SnapshotError",
    "SourceError",
    "SpaceError",
    "StudyFileError",
    "SubmitRefusedError",
    "SweepResult",
    "TrialDirError",
    "TrialResult",
    "TrialState",
    "Uniform",
    "UnknownOptionError",
    "ValidatedTrial",
    "Validation",
    "WorkersFailedError",
    "check_run",
    "choice",
    "clean_run",
    "connect",
    "execution_mode",
    "grid",
    "loguniform",
    "loguniform_int",
    "loss",
    "manual",
    "open_run",
    "optimize_entries",
    "optimize_run",
    "randint",
    "replay_seed",
    "resume_run",
    "run_status",
    "run_sweep",
    "search_param",
    "slurm_limits",
    "source_from_manifest",
    "uniform",
]

# Made by python -m tests.stub, from here on.

@attrs.frozen(kw_only=True)
class SlurmOptions:
    """What a Slurm job needs beyond `optimize_run`'s own keywords.

    An option that is None falls back to Dask's configuration (``jobqueue.slurm.*``, in site files
    or ``DASK_JOBQUEUE__SLURM__...`` variables), and then to Slurm's own default.

    Parameters
    ----------
    partition : str, optional
        Partition (``sbatch -p``).
    account : str, optional
        Account (``sbatch -A``).
    interface : str, optional
        Network interface of the nodes, such as 'ib0', over which they and this machine reach
        each other.
    scheduler_interface : str, optional
        The same of this machine, where its name is another. None is `interface`, or what the
        site's ``scheduler-options`` say.
    extra_directives : sequence of str, optional
        More ``#SBATCH`` options, such as '--gres=gpu:1', instead of the site's.
    prologue : sequence of str, optional
        Shell lines that a job runs first, instead of the site's.
    python : str or sequence of str, optional
        Python interpreter of the jobs, or a command that starts one, such as 'apptainer exec
        image.sif python'. Text is split as a shell does. Variables are those of the node. None
        is the interpreter that runs this.
    local_directory : str, optional
        Folder on the nodes for the workers' temporary files.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.SlurmOptions(partition="cpu", prologue=["module load python"]).partition
    'cpu'
    """

    partition: str | None = None
    account: str | None = None
    interface: str | None = None
    scheduler_interface: str | None = None
    extra_directives: collections.abc.Sequence[str] | None = None
    prologue: collections.abc.Sequence[str] | None = None
    python: str | collections.abc.Sequence[str] | None = None
    local_directory: str | None = None

def check_run(
    loss: LossDefinition,
    *,
    n_trials: int = 10,
    n_seeds: int | None = None,
    workers: int | tuple[int, int] | None = None,
    cluster: typing.Any = None,
    mode: ExecutionMode | str = ExecutionMode.SINGLE,
    sampler: typing.Any = "auto",
    run_name: str | None = None,
    entry_id: str | None = None,
    race: typing.Any = "auto",
    max_total_seeds: int | None = None,
    n_validation_seeds: int | None = None,
    n_validation_candidates: int = 8,
    random_seed: int = 123,
    max_concurrent_trials: int | None = None,
    enqueue: typing.Any = None,
    refine_search_factor: float | None = None,
    fail_on_chunk_error: bool = True,
    prune_failed_trials: bool = False,
    direction: str = "minimize",
    overrides: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    trial_zero: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    seeds: collections.abc.Iterable[int] | None = None,
    chunk_size: int | None = None,
    num_chunks: int | None = None,
    run_root: str | pathlib.Path = "runs",
    timeout: float | None = None,
    progress: bool = True,
    resume: str | None = None,
    accept_changes: bool = False,
    retry_failed: bool = False,
    take_over: bool = False,
    clean_run_dir: bool = False,
    assume_yes: bool = False,
    trial_retry_attempts: int = 1,
    chunk_timeout_seconds: float | None = None,
    slurm_timeout_minutes: float = 120,
    worker_parallelism: int = 1,
    use_processes: bool = False,
    loss_module: str | None = None,
    self_check: bool = True,
    forward_sys_argv_to_workers: bool = True,
    insecure: bool = False,
    slurm: SlurmOptions | collections.abc.Mapping[str, typing.Any] | None = None,
    worker_time_limit: datetime.timedelta | str = datetime.timedelta(seconds=7200),
    cpus_per_task: int = 1,
    mem_per_cpu: str = "2G",
    slurm_qos: str | None = "short",
    array_parallelism_limit: int | None = None,
    slurm_poll_seconds: int = 15,
) -> CheckReport:
    """Check a run before its first job: options, Slurm's limits, and one seed on one worker.

    First the options are checked, and the jobs against Slurm's limits. Then one worker, on Slurm
    one job, evaluates one seed of the loss, so that anything missing on the nodes shows in
    seconds. The seed is evaluated a second time, to measure it with the loss already loaded. The
    folder that this needs in `run_root` is removed at the end.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    **options
        The others are described in `optimize_run`.

    Returns
    -------
    CheckReport
        What the seed showed and what follows from it: seeds at once, the time of a chunk and of
        the run, core hours. It also has the job script.

    Raises
    ------
    OptionError
        If a keyword has a value that is not allowed.
    CheckFailedError
        If the loss fails on the worker. The error has the traceback.
    PreflightError, SubmitRefusedError
        If Slurm would refuse the jobs, or never start them.
    ClusterError
        If no worker starts. The error has the end of the job's log.
    RunStopped
        If a signal stopped the check.
    """

def optimize_entries(
    loss: LossDefinition,
    *,
    entry_ids: collections.abc.Iterable[str] = (),
    n_trials: int = 10,
    n_seeds: int | None = None,
    workers: int | tuple[int, int] | None = None,
    cluster: typing.Any = None,
    mode: ExecutionMode | str = ExecutionMode.SINGLE,
    sampler: typing.Any = "auto",
    run_name_prefix: str | None = None,
    max_concurrent_entries: int | None = None,
    race: typing.Any = "auto",
    max_total_seeds: int | None = None,
    n_validation_seeds: int | None = None,
    n_validation_candidates: int = 8,
    random_seed: int = 123,
    max_concurrent_trials: int | None = None,
    enqueue: typing.Any = None,
    refine_search_factor: float | None = None,
    fail_on_chunk_error: bool = True,
    prune_failed_trials: bool = False,
    direction: str = "minimize",
    overrides: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    trial_zero: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    seeds: collections.abc.Iterable[int] | None = None,
    chunk_size: int | None = None,
    num_chunks: int | None = None,
    run_root: str | pathlib.Path = "runs",
    timeout: float | None = None,
    progress: bool = True,
    resume: str | None = None,
    accept_changes: bool = False,
    retry_failed: bool = False,
    take_over: bool = False,
    clean_run_dir: bool = False,
    assume_yes: bool = False,
    trial_retry_attempts: int = 1,
    chunk_timeout_seconds: float | None = None,
    slurm_timeout_minutes: float = 120,
    worker_parallelism: int = 1,
    use_processes: bool = False,
    loss_module: str | None = None,
    self_check: bool = True,
    forward_sys_argv_to_workers: bool = True,
    insecure: bool = False,
    slurm: SlurmOptions | collections.abc.Mapping[str, typing.Any] | None = None,
    worker_time_limit: datetime.timedelta | str = datetime.timedelta(seconds=7200),
    cpus_per_task: int = 1,
    mem_per_cpu: str = "2G",
    slurm_qos: str | None = "short",
    array_parallelism_limit: int | None = None,
    slurm_poll_seconds: int = 15,
) -> MultiOptimizeResult:
    """Find the parameters that minimise a noisy loss for each of several entries.

    Each participant, condition or data set has its own study. Its trials are those it would have
    if it were optimised alone, bit for bit. All entries share one cluster. If one fails, the
    others go on.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`. ``context["entry_id"]`` tells it the entry.
    entry_ids : iterable of str, default ()
        Participants, conditions or data sets, with a study for each. The loss gets its entry as
        ``context['entry_id']``. The sampler's seed for entry i is ``random_seed + i``. On the
        command line anna,ben.
    run_name_prefix : str, optional
        Name of the run's folder, which holds the folders of the entries. If it holds a run,
        that run is resumed. None is a new run, named after the loss, with ``_entries`` and the
        next free number.
    max_concurrent_entries : int, optional
        Number of entries that are worked on at once; they progress together. None is all of
        them.
    **options
        The others are described in `optimize_run`.

    Returns
    -------
    MultiOptimizeResult
        The result of each entry, and the errors of those that failed.

    Raises
    ------
    AllEntriesFailedError
        If every entry failed.
    OptionError, ClusterError, ChangedRunError, RunLockedError, RunStopped
        As in `optimize_run`. OptionError, too, if there are no entries, or if two entries are
        equal but for case.
    """

def optimize_run(
    loss: LossDefinition,
    *,
    n_trials: int = 10,
    n_seeds: int | None = None,
    workers: int | tuple[int, int] | None = None,
    cluster: typing.Any = None,
    mode: ExecutionMode | str = ExecutionMode.SINGLE,
    sampler: typing.Any = "auto",
    run_name: str | None = None,
    entry_id: str | None = None,
    race: typing.Any = "auto",
    max_total_seeds: int | None = None,
    n_validation_seeds: int | None = None,
    n_validation_candidates: int = 8,
    random_seed: int = 123,
    max_concurrent_trials: int | None = None,
    enqueue: typing.Any = None,
    refine_search_factor: float | None = None,
    fail_on_chunk_error: bool = True,
    prune_failed_trials: bool = False,
    direction: str = "minimize",
    overrides: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    trial_zero: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    seeds: collections.abc.Iterable[int] | None = None,
    chunk_size: int | None = None,
    num_chunks: int | None = None,
    run_root: str | pathlib.Path = "runs",
    timeout: float | None = None,
    progress: bool = True,
    resume: str | None = None,
    accept_changes: bool = False,
    retry_failed: bool = False,
    take_over: bool = False,
    clean_run_dir: bool = False,
    assume_yes: bool = False,
    trial_retry_attempts: int = 1,
    chunk_timeout_seconds: float | None = None,
    slurm_timeout_minutes: float = 120,
    worker_parallelism: int = 1,
    use_processes: bool = False,
    loss_module: str | None = None,
    self_check: bool = True,
    forward_sys_argv_to_workers: bool = True,
    insecure: bool = False,
    slurm: SlurmOptions | collections.abc.Mapping[str, typing.Any] | None = None,
    worker_time_limit: datetime.timedelta | str = datetime.timedelta(seconds=7200),
    cpus_per_task: int = 1,
    mem_per_cpu: str = "2G",
    slurm_qos: str | None = "short",
    array_parallelism_limit: int | None = None,
    slurm_poll_seconds: int = 15,
) -> OptimizeResult:
    """Find the parameters that minimise a noisy loss, averaged over many seeds.

    Every trial is evaluated on seeds of one plan, in chunks, on a Dask cluster: a LocalCluster on
    this machine, or Slurm jobs. Poor trials get few of the seeds: see `race`. For given options,
    the trials and the result are the same bit for bit on any number of workers, on either cluster
    and for any `chunk_size`.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    n_trials : int, default 10
        Total number of trials, including those of a run that is resumed.
    n_seeds : int, optional
        Number of seeds, from the loss's `seed_start` on. None is ``chunk_size * num_chunks``,
        with 100 and 10 for what is not given.
    workers : int or (min, max), optional
        Number of workers, or bounds within which it follows the work. A worker is a process
        here, and a job on Slurm. None is as many as the chunks in flight can use, within the
        CPUs here, or 100 jobs on Slurm. On the command line 4 or 4:100.
    cluster : None, 'local', 'slurm', Cluster, Client or str, optional
        Where the work runs. None is what `mode` says. A Dask cluster, client or scheduler
        address is used as it is: it is neither closed nor scaled.
    mode : ExecutionMode or str, default 'single'
        'single' is a LocalCluster, 'distributed' a SLURMCluster. `cluster` says the same, and
        can say more.
    sampler : str or optuna.samplers.BaseSampler, default 'auto'
        Sampler: 'auto', 'tpe', 'random', 'qmc', 'cmaes', 'gp', 'nsgaii', or an Optuna sampler
        of your own. A copy of it is used. Seed it, or the run can't be repeated. 'auto' is
        'tpe' if all trials get all seeds. With fewer, 'auto' (TPE) and 'gp' are shown values
        that are smoothed over the trials.
    run_name : str, optional
        Name of the run's folder. If it holds a run, that run is resumed, up to `n_trials`. None
        is a new run, named after the loss, with the next free number.
    entry_id : str, optional
        Participant, condition or data set; the loss gets it in `context`.
    race : 'auto', bool or Race, default 'auto'
        How many seeds a trial gets. 'auto' gives each trial an eighth of the seeds, 16 at
        least, and the next trial those that follow; with fewer than 32 seeds, all trials get
        all. True drops a trial early that is worse than the best so far, with the defaults of
        `Race`. False gives all trials all seeds. On the command line auto, on, off, or such as
        first_look=16,level=0.2.
    max_total_seeds : int, optional
        Once the trials have so many seeds together, the search ends, whatever `n_trials` says;
        trials in flight are finished. Those of the validation do not count. None is no limit.
    n_validation_seeds : int, optional
        Fresh seeds, which are not used in the search. Once it ends, the best trial is chosen
        among the candidates on half as many, and its value is the mean of so many others:
        `validated_value` of the result. A finished run can be called again to be validated, or
        validated otherwise. 0 is no validation. None is `n_seeds` if trials get fewer seeds
        than that, else 0.
    n_validation_candidates : int, default 8
        How many of the best trials are validated, if `n_validation_seeds` is not 0.
    random_seed : int, default 123
        Seed of the sampler; an Optuna sampler that you pass has its own.
    max_concurrent_trials : int, optional
        Number k of trials in flight at once. Trial n is asked for when exactly the trials up to
        n - k are told, so k is part of what decides the result. None is 4 if each trial gets a
        part of the seeds, as with `race='auto'`, and 1 otherwise.
    enqueue : GridSource, RandomSource or ManualSource, optional
        Points to try after `trial_zero` and before the sampler is asked. The sampler chooses
        what a case does not name.
    refine_search_factor : float, optional
        Resume a run in a smaller space around its best trial. Each range keeps this share of
        its width, on the scale of the parameter and within the old bounds. Above 0 and below 1.
        None leaves the space as it is.
    fail_on_chunk_error : bool, default True
        Stop the run, with the loss's own traceback, at a trial whose loss raises or does not
        return a finite number. With False the trial is marked FAIL and the run continues.
    prune_failed_trials : bool, default False
        Mark a failed trial PRUNED, so that the sampler keeps away from its point, and continue
        the run. With False it is marked FAIL, which samplers ignore.
    direction : {'minimize', 'maximize'}, default 'minimize'
        Which mean loss is best.
    overrides : dict, optional
        Parameters that are held at a value, by name; the value may lie outside of the range. On
        the command line JSON.
    trial_zero : dict, optional
        Params of trial 0, such as the nominal ones. In an optimisation the sampler chooses
        those that are not named. On the command line JSON.
    seeds : iterable of int, optional
        Exactly these seeds in this order; overrides `n_seeds`. On the command line 3,1,2.
    chunk_size : int, optional
        Seeds in a chunk, which is one Dask task, and one call of a vectorized loss. It changes
        the speed of a run, never its result. None leaves it to what seeds take, with 100 in a
        call, and is 100 in a sweep, or what gives `num_chunks`.
    num_chunks : int, optional
        Chunks in a trial. None is what `chunk_size` gives.
    run_root : str or Path, default 'runs'
        Folder that holds the run folders.
    timeout : float, optional
        Seconds after which no trial or validation round begins; those that began are finished.
    progress : bool, default True
        Print a line on stderr for each trial.
    resume : None or 'auto', optional
        'auto' resumes the newest run of this loss in `run_root` if that is not finished, where
        no name is given. None begins a new run then, and says that there is one to resume.
    accept_changes : bool, default False
        Resume a run even if options that decide its results were changed.
    retry_failed : bool, default False
        Resume a run and evaluate its failed trials again, all seeds of each, under their number
        and at their params.
    take_over : bool, default False
        Take over a run whose driver, on another machine, is gone: wait until it has been silent
        for five minutes.
    clean_run_dir : bool, default False
        Remove what an earlier run left in the run's folder, and begin anew. On a terminal it
        asks first; elsewhere it is refused without `assume_yes`. It can't be combined with
        resuming a run.
    assume_yes : bool, default False
        Answer yes to what would be asked on a terminal.
    trial_retry_attempts : int, default 1
        How many more times a failed chunk is evaluated before its trial has failed.
    chunk_timeout_seconds : float, optional
        Seconds that a chunk may take; one that takes longer fails its trial. With a limit,
        seeds run in processes, as with `use_processes`, so that a chunk can be ended. None is
        no limit.
    slurm_timeout_minutes : float, default 120
        Minutes that a trial may run on Slurm, from the start of its first chunk; waiting in the
        queue does not count. If a trial takes longer, its chunks have failed, and are tried
        again as `trial_retry_attempts` says. If no limit is given, a trial that takes longer is
        only reported.
    worker_parallelism : int, default 1
        Seeds that run at once in one worker, in threads, or in processes with `use_processes`.
        For a vectorized loss it counts chunks.
    use_processes : bool, default False
        Run a worker's seeds in processes, not threads: for a loss in pure Python, which threads
        can't run in parallel.
    loss_module : str, optional
        Module, or path of a .py file, that the workers import to find the loss by its name.
        None sends them the function itself.
    self_check : bool, default True
        Have workers and the driver evaluate the first seed of the first trial, and compare: the
        run does not begin if their losses differ, or differ from the recorded one of a run that
        is resumed.
    forward_sys_argv_to_workers : bool, default True
        Give the workers this process's ``sys.argv`` while they import.
    insecure : bool, default False
        Open connections and pages without TLS and token: anyone who can reach this machine
        could run code as you. Only for a network that is yours alone. It does not change a
        cluster that you pass.
    slurm : SlurmOptions or dict, optional
        Partition, account and other settings of Slurm jobs; it has no effect elsewhere. A dict
        has the fields of a SlurmOptions.
    worker_time_limit : timedelta or str, default datetime.timedelta(seconds=7200)
        Walltime of a Slurm job. A str is read as Slurm reads it: '02:00:00' and '0-2' are two
        hours, '90' is 90 minutes.
    cpus_per_task : int, default 1
        CPUs of a Slurm job.
    mem_per_cpu : str, default '2G'
        Memory of a Slurm job for each CPU.
    slurm_qos : str or None, default 'short'
        QoS of the Slurm jobs. If Slurm refuses it for this account, it is left out, with a
        note. None asks for no QoS.
    array_parallelism_limit : int, optional
        Largest number of Slurm jobs at once. None is no limit beyond `workers`.
    slurm_poll_seconds : int, default 15
        Seconds between checks for trials that run for too long and for refused jobs.

    Returns
    -------
    OptimizeResult
        The best trial and all others. The run's folder holds them, too.

    Raises
    ------
    OptionError
        If a keyword has a value that is not allowed. Raised before anything starts.
    ClusterError
        If the cluster can't start: no ``sbatch``, a refused job, a script without a main guard.
    LossFailedError
        If the loss failed on a seed, unless ``fail_on_chunk_error=False``.
    NoCompleteTrialError
        If no trial completed.
    ChangedRunError
        If a run of this `run_name` exists and began with a loss or options that give other
        results.
    RunLockedError
        If another driver works on that run.
    RunStopped
        If a signal stopped the run. It is both a KeyboardInterrupt and a SystemExit, with the exit
        code that shells expect. To resume, call the same function with the same `run_name`, or use
        `resume_run` or ``seedwise resume``.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(walk, n_trials=5, n_seeds=50, run_root=folder, progress=False)
    >>> result.n_trials, result.best_n_seeds
    (5, 16)
    """

def run_sweep(
    loss: LossDefinition,
    source: ParameterSource,
    *,
    n_seeds: int | None = None,
    workers: int | tuple[int, int] | None = None,
    cluster: typing.Any = None,
    mode: ExecutionMode | str = ExecutionMode.SINGLE,
    run_name: str | None = None,
    entry_id: str | None = None,
    trial_nums: collections.abc.Iterable[int] | None = None,
    direction: str = "minimize",
    overrides: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    trial_zero: collections.abc.Mapping[str, float | int | str | bool] | None = None,
    seeds: collections.abc.Iterable[int] | None = None,
    chunk_size: int | None = None,
    num_chunks: int | None = None,
    run_root: str | pathlib.Path = "runs",
    timeout: float | None = None,
    progress: bool = True,
    resume: str | None = None,
    accept_changes: bool = False,
    retry_failed: bool = False,
    take_over: bool = False,
    clean_run_dir: bool = False,
    assume_yes: bool = False,
    trial_retry_attempts: int = 1,
    chunk_timeout_seconds: float | None = None,
    slurm_timeout_minutes: float = 120,
    worker_parallelism: int = 1,
    use_processes: bool = False,
    loss_module: str | None = None,
    self_check: bool = True,
    forward_sys_argv_to_workers: bool = True,
    insecure: bool = False,
    slurm: SlurmOptions | collections.abc.Mapping[str, typing.Any] | None = None,
    worker_time_limit: datetime.timedelta | str = datetime.timedelta(seconds=7200),
    cpus_per_task: int = 1,
    mem_per_cpu: str = "2G",
    slurm_qos: str | None = "short",
    array_parallelism_limit: int | None = None,
    slurm_poll_seconds: int = 15,
) -> SweepResult:
    """Evaluate a noisy loss at the points of a source, each averaged over many seeds.

    The source is a grid, random points or a list of cases. One case with many seeds is a Monte
    Carlo run. No sampler is used. If a case fails, the others go on. Cases are made as they are
    needed, so there may be millions.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    source : GridSource, RandomSource or ManualSource
        The points, made with `grid`, `random` or `manual`. They must have the names of the loss's
        `parameter_space`, but may lie outside of it.
    trial_nums : iterable of int, optional
        Evaluate only these trials; those that are finished already are evaluated again. None is
        all that are not finished. On the command line 3,1,2.
    **options
        The others are described in `optimize_run`.

    Returns
    -------
    SweepResult
        The trials by number, the best of them, and those that failed.

    Raises
    ------
    OptionError, ClusterError, ChangedRunError, RunLockedError, RunStopped
        As in `optimize_run`. OptionError, too, if the source's names are not those of the loss's
        parameters.
    """

from .api.begin import (
    optimize_entries as optimize_entries,
    optimize_run as optimize_run,
    run_sweep as run_sweep,
)
from .api.check import check_run as check_run
from .api.control import clean_run as clean_run, connect as connect
from .api.look import open_run as open_run, replay_seed as replay_seed, run_status as run_status
from .api.resume import resume_run as resume_run
from .driver.replay import Replayed as Replayed
from .errors import (
    AddressError as AddressError,
    AllEntriesFailedError as AllEntriesFailedError,
    CaseIndexError as CaseIndexError,
    ChangedRunError as ChangedRunError,
    CheckFailedError as CheckFailedError,
    ChunkTooLongError as ChunkTooLongError,
    CleanRefusedError as CleanRefusedError,
    ClusterError as ClusterError,
    ClusterStartError as ClusterStartError,
    DamagedFileError as DamagedFileError,
    EntryOfARunError as EntryOfARunError,
    ForeignCodeError as ForeignCodeError,
    JobNeverStartsError as JobNeverStartsError,
    KeyFolderError as KeyFolderError,
    LeaseLostError as LeaseLostError,
    LedgerMismatchError as LedgerMismatchError,
    LossDefinitionError as LossDefinitionError,
    LossFailedError as LossFailedError,
    LossNotFoundError as LossNotFoundError,
    LossSignatureError as LossSignatureError,
    LossTransportError as LossTransportError,
    LossValueError as LossValueError,
    MainGuardError as MainGuardError,
    MissingExtraError as MissingExtraError,
    NestedDriverError as NestedDriverError,
    NoCompleteTrialError as NoCompleteTrialError,
    NoDriverError as NoDriverError,
    NoFigureError as NoFigureError,
    NotALossError as NotALossError,
    NotAnsweredError as NotAnsweredError,
    NotARunError as NotARunError,
    NotYourRunError as NotYourRunError,
    OptionError as OptionError,
    PreflightError as PreflightError,
    RequestRefusedError as RequestRefusedError,
    RunExistsError as RunExistsError,
    RunFileError as RunFileError,
    RunLockedError as RunLockedError,
    RunStopped as RunStopped,
    SeedwiseError as SeedwiseError,
    SelfCheckError as SelfCheckError,
    SettingsFileError as SettingsFileError,
    SlurmNotFoundError as SlurmNotFoundError,
    SnapshotError as SnapshotError,
    SourceError as SourceError,
    SpaceError as SpaceError,
    StudyFileError as StudyFileError,
    SubmitRefusedError as SubmitRefusedError,
    TrialDirError as TrialDirError,
    UnknownOptionError as UnknownOptionError,
    WorkersFailedError as WorkersFailedError,
)
from .model.check_report import CheckReport as CheckReport
from .model.loss import LossDefinition as LossDefinition, loss as loss
from .model.options.work import ExecutionMode as ExecutionMode, execution_mode as execution_mode
from .model.options.race import Race as Race
from .model.options.slurm import SlurmOptions as SlurmOptions
from .model.sources import (
    GridSource as GridSource,
    ManualSource as ManualSource,
    ParamCase as ParamCase,
    ParameterSource as ParameterSource,
    RandomSource as RandomSource,
    grid as grid,
    manual as manual,
    random as random,
    source_from_manifest as source_from_manifest,
)
from .model.sources.distributions import (
    Choice as Choice,
    LogUniform as LogUniform,
    LogUniformInt as LogUniformInt,
    RandInt as RandInt,
    Uniform as Uniform,
    choice as choice,
    loguniform as loguniform,
    loguniform_int as loguniform_int,
    randint as randint,
    uniform as uniform,
)
from .model.space import SearchParam as SearchParam, search_param as search_param
from .model.statistics import Comparison as Comparison
from .model.status import PoolStatus as PoolStatus, RunStatus as RunStatus
from .model.trials import TrialResult as TrialResult, TrialState as TrialState
from .model.validation import ValidatedTrial as ValidatedTrial, Validation as Validation
from .results.entries import MultiOptimizeResult as MultiOptimizeResult
from .results.handle import CleanedRun as CleanedRun, RunHandle as RunHandle
from .results.plots.runs import EntryPlots as EntryPlots
from .results.plots.search import TrialPlots as TrialPlots
from .results.study import OptimizeResult as OptimizeResult
from .results.sweep import SweepResult as SweepResult
from .slurm.limits.read import slurm_limits as slurm_limits
from .slurm.limits.records import (
    AccountLimits as AccountLimits,
    NodeKind as NodeKind,
    PartitionLimits as PartitionLimits,
    QosLimits as QosLimits,
    SlurmLimits as SlurmLimits,
)

__version__: str

from .api import optimize_run
from .errors import (
    AddressError,
    ClusterError,
    ClusterStartError,
    LossDefinitionError,
    LossFailedError,
    LossSignatureError,
    LossTransportError,
    LossValueError,
    MainGuardError,
    MissingExtraError,
    NoCompleteTrialError,
    NotALossError,
    OptionError,
    RunExistsError,
    SeedwiseError,
    SlurmNotFoundError,
    SpaceError,
    StudyFileError,
    SubmitRefusedError,
    UnknownOptionError,
)
from .model.loss import LossDefinition, loss
from .model.options import ExecutionMode, execution_mode
from .model.records import TrialResult, TrialState
from .model.slurm_options import SlurmOptions
from .model.space import SearchParam, search_param
from .run.result import OptimizeResult

__all__ = [
    "AddressError",
    "ClusterError",
    "ClusterStartError",
    "ExecutionMode",
    "LossDefinition",
    "LossDefinitionError",
    "LossFailedError",
    "LossSignatureError",
    "LossTransportError",
    "LossValueError",
    "MainGuardError",
    "MissingExtraError",
    "NoCompleteTrialError",
    "NotALossError",
    "OptimizeResult",
    "OptionError",
    "RunExistsError",
    "SearchParam",
    "SeedwiseError",
    "SlurmNotFoundError",
    "SlurmOptions",
    "SpaceError",
    "StudyFileError",
    "SubmitRefusedError",
    "TrialResult",
    "TrialState",
    "UnknownOptionError",
    "execution_mode",
    "loss",
    "optimize_run",
    "search_param",
]

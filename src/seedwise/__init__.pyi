from .api import optimize_run
from .errors import SeedwiseError
from .model.loss import LossDefinition, loss
from .model.options import ExecutionMode, execution_mode
from .model.records import TrialResult, TrialState
from .model.slurm_options import SlurmOptions
from .model.space import SearchParam, search_param
from .run.result import OptimizeResult

__all__ = [
    "ExecutionMode",
    "LossDefinition",
    "OptimizeResult",
    "SearchParam",
    "SeedwiseError",
    "SlurmOptions",
    "TrialResult",
    "TrialState",
    "execution_mode",
    "loss",
    "optimize_run",
    "search_param",
]

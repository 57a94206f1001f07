"""Every error that seedwise raises, in one tree.

The data is on the object, the sentence is made here: what was wrong (the value), what is
allowed, what to do. Each class has :class:`SeedwiseError` and the fitting builtin as parents,
so that ``except ValueError`` works as well as ``except SeedwiseError``.
Imports nothing of seedwise.
"""

from seedwise.errors.base import (
    SeedwiseError,
)
from seedwise.errors.cluster import (
    AddressError,
    ClusterError,
    ClusterStartError,
    MainGuardError,
    SlurmNotFoundError,
    SubmitRefusedError,
)
from seedwise.errors.loss import (
    LossDefinitionError,
    LossSignatureError,
    LossTransportError,
    LossValueError,
    NotALossError,
    TrialDirError,
)
from seedwise.errors.options import (
    CaseIndexError,
    MissingExtraError,
    OptionError,
    SourceError,
    SpaceError,
    UnknownOptionError,
)
from seedwise.errors.run import (
    AllEntriesFailedError,
    ChangedRunError,
    CleanRefusedError,
    DamagedFileError,
    EntryOfARunError,
    LeaseLostError,
    LedgerMismatchError,
    LossFailedError,
    NoCompleteTrialError,
    NotARunError,
    RunExistsError,
    RunFileError,
    RunLockedError,
    RunStopped,
    StudyFileError,
    replay_command,
    resume_command,
    writing,
)

__all__ = [
    "AddressError",
    "AllEntriesFailedError",
    "CaseIndexError",
    "ChangedRunError",
    "CleanRefusedError",
    "ClusterError",
    "ClusterStartError",
    "DamagedFileError",
    "EntryOfARunError",
    "LeaseLostError",
    "LedgerMismatchError",
    "LossDefinitionError",
    "LossFailedError",
    "LossSignatureError",
    "LossTransportError",
    "LossValueError",
    "MainGuardError",
    "MissingExtraError",
    "NoCompleteTrialError",
    "NotALossError",
    "NotARunError",
    "OptionError",
    "RunExistsError",
    "RunFileError",
    "RunLockedError",
    "RunStopped",
    "SeedwiseError",
    "SlurmNotFoundError",
    "SourceError",
    "SpaceError",
    "StudyFileError",
    "SubmitRefusedError",
    "TrialDirError",
    "UnknownOptionError",
    "replay_command",
    "resume_command",
    "writing",
]

"""The public surface is exactly this, and documented."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import seedwise as sw

PUBLIC = [
    "AddressError",
    "ChangedRunError",
    "ClusterError",
    "ClusterStartError",
    "DamagedFileError",
    "ExecutionMode",
    "LeaseLostError",
    "LedgerMismatchError",
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
    "NotARunError",
    "OptimizeResult",
    "OptionError",
    "Replayed",
    "RunExistsError",
    "RunFileError",
    "RunLockedError",
    "RunStopped",
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
    "replay_seed",
    "resume_run",
    "search_param",
]


def test_the_public_names():
    assert sorted(sw.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name):
    doc = inspect.getdoc(getattr(sw, name))
    assert doc
    if inspect.isfunction(getattr(sw, name)):
        for section in ("Parameters", "Returns", "Raises", "Examples"):
            assert f"{section}\n{'-' * len(section)}" in doc


def test_importing_seedwise_imports_nothing_heavy():
    code = "import sys, seedwise; print({'optuna', 'distributed', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

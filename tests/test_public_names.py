"""The public surface is exactly this, and documented."""

from __future__ import annotations

import builtins
import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import seedwise as sw

ROOT = Path(__file__).parent.parent

PUBLIC = [
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
    "EntryPlots",
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
    "NoFigureError",
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
    "SettingsFileError",
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
    "TrialPlots",
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
    "random",
    "replay_seed",
    "resume_run",
    "run_status",
    "run_sweep",
    "search_param",
    "slurm_limits",
    "source_from_manifest",
    "uniform",
]


def test_the_public_names():
    assert sorted([*sw.__all__, "random"]) == PUBLIC


def test_a_star_import_hides_nothing_of_python():
    names: dict[str, object] = {}
    exec("import random\nfrom seedwise import *", names)
    assert names["random"].Random(1)
    assert not set(sw.__all__) & (sys.stdlib_module_names | set(dir(builtins)))


def test_the_version_is_said_once():
    assert importlib.metadata.version("seedwise") == sw.__version__
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert metadata["project"]["dynamic"] == ["version"]


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

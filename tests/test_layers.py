"""The house: imports point down; who may import whom is said once, here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import seedwise

ROOT = Path(seedwise.__file__).parent

#: Who may import whom, besides itself; from the bottom up.
MAY_IMPORT = {
    "errors": "",
    "disk": "errors",
    "model": "errors",
    "slurm": "disk model errors",
    "usercode": "model errors",
    "engine": "model errors",
    "folder": "disk model errors",
    "worker": "usercode model errors",
    "study": "usercode disk model errors",
    "cluster": "slurm usercode disk model errors",
    "dispatch": "worker usercode model errors",
    "results": "study folder slurm disk model errors",
    "driver": (
        "results dispatch cluster study worker folder engine usercode slurm disk model errors"
    ),
    "view": "results folder slurm model errors",
    "api": (
        "view driver results dispatch cluster study worker folder engine usercode slurm disk "
        "model errors"
    ),
    "cli": "api view model errors",
    "__main__": "cli",
}

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_the_table_names_all_rooms_and_has_no_arrow_up():
    assert set(MAY_IMPORT) == {layer(path) for path in MODULES}
    below: set[str] = set()
    for room, others in MAY_IMPORT.items():
        assert set(others.split()) <= below, room
        below.add(room)


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, absolute, at any depth in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    own = layer(path)
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("seedwise.")}
    assert ours <= {own, *MAY_IMPORT[own].split()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_study_touches_optuna_and_only_the_cluster_dask_jobqueue(path):
    roots = {name.partition(".")[0] for name in imported(path)}
    if path == ROOT / "results" / "study.py":
        roots.discard("optuna")  # for a type only
    if layer(path) != "study":
        assert not roots & {"optuna", "optuna_integration"}
    if layer(path) != "cluster":
        assert "dask_jobqueue" not in roots
    if layer(path) == "model":
        assert not roots & {"dask", "distributed", "time", "datetime", "subprocess", "os"} - {
            "datetime"  # timedelta, the type of an option
        }


def test_no_import_cycle():
    graph = {}
    for path in MODULES:
        name = "seedwise." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        graph[name] = imported(path)
    names = set(graph)
    edges = {
        module: {target for target in names if target != module and _imports(targets, target)}
        for module, targets in graph.items()
    }
    while free := {module for module, targets in edges.items() if not targets & edges.keys()}:
        edges = {module: targets for module, targets in edges.items() if module not in free}
    assert not edges, f"in a cycle: {sorted(edges)}"


def test_modules_are_short():
    long = {str(path): n for path in MODULES if (n := len(path.read_text().splitlines())) > 400}
    assert not long


def test_folders_are_small():
    """At most 20 modules of their own."""
    n_modules = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {str(path): n for path, n in n_modules.items() if n > 20} == {}


def test_a_worker_needs_neither_optuna_nor_dask_jobqueue():
    code = (
        "import sys, seedwise.worker.plugin, seedwise.worker.chunk\n"
        "heavy = {'optuna', 'optuna_integration', 'dask_jobqueue', 'bokeh', 'pandas', 'plotly', "
        "'scipy', 'threadpoolctl'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _imports(targets: set[str], module: str) -> bool:
    return any(target == module or target.startswith(f"{module}.") for target in targets)


def test_functions_are_short():
    """At most 60 lines, the docstring not counted; ruff counts the parameters."""
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                n_lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if n_lines > 60:
                    long.append(f"{path.name}:{node.name} has {n_lines} lines")
    assert not long

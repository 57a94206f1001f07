"""Checks of the main guard, without which each import of a script would begin its run."""

from __future__ import annotations

import ast
import inspect
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from seedwise.errors import LossNotFoundError, MainGuardError

_BEGIN_A_RUN = {"check_run", "optimize_entries", "optimize_run", "resume_run", "run_sweep"}


def require_main_guard() -> None:
    """Refuse a main script that got here outside of ``if __name__ == "__main__":``.

    Workers import the script, and would make an unguarded call again. Raises MainGuardError.
    """
    frame = _main_frame()
    if frame is None or _is_never_imported():
        return
    script, line = frame.f_code.co_filename, frame.f_lineno
    if frame.f_globals["__name__"] == "__mp_main__":  # a worker is making the call again
        raise MainGuardError(script, line)
    # There is no file for a notebook's cell, python -c and standard input.
    if Path(script).is_file() and not _is_guarded(_parsed(script), line):
        raise MainGuardError(script, line)


def refuse_run_at_import(path: Path, target: str) -> None:
    """Refuse a file that visibly begins a run when it is imported: that would submit real jobs.

    Raises LossNotFoundError for `target`.
    """
    try:
        tree = _parsed(path)
    except (OSError, SyntaxError, ValueError):  # the import gives a better error
        return
    names = _names_that_begin_a_run(tree)
    for call in _calls_at_import(tree):
        if _called(call) in names:
            problem = (
                f"line {call.lineno} begins a run, and would do so at each import. Put it under "
                'if __name__ == "__main__":'
            )
            raise LossNotFoundError(target, problem)


def _parsed(path: str | Path) -> ast.Module:
    with tokenize.open(path) as file:
        return ast.parse(file.read())


def _main_frame() -> FrameType | None:
    frame = inspect.currentframe()
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "<module>" and name in ("__main__", "__mp_main__"):
            return frame
        frame = frame.f_back
    return None


def _is_never_imported() -> bool:
    # Workers do not import the __main__.py of a package (python -m package).
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name.endswith(".__main__")


def _is_guarded(tree: ast.Module, line: int) -> bool:
    return any(
        _is_guard(node) and node.lineno <= line <= (node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
    )


def _names_that_begin_a_run(tree: ast.Module) -> set[str]:
    """Return seedwise's functions, their aliases, and the file's functions that call them."""
    names = set(_BEGIN_A_RUN)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seedwise"):
            names |= {alias.asname for alias in node.names if alias.asname and alias.name in names}
    calls = {
        node.name: {_called(one) for one in ast.walk(node) if isinstance(one, ast.Call)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    while more := {name for name, called in calls.items() if called & names} - names:
        names |= more
    return names


def _calls_at_import(node: ast.AST) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and _is_guard(child):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls_at_import(child)


def _is_guard(node: ast.If) -> bool:
    """Tell whether the condition mentions ``__name__``."""
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""

"""Checks of the main guard, without which each import of a script would begin its run."""

from __future__ import annotations

import ast
import contextlib
import contextvars
import inspect
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from seedwise.errors import MainGuardError

_is_loading = contextvars.ContextVar("_is_loading", default=False)


@contextlib.contextmanager
def no_run_begins() -> Iterator[None]:
    """Refuse a run that begins in this block, which imports a file, with a MainGuardError."""
    token = _is_loading.set(True)
    try:
        yield
    finally:
        _is_loading.reset(token)


def require_main_guard() -> None:
    """Refuse a main script that got here outside of ``if __name__ == "__main__":``.

    Workers import the script, and would make an unguarded call again. Raises MainGuardError.
    """
    is_loading = _is_loading.get()
    frame = _module_frame(only_main=not is_loading)
    if frame is None or (_is_never_imported() and not is_loading):
        return
    script, line = frame.f_code.co_filename, frame.f_lineno
    if is_loading or frame.f_globals["__name__"] == "__mp_main__":  # a worker makes the call again
        raise MainGuardError(script, line)
    # There is no file for a notebook's cell, python -c and standard input.
    if Path(script).is_file() and not _is_guarded(_parsed(script), line):
        raise MainGuardError(script, line)


def _parsed(path: str | Path) -> ast.Module:
    with tokenize.open(path) as file:
        return ast.parse(file.read())


def _module_frame(*, only_main: bool) -> FrameType | None:
    frame = inspect.currentframe()
    while frame is not None:
        name = frame.f_globals.get("__name__")
        is_main = name in ("__main__", "__mp_main__")
        if frame.f_code.co_name == "<module>" and (is_main or not only_main):
            return frame
        frame = frame.f_back
    return None


def _is_never_imported() -> bool:
    # Workers do not import the __main__.py of a package (python -m package).
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name.endswith(".__main__")


def _is_guarded(tree: ast.Module, line: int) -> bool:
    return any(
        is_guard(node) and node.lineno <= line <= (node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
    )


def is_guard(node: ast.If) -> bool:
    """Tell whether the condition mentions ``__name__``."""
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))

"""Checks of the main guard, without which each import of a script would begin its run."""

import ast
import contextlib
import contextvars
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

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
    """Raise MainGuardError if the main script got here outside of its main guard."""
    is_loading = _is_loading.get()
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    # Workers do not import the __main__.py of a package (python -m package).
    is_never_imported = spec is not None and spec.name.endswith(".__main__")
    for frame, line in traceback.walk_stack(sys._getframe()):  # noqa: SLF001
        name, script = frame.f_globals.get("__name__"), frame.f_code.co_filename
        if frame.f_code.co_name != "<module>":
            continue
        if is_loading or name == "__mp_main__":  # a worker makes the call again
            raise MainGuardError(script, line)
        if name == "__main__" and not is_never_imported:
            # There is no file for a notebook's cell, python -c and standard input.
            if Path(script).is_file() and not _is_guarded(script, line):
                raise MainGuardError(script, line)
            return


def _is_guarded(script: str, line: int) -> bool:
    tree = ast.parse(Path(script).read_bytes())
    return any(
        isinstance(node, ast.If)
        and is_guard(node)
        and node.lineno <= line <= (node.end_lineno or line)
        for node in ast.walk(tree)
    )


def is_guard(node: ast.If) -> bool:
    """Tell whether the condition mentions ``__name__``."""
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))

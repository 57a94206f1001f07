"""Losses by the script or module that they are in, and the main guard that lets it be imported."""

import ast
import contextvars
import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from seedwise.errors import LossNotFoundError, MainGuardError
from seedwise.errors.base import users_traceback
from seedwise.model.loss import LossDefinition

# While a module is imported, no run may begin.
_is_loading = contextvars.ContextVar("_is_loading", default=False)

# By the id of a loss, which lives as long as its module.
_argv: dict[int, tuple[str, ...]] = {}


def load_loss(target: str) -> LossDefinition:
    """Import a loss by ``path/to/script.py:name`` or ``package.module:name``.

    The name is that of the variable or of the loss; it is needed where there are several. A script
    is imported under its stem, so that its guarded code does not run; its folder goes to the front
    of ``sys.path``, as Python does it. A module is also looked for in the current folder.
    """
    where, _, name = target.rpartition(":")
    if not where:  # no name is given
        where, name = target, ""
    is_file = where.endswith(".py") or "/" in where
    path = Path(where).expanduser().resolve()
    if is_file and not path.is_file():
        raise LossNotFoundError(target, f"there is no file {path}")
    if is_file and path.suffix != ".py":
        raise LossNotFoundError(target, f"{path.name} is not a .py file")
    own, token = sys.argv, _is_loading.set(True)
    sys.argv = [str(path)] if is_file else own
    try:
        module = _import_file(path) if is_file else _import_module(where, target)
        loss = _pick(module, name, target)
        _argv[id(loss)] = tuple(sys.argv)
    except LossNotFoundError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(error, target) from None
    finally:
        sys.argv = own
        _is_loading.reset(token)
    return loss


def argv_of(loss: LossDefinition) -> tuple[str, ...]:
    """Return ``sys.argv`` as it was when the module of a loss was imported."""
    return _argv.get(id(loss), tuple(sys.argv))


def _pick(module: ModuleType, name: str, target: str) -> LossDefinition:
    losses = {key: one for key, one in vars(module).items() if isinstance(one, LossDefinition)}
    if name in losses:
        return losses[name]
    distinct = {id(one): one for one in losses.values() if name in ("", one.name)}
    if len(distinct) == 1:
        return distinct.popitem()[1]
    problem = f"its losses are {', '.join(losses)}"
    if not losses:
        problem = "there is no loss in it. Decorate the function with @seedwise.loss(...)"
    elif not name:
        problem = f"{problem}. Say which, such as {target}:{next(iter(losses))}"
    elif hasattr(module, name):
        problem = f"{name} is not a loss; {problem}"
    else:
        problem = f"there is no {name} in it; {problem}"
    raise LossNotFoundError(target, problem, losses=list(losses))


def _import_file(path: Path) -> ModuleType:
    _search_first(path.parent)
    name = re.sub(r"\W", "_", path.stem)
    while name in sys.modules:  # never replace a module that is already imported
        name = f"{name}_"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file has one
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str, target: str) -> ModuleType:
    _search_first(Path.cwd())
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        problem = f"there is no module {name}. For a script, give its path, such as fit.py:walk"
        raise LossNotFoundError(target, problem) from None


def _search_first(folder: Path) -> None:
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def _failed(error: BaseException, target: str) -> LossNotFoundError:
    """Return the error of an import that failed; its traceback starts at the user's code."""
    if isinstance(error, MainGuardError):
        problem = (
            f"line {error.line} of {error.script} begins a run, and would do so at each import. "
            'Put it under if __name__ == "__main__":'
        )
        return LossNotFoundError(target, problem)
    found, pythons = users_traceback(error), (importlib.__file__, "<frozen importlib")
    found.stack = traceback.StackSummary.from_list(
        frame for frame in found.stack if not frame.filename.startswith(pythons)
    )
    return LossNotFoundError(target, "its import fails", traceback="".join(found.format()))


def require_main_guard() -> None:
    """Raise MainGuardError if the main script got here outside of its main guard."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    # Workers do not import the __main__.py of a package (python -m package).
    is_never_imported = spec is not None and spec.name.endswith(".__main__")
    for frame, line in traceback.walk_stack(sys._getframe()):  # noqa: SLF001
        name, script = frame.f_globals.get("__name__"), frame.f_code.co_filename
        if frame.f_code.co_name != "<module>":
            continue
        if _is_loading.get() or name == "__mp_main__":  # a worker makes the call again
            raise MainGuardError(script, line)
        if name == "__main__" and not is_never_imported:
            # There is no file for a notebook's cell, python -c and standard input.
            if Path(script).is_file() and not _is_guarded(script, line):
                raise MainGuardError(script, line)
            return


def _is_guarded(script: str, line: int) -> bool:
    nodes = ast.walk(ast.parse(Path(script).read_bytes()))
    guards = (node for node in nodes if isinstance(node, ast.If) and is_guard(node))
    return any(node.lineno <= line <= (node.end_lineno or line) for node in guards)


def is_guard(node: ast.If) -> bool:
    """Tell whether the condition mentions ``__name__``."""
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))

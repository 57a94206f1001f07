"""Losses by the script or the module that they are in."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from seedwise.errors import LossNotFoundError, MainGuardError
from seedwise.model.loss import LossDefinition
from seedwise.usercode.installed import is_installed_file
from seedwise.usercode.main_guard import no_run_begins

_argv: dict[str, tuple[str, ...]] = {}


def load_loss(target: str) -> LossDefinition:
    """Import a loss by ``path/to/script.py:name`` or ``package.module:name``.

    The name is that of the variable or of the loss; it is not needed where there is only one loss.
    A script is imported under its stem and not as ``__main__``, so that its guarded code does not
    run; its folder goes to the front of ``sys.path``, as Python does it. A module is also looked
    for in the current folder.

    Raises LossNotFoundError if there is no such file, module or name, if the import fails or would
    begin a run, or if the name is not that of a loss.
    """
    where, _, name = target.rpartition(":")
    if not where:  # no name is given
        where, name = target, ""
    is_file = where.endswith(".py") or "/" in where
    module = _import_file(where, target) if is_file else _import_module(where, target)
    return _pick(module, name, target)


def argv_of(module: str) -> tuple[str, ...] | None:
    """Return ``sys.argv`` as it was while a module was imported to find a loss; None of any other.

    A program that is installed, such as seedwise's, imports for one loss only.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)
    if module not in _argv and file is not None and is_installed_file(file):
        return next(reversed(_argv.values()), None)
    return _argv.get(module)


def _pick(module: ModuleType, name: str, target: str) -> LossDefinition:
    by_variable = {
        variable: value
        for variable, value in vars(module).items()
        if isinstance(value, LossDefinition)
    }
    if name in by_variable:
        return by_variable[name]
    distinct = list({id(loss): loss for loss in by_variable.values()}.values())
    named = [loss for loss in distinct if loss.name == name or not name]
    if len(named) == 1:
        return named[0]
    if not by_variable:
        problem = "there is no loss in it. Decorate the function with @seedwise.loss(...)"
    else:
        problem = f"its losses are {', '.join(by_variable)}"
        if not name:
            problem = f"{problem}. Say which, such as {target}:{next(iter(by_variable))}"
        elif hasattr(module, name):
            problem = f"{name} is not a loss; {problem}"
        else:
            problem = f"there is no {name} in it; {problem}"
    raise LossNotFoundError(target, problem, losses=list(by_variable))


def _import_file(where: str, target: str) -> ModuleType:
    path = Path(where).expanduser().resolve()
    if not path.is_file():
        raise LossNotFoundError(target, f"there is no file {path}")
    if path.suffix != ".py":
        raise LossNotFoundError(target, f"{path.name} is not a .py file")
    _search_first(path.parent)
    name = re.sub(r"\W", "_", path.stem)
    while name in sys.modules:  # never replace a module that is already imported
        name = f"{name}_"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    own, sys.argv = sys.argv, [str(path)]
    _argv[name] = (str(path),)
    try:
        with no_run_begins():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(error, target) from None
    finally:
        sys.argv = own
    return module


def _import_module(where: str, target: str) -> ModuleType:
    _search_first(Path.cwd())
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError):  # raised for the package around it
        spec = None
    except (Exception, SystemExit) as error:
        raise _failed(error, target) from None
    if spec is None:
        problem = f"there is no module {where}. For a script, give its path, such as fit.py:walk"
        raise LossNotFoundError(target, problem)
    try:
        with no_run_begins():
            return importlib.import_module(where)
    except (Exception, SystemExit) as error:
        raise _failed(error, target) from None


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
    found = traceback.TracebackException.from_exception(error)
    users = [
        frame
        for frame in found.stack
        if frame.filename not in (__file__, importlib.__file__)
        and not frame.filename.startswith("<frozen importlib")
    ]
    found.stack = traceback.StackSummary.from_list(users)
    text = "".join(found.format())
    return LossNotFoundError(target, "its import fails", traceback=text)

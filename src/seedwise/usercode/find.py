"""A loss by the file, or the module, that it is in."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from seedwise.errors import LossNotFoundError
from seedwise.model.loss import LossDefinition
from seedwise.usercode.main_guard import require_guards


def load_loss(target: str) -> LossDefinition:
    """Import a loss.

    A file is imported under its stem and not as ``__main__``, so that its main guard does not run,
    and its folder goes to the front of ``sys.path``, as Python does for a script; a module is
    looked for in the current folder, too.

    Parameters
    ----------
    target : str
        ``path/to/script.py:name`` or ``package.module:name``, where the name is the variable's or
        the loss's own. It may be left out where there is only one loss.

    Returns
    -------
    LossDefinition
        The loss.

    Raises
    ------
    LossNotFoundError
        If there is none: no such file, its import fails or would begin a run, no such name, or
        what has the name is no loss.
    """
    where, _, name = target.rpartition(":")
    if not where:  # no name is given
        where, name = target, ""
    is_file = where.endswith(".py") or "/" in where
    module = _import_file(where, target) if is_file else _import_module(where, target)
    return _pick(module, name, target)


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
        raise LossNotFoundError(target, f"{path.name} is no .py file")
    require_guards(path, target)
    _search_first(path.parent)
    name = re.sub(r"\W", "_", path.stem)
    while name in sys.modules:  # a script may be called as something that is imported already
        name = f"{name}_"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # of a .py file there is one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    own, sys.argv = sys.argv, [str(path)]
    try:
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
    except (ImportError, ValueError):  # of the package around it
        spec = None
    except (Exception, SystemExit) as error:
        raise _failed(error, target) from None
    if spec is None:
        problem = f"there is no module {where}. Of a script give the path, such as fit.py:walk"
        raise LossNotFoundError(target, problem)
    if where not in sys.modules and spec.origin is not None and spec.origin.endswith(".py"):
        require_guards(Path(spec.origin), target)
    try:
        return importlib.import_module(where)
    except (Exception, SystemExit) as error:
        raise _failed(error, target) from None


def _search_first(folder: Path) -> None:
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def _failed(error: BaseException, target: str) -> LossNotFoundError:
    """Return what says why an import failed, with the traceback from the user's code on."""
    found = traceback.TracebackException.from_exception(error)
    users = [
        frame
        for frame in found.stack
        if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")
    ]
    # importlib's own __init__, for modules
    users = [frame for frame in users if frame.filename != importlib.__file__]
    found.stack = traceback.StackSummary.from_list(users)
    text = "".join(found.format())
    return LossNotFoundError(target, "its import fails", traceback=text)


# An import that begins a run would submit real jobs.

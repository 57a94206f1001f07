"""The packing of a loss for its way to the workers."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import threading
from pathlib import Path
from types import ModuleType

import cloudpickle

from seedwise.errors import LossTransportError, OptionError
from seedwise.model.loss import LossDefinition
from seedwise.model.options.work import WorkOptions
from seedwise.usercode.installed import is_installed_file
from seedwise.usercode.pickling import dumps
from seedwise.usercode.shipment import Shipment

_registering = threading.Lock()


def pack(loss: LossDefinition, options: WorkOptions) -> Shipment:
    """Pack a loss: its function goes by value, with what it uses of the user's own modules.

    So a worker that starts late does not import what has been edited since. Raises
    LossTransportError if the loss can't be pickled, and OptionError if there is no such
    `loss_module`.
    """
    module = _checked_module(options.loss_module)
    home = _home(loss)
    return Shipment(
        name=loss.name,
        pickled=_pickled(loss, home) if module is None else None,
        module=module,
        argv=tuple(sys.argv) if options.forward_sys_argv_to_workers else None,
        path=_search_path(home),
    )


def _checked_module(module: str | None) -> str | None:
    if module is None or module == "__main__":
        # The main module can't be imported by name, so its loss travels by value.
        return None
    if module.endswith(".py"):
        path = Path(module).expanduser().absolute()
        found, module = path.is_file(), str(path)
    else:
        try:
            found = importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            found = False
    if not found:
        raise OptionError("loss_module", module, "a module or .py file that can be imported")
    return module


def _pickled(loss: LossDefinition, home: str | None) -> bytes:
    with _registering:  # else runs in several threads would unregister each other's modules
        modules = _users_modules(home)
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            return dumps(loss)
        except Exception as error:
            raise LossTransportError(loss.name, f"{type(error).__name__}: {error}") from error
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


def _users_modules(home: str | None) -> list[ModuleType]:
    """Return the loaded modules in or below the loss's folder that are not installed."""
    if home is None:
        return []
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or module.__name__ == "__main__":
            continue
        path = os.path.abspath(file)  # noqa: PTH100 - a thousand modules: pathlib takes 0.1 s
        users = path.startswith(home + os.sep) and not is_installed_file(path)
        # What the user has registered must stay registered.
        if users and module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            found.append(module)
    return found


def _home(loss: LossDefinition) -> str | None:
    """Return the folder of the loss's source, or the one around its outermost package."""
    try:
        source = Path(inspect.getfile(inspect.unwrap(loss.function))).absolute()
    except TypeError:
        return None
    if not source.is_file():
        return None
    home = source.parent
    while (home / "__init__.py").exists():
        home = home.parent
    return str(home)


def _search_path(home: str | None) -> tuple[str, ...]:
    """Return where workers look for what the loss imports when it is called."""
    entries = [home] if home is not None else []
    entries += [str(Path(entry or ".").absolute()) for entry in sys.path]
    return tuple(dict.fromkeys(entries))

"""Packing a loss for its way to the workers."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import site
import sys
import sysconfig
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import cloudpickle

import seedwise
from seedwise.errors import LossTransportError, OptionError
from seedwise.model.by_value import dumps
from seedwise.model.loss import LossDefinition
from seedwise.model.work_options import WorkOptions
from seedwise.worker.plugin import LossPlugin
from seedwise.worker.shipment import Shipment

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["bring", "pack"]

_registering = threading.Lock()


def pack(loss: LossDefinition, options: WorkOptions) -> Shipment:
    """Pack a loss.

    The function goes by value, and so does what it uses of the user's own modules: a worker that
    starts late must not import what has been edited since.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : WorkOptions
        The run's options.

    Returns
    -------
    Shipment
        The loss, ready to travel.

    Raises
    ------
    LossTransportError
        If the loss can't be pickled.
    OptionError
        If there is no such `loss_module`.
    """
    module = _checked_module(options.loss_module)
    return Shipment(
        name=loss.name,
        pickled=_pickled(loss) if module is None else None,
        module=module,
        argv=tuple(sys.argv) if options.forward_sys_argv_to_workers else None,
        path=_search_path(loss),
    )


@contextmanager
def bring(client: Client, shipment: Shipment, options: WorkOptions) -> Iterator[str]:
    """Bring a loss to all workers, those that join later included.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    shipment : Shipment
        The packed loss.
    options : WorkOptions
        The run's options.

    Yields
    ------
    str
        The loss's id: a content hash, and what tells this run from others on the same cluster.
        The plugin is taken back in the end.
    """
    content = hashlib.sha256(repr(shipment).encode()).hexdigest()
    loss_id = f"seedwise-{content[:16]}-{uuid.uuid4().hex[:8]}"
    plugin = LossPlugin(loss_id, shipment, options.worker_parallelism, options.use_processes)
    client.register_plugin(plugin)
    try:
        yield loss_id
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(loss_id)


def _checked_module(module: str | None) -> str | None:
    if module is None or module == "__main__":
        # The main module can't be imported by name; what is defined in it travels by value.
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


def _pickled(loss: LossDefinition) -> bytes:
    with _registering:  # runs of several threads, which would unregister each other's modules
        modules = _users_modules(loss)
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            return dumps(loss)
        except Exception as error:
            raise LossTransportError(loss.name, f"{type(error).__name__}: {error}") from error
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


def _users_modules(loss: LossDefinition) -> list[ModuleType]:
    """Return the loaded modules that lie beside the loss's own or below."""
    home = _home(loss)
    if home is None:
        return []
    installed = tuple(folder + os.sep for folder in _installed_folders())
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or module.__name__ == "__main__":
            continue
        path = os.path.abspath(file)  # noqa: PTH100 - a thousand modules: pathlib takes 0.1 s
        users = path.startswith(home + os.sep) and not path.startswith(installed)
        # What the user registered stays as the user has it.
        if users and module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            found.append(module)
    return found


def _home(loss: LossDefinition) -> str | None:
    """Return the folder of the loss's source, of the outermost package if it is in one."""
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


def _installed_folders() -> list[str]:
    paths = sysconfig.get_paths()
    del paths["data"]  # the environment's root, below which a project may well lie
    return [*paths.values(), *site.getsitepackages(), str(Path(seedwise.__file__).parent)]


def _search_path(loss: LossDefinition) -> tuple[str, ...]:
    """Return where the workers are to look for what the loss imports when it is called."""
    home = _home(loss)
    entries = [home] if home is not None else []
    entries += [str(Path(entry or ".").absolute()) for entry in sys.path]
    return tuple(dict.fromkeys(entries))

"""The line between what is installed and what is the user's own."""

import functools
import os
import re
import site
import sys
import sysconfig
import types
from pathlib import Path

import seedwise

_HEAP_TYPE = 1 << 9  # flag of a class that Python code has made


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    del paths["data"]  # the environment's root: a project may lie below it
    folders = [*paths.values(), *site.getsitepackages(), site.getusersitepackages()]
    return tuple(f + os.sep for f in (*folders, str(Path(seedwise.__file__).parent)))


def is_installed_file(file: str) -> bool:
    """Tell whether a file belongs to Python, to what was installed for it, or to seedwise."""
    path = os.path.abspath(file)  # noqa: PTH100 - called often, and pathlib is slow
    # The software modules of a cluster have site-packages of their own.
    elsewhere = re.search("/(site|dist)-packages/", path)
    return path.startswith(_installed_folders()) or elsewhere is not None


def is_installed_module(module: types.ModuleType) -> bool:
    """Tell whether a module is installed."""
    content = vars(module)
    if content.get("__name__") == "__main__":  # a console script lies in the environment
        return False
    file = content.get("__file__") or next(iter(content.get("__path__") or ()), None)
    origin = getattr(content.get("__spec__"), "origin", None)
    return is_installed_file(str(file)) if file else origin in ("built-in", "frozen")


def _is_installed_name(module: object) -> bool:
    # What comes from a module that is not loaded came by value, so it is the user's.
    loaded = sys.modules.get(module) if isinstance(module, str) else None
    return loaded is not None and is_installed_module(loaded)


def is_installed_class(class_: type) -> bool:
    """Tell whether a class is installed, or made in C."""
    return not class_.__flags__ & _HEAP_TYPE or _is_installed_name(class_.__module__)


def is_installed_code(code: types.CodeType, module: object = None) -> bool:
    """Tell whether code is installed; if it has no file, its module tells."""
    file = code.co_filename
    if file.startswith("<"):
        return file.startswith("<frozen") or _is_installed_name(module)
    return is_installed_file(file)

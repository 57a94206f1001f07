"""The user's own code: as it travels and is saved, and what tells it from what is installed."""

import functools
import hashlib
import importlib.util
import json
import os
import re
import site
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

import seedwise

_HEAP_TYPE = 1 << 9  # flag of a class that Python code has made

#: The name of the script among the modules.
SCRIPT = "__main__"


@attrs.frozen
class Module:
    """A module of the user's own."""

    #: The absolute path of its file; of a package without a file, of its folder.
    path: str
    #: The path of its copy in the snapshot; None of a package without a file.
    copy: str | None
    is_package: bool = False


@attrs.frozen
class Code:
    """The user's own modules, and how the driver found them: what an import of them needs."""

    #: By the names under which they are imported; the script is `SCRIPT`.
    modules: Mapping[str, Module]
    #: The sources of those that have one, by the same names.
    sources: Mapping[str, bytes] = attrs.field(repr=False)
    #: SHA-256 of every file of the snapshot, by the path of its copy.
    hashes: Mapping[str, str] = attrs.field(repr=False)
    #: The folder of the copies; relative imports of data and compiled modules need it.
    folder: str
    #: The driver's ``sys.path``.
    path: tuple[str, ...]
    #: How many entries of `path` are before the first that is Python's or installed.
    n_own: int
    cwd: str
    #: The driver's ``sys.argv``; None leaves a worker's as it is.
    argv: tuple[str, ...] | None
    #: The package of a script that was started with ``python -m``, and its name there.
    script_package: str = ""
    script_name: str | None = None

    @property
    def id(self) -> str:
        """What tells this code from any other: 16 hex digits."""
        content = [sorted(self.hashes.items()), sorted(map(repr, self.modules.items()))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def texts(self) -> dict[str, str]:
        """Return the sources as text."""
        return {name: _decoded(source) for name, source in self.sources.items()}

    def to_manifest(self) -> dict[str, Any]:
        """Return all but the sources, as JSON; `from_manifest` reads it."""
        return attrs.asdict(self, filter=attrs.filters.exclude("sources"))

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], sources: Mapping[str, bytes]) -> Self:
        """Make it of what was saved."""
        fields = {**manifest, "path": tuple(manifest["path"])}
        fields["argv"] = None if manifest["argv"] is None else tuple(manifest["argv"])
        fields["modules"] = {name: Module(**each) for name, each in manifest["modules"].items()}
        return cls(sources=sources, **fields)


def _decoded(source: bytes) -> str:
    try:
        return importlib.util.decode_source(source)
    except (SyntaxError, ValueError):  # it can't be imported
        return source.decode("utf-8", "backslashreplace")


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

"""The import of the user's own code from a snapshot, as Python imports it from its files."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.readers
import importlib.util
import linecache
import os
import sys
import threading
import types
import uuid
from collections.abc import Sequence
from pathlib import Path

from seedwise.errors import ForeignCodeError
from seedwise.model.loss import LossDefinition
from seedwise.usercode.code import SCRIPT, Code, Module
from seedwise.usercode.installed import is_installed_file

#: The name under which the script is imported, so that its main guard is false.
GUARDED = "__mp_main__"

#: Tells this process from all others, but for those that are forked from it and have its modules.
PROCESS = uuid.uuid4().hex

_lock = threading.RLock()
_held: Code | None = None
_n_holders = 0
_before: _Before | None = None
_context = contextvars.Context()
_kept: list[types.ModuleType] = []  # what Python clears of a module that nobody holds


def note_context() -> None:
    """Keep the context of this thread, in which the user's code was imported."""
    global _context  # noqa: PLW0603 - a process has one
    _context = contextvars.copy_context()


def drivers_context() -> contextvars.Context:
    """Return a copy of the context that was noted last."""
    return _context.copy()


def may_hold(code: Code) -> bool:
    """Tell whether this process may import this code, or has done so.

    It may not if it holds another, or has imported modules of these names from elsewhere. Two
    versions of a module in one process would be mixed up, and so would the working directories
    and arguments of two drivers.
    """
    with _lock:
        if _held is not None and _held.surroundings != code.surroundings:
            return False
        if _held is not None and _held.modules and code.modules:
            return _held.id == code.id
        return not _already_there(code)


def has_already(code: Code) -> bool:
    """Tell whether this process has imported the code from the user's files, which are the same.

    It is so in the process that made the snapshot, and in others of the same script or notebook.
    """
    with _lock:  # what another thread imports right now is not there yet
        there = _already_there(code)
        if SCRIPT in code.modules and SCRIPT not in there:
            return False
        return bool(there) and all(_is_same(code, name) for name in there)


def _is_same(code: Code, name: str) -> bool:
    module, loaded = code.modules[name], sys.modules[name]
    if module.copy is None:
        return not getattr(loaded, "__file__", None)
    try:
        content = Path(str(getattr(loaded, "__file__", None))).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == code.hashes[module.copy]


def hold(code: Code) -> None:
    """Have this process import the user's code from a snapshot, and import the script.

    Path, working directory and arguments are the driver's from now on. Raises ForeignCodeError if
    the process can't hold it.
    """
    global _held, _before, _n_holders  # noqa: PLW0603 - a process has one
    with _lock:
        if not may_hold(code):
            raise ForeignCodeError(_already_there(code))
        _n_holders += 1
        if _held is not None and (_held.modules or not code.modules):
            return
        before = _Before()
        here = [entry for entry in sys.path if entry not in code.path]
        sys.path[:] = [*code.path[: code.n_own], *here, *code.path[code.n_own :]]
        with contextlib.suppress(OSError):  # another machine may not have it
            os.chdir(code.cwd)
        if code.argv is not None:
            sys.argv[:] = code.argv
        sys.meta_path.insert(0, _Finder(code))
        try:
            if SCRIPT in code.modules:
                _import_script(code)
        except BaseException:  # it is tried again, and fails in the same way
            before.restore(code)
            _n_holders -= 1
            raise
        _held, _before = code, _before or before


def release(code: Code) -> None:
    """Leave this process as it was before it held the code, if nobody else holds it."""
    global _before, _n_holders  # noqa: PLW0603 - a process has one
    with _lock:
        if _held is None or _before is None or _held.id != code.id:
            return
        _n_holders -= 1
        if not _n_holders:
            _before.restore(code)
            _before = None


class _Before:
    """What a process is like before it holds code."""

    def __init__(self) -> None:
        self._held = _held
        self._path, self._argv, self._finders = sys.path[:], sys.argv[:], sys.meta_path[:]
        self._cwd: Path | None = None
        with contextlib.suppress(OSError):  # it is gone
            self._cwd = Path.cwd()
        self._mains = {name: sys.modules.get(name) for name in (SCRIPT, GUARDED)}

    def restore(self, code: Code) -> None:
        global _held  # noqa: PLW0603 - a process has one
        _held = self._held
        sys.path[:], sys.argv[:], sys.meta_path[:] = self._path, self._argv, self._finders
        if self._cwd is not None:
            with contextlib.suppress(OSError):
                os.chdir(self._cwd)
        for name in code.modules:
            sys.modules.pop(name, None)
        for name, module in self._mains.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def _already_there(code: Code) -> list[str]:
    names = [name for name in code.modules if name != SCRIPT and name in sys.modules]
    if SCRIPT in code.modules and _is_the_users(sys.modules[SCRIPT]):
        names.append(SCRIPT)
    return names


def _is_the_users(main: types.ModuleType) -> bool:
    file = getattr(main, "__file__", None)
    return hasattr(sys, "ps1") if file is None else not is_installed_file(str(file))


def _import_script(code: Code) -> None:
    """Import the script, as `multiprocessing` does it for a spawned process."""
    loader = _Loader(code, SCRIPT)
    module = types.ModuleType(GUARDED)
    path = loader.get_filename(SCRIPT)
    module.__dict__.update(
        __file__=path, __cached__=None, __loader__=loader, __package__=code.script_package
    )
    # multiprocessing finds the script by it, in the processes that a loss starts.
    named = code.script_name
    module.__spec__ = importlib.machinery.ModuleSpec(named, loader, origin=path) if named else None
    _kept.extend((sys.modules[SCRIPT], module))
    sys.modules[GUARDED] = sys.modules[SCRIPT] = module
    loader.exec_module(module)


def find_loss(module: str, variable: str) -> LossDefinition:
    """Return the loss that an import defines; pickles call this, too.

    Raises ImportError if it defines none of this name.
    """
    found = getattr(importlib.import_module(module), variable, None)
    if not isinstance(found, LossDefinition):
        msg = f"the import of {module} defines no loss {variable!r}, but {found!r}"
        raise ImportError(msg)
    return found


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of a snapshot, and no others."""

    def __init__(self, code: Code) -> None:
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del target
        module = self._code.modules.get(fullname)
        if module is None or fullname == SCRIPT:
            return None
        if module.copy is None:
            found = importlib.machinery.PathFinder.find_spec(fullname, path)
            if found is not None:  # parts of it may be installed
                return found
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [module.path]
            return spec
        if not module.is_source:
            where = _compiled(self._code, module)
            folders = _folders(self._code, module)
            return importlib.util.spec_from_file_location(
                fullname, where, submodule_search_locations=folders
            )
        loader = _Loader(self._code, fullname)
        return importlib.util.spec_from_file_location(
            fullname,
            loader.get_filename(fullname),
            loader=loader,
            submodule_search_locations=_folders(self._code, module),
        )


class _Loader(importlib.abc.SourceLoader):
    """Loads a module from its source in a snapshot.

    The module's file is the one that the user wrote, so that data beside it are found and
    tracebacks name it; where a machine does not have it, it is the copy.
    """

    def __init__(self, code: Code, name: str) -> None:
        self._code = code
        self._name = name
        self._module = code.modules[name]
        self._source = code.source(name)

    def get_filename(self, fullname: str) -> str:
        del fullname
        return str(_place(self._code, self._module))

    def get_data(self, path: str | bytes) -> bytes:
        if path == self.get_filename(self._name):
            return self._source
        return Path(os.fsdecode(path)).read_bytes()

    def get_resource_reader(self, fullname: str) -> importlib.abc.ResourceReader:
        loader = importlib.machinery.SourceFileLoader(fullname, self.get_filename(fullname))
        return importlib.readers.FileReader(loader)

    def exec_module(self, module: types.ModuleType) -> None:
        # The file may have been edited since; a traceback is to show the lines that ran.
        file = self.get_filename(self._name)
        text = importlib.util.decode_source(self._source)
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        super().exec_module(module)


def _place(code: Code, module: Module) -> Path:
    path = Path(module.path)
    assert module.copy is not None  # it has a file
    copy = Path(code.folder) / module.copy
    return copy if not path.exists() and copy.exists() else path


def _folders(code: Code, module: Module) -> list[str] | None:
    return [str(_place(code, module).parent)] if module.is_package else None


def _compiled(code: Code, module: Module) -> str:
    """Return where a compiled module is as it was when the snapshot was taken.

    What it is linked with lies beside the original, so that comes first.
    """
    assert module.copy is not None  # it has a file
    for path in (Path(module.path), Path(code.folder) / module.copy):
        with contextlib.suppress(OSError):
            if hashlib.sha256(path.read_bytes()).hexdigest() == code.hashes[module.copy]:
                return str(path)
    msg = f"{module.path} has changed since the run began, and its copy can't be read here"
    raise ImportError(msg)

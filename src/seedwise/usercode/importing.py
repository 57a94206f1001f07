"""The import of the user's own code from a snapshot, as Python imports it from its files."""

import contextlib
import contextvars
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import threading
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import attrs

from seedwise.errors import ForeignCodeError
from seedwise.model.loss import LossDefinition
from seedwise.usercode.code import SCRIPT, Code, is_installed_file

#: The name under which the script is imported, so that its main guard is false.
_GUARDED = "__mp_main__"

#: The contexts in which calls of this process, or of the one that it is a fork of, sent a loss, by
#: what their shipments are marked with: they are not imported from a snapshot here.
senders: dict[str, contextvars.Context] = {}

_lock = threading.RLock()
# The code that this process holds, once for each holder, and what leaves it as it was before.
_held: list[Code] = []
_undo = contextlib.ExitStack()


def hold(code: Code) -> None:
    """Have this process import the user's code from a snapshot, and import the script.

    Path, working directory and arguments are the driver's from now on. Raises ForeignCodeError if
    the process holds other code, or has imported modules of these names from elsewhere.
    """
    with _lock:
        there = _already_there(code)
        if not _is_held(code) and (_held or there):
            raise ForeignCodeError(there)
        if not _held:
            with contextlib.ExitStack() as undo:  # what fails is tried again, and fails again
                _begin(code, undo)
                _undo.enter_context(undo.pop_all())
        _held.append(code)


def release(code: Code) -> None:
    """Leave this process as it was before it held the code, if nobody else holds it."""
    with _lock:
        if _is_held(code):
            _held.pop()
            if not _held:
                _undo.close()


def _is_held(code: Code) -> bool:
    wanted = code.path, code.cwd, code.argv, code.id
    return any((one.path, one.cwd, one.argv, one.id) == wanted for one in _held[:1])


def has_imported(code: Code) -> bool:
    """Tell whether this process has imported the very same files, as one of the script has."""
    with _lock:  # what another thread imports right now is not there yet
        there = _already_there(code)
        has_script = SCRIPT in there or SCRIPT not in code.modules
        return bool(there) and has_script and all(_is_same(code, name) for name in there)


def find_loss(module: str, variable: str) -> LossDefinition:
    """Return the loss that an import defines, or raise ImportError; pickles call this, too."""
    found = getattr(importlib.import_module(module), variable, None)
    if not isinstance(found, LossDefinition):
        raise ImportError(f"the import of {module} defines no loss {variable!r}, but {found!r}")
    return found


def _already_there(code: Code) -> list[str]:
    names = [name for name in code.modules if name != SCRIPT and name in sys.modules]
    file = getattr(sys.modules[SCRIPT], "__file__", None)
    is_the_users = hasattr(sys, "ps1") if file is None else not is_installed_file(str(file))
    return [*names, SCRIPT] if SCRIPT in code.modules and is_the_users else names


def _is_same(code: Code, name: str) -> bool:
    copy, file = code.modules[name].copy, getattr(sys.modules[name], "__file__", None)
    if copy is None or file is None:
        return copy == file
    return _has_hash(file, code.hashes[copy])


def _has_hash(file: str, expected: str) -> bool:
    with contextlib.suppress(OSError):
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() == expected
    return False


def _begin(code: Code, undo: contextlib.ExitStack) -> None:
    """Take the driver's surroundings and import the script; `undo` gets what undoes it."""
    names = (*code.modules, SCRIPT, _GUARDED)
    undo.callback(sys.modules.update, {n: sys.modules[n] for n in names if n in sys.modules})
    for name in names:
        undo.callback(sys.modules.pop, name, None)
    for live in (sys.path, sys.argv, sys.meta_path):
        undo.callback(live.__setitem__, slice(None), live[:])  # type: ignore[arg-type]
    with contextlib.suppress(OSError):  # it is gone
        undo.callback(os.chdir, Path.cwd())
    with contextlib.suppress(OSError):  # another machine may not have it
        os.chdir(code.cwd)
    here = [entry for entry in sys.path if entry not in code.path]
    sys.path[:] = [*code.path[: code.n_own], *here, *code.path[code.n_own :]]
    sys.argv[:] = sys.argv if code.argv is None else code.argv
    sys.meta_path.insert(0, _Finder(code))
    if SCRIPT in code.modules:  # imported as `multiprocessing` does it for a spawned process
        spec = _spec(code, SCRIPT, _GUARDED)
        module = importlib.util.module_from_spec(spec)
        assert isinstance(spec.loader, _Loader)  # it is a source
        # multiprocessing finds the script by it, in the processes that a loss starts.
        named = code.script_name and importlib.machinery.ModuleSpec(
            code.script_name, spec.loader, origin=spec.origin
        )
        vars(module).update(__package__=code.script_package, __spec__=named)
        sys.modules[_GUARDED] = sys.modules[SCRIPT] = module
        spec.loader.exec_module(module)


@attrs.frozen(eq=False)
class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of a snapshot, and no others."""

    _code: Code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del target
        module = self._code.modules.get(fullname)
        if module is None or fullname == SCRIPT:
            return None
        if module.copy is not None:
            return _spec(self._code, fullname, fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None:  # else parts of it may be installed
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [module.path]
        return spec


def _spec(code: Code, name: str, as_name: str) -> importlib.machinery.ModuleSpec:
    module = code.modules[name]
    file = _file(code, name)
    loader = _Loader(as_name, file, code.sources[name]) if name in code.sources else None
    spec = importlib.util.spec_from_file_location(as_name, file, loader=loader)
    assert spec is not None  # its kind of file is known
    spec.submodule_search_locations = [str(Path(file).parent)] if module.is_package else None
    return spec


def _file(code: Code, name: str) -> str:
    """Return where a module's file is: what it needs lies beside the one that the user wrote.

    Elsewhere it is the copy, as it is for a compiled module that has changed.
    """
    module, is_source = code.modules[name], name in code.sources
    assert module.copy is not None  # it has a file
    for file in (module.path, str(Path(code.folder) / module.copy)):
        if Path(file).exists() if is_source else _has_hash(file, code.hashes[module.copy]):
            return file
    if not is_source:
        msg = f"{module.path} has changed since the run began, and its copy can't be read here"
        raise ImportError(msg)
    return module.path


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from its source in a snapshot, whatever its file holds by now."""

    def __init__(self, name: str, file: str, source: bytes) -> None:
        super().__init__(name, file)
        self._source = source

    def get_data(self, path: str | bytes) -> bytes:
        return self._source if path == self.path else Path(os.fsdecode(path)).read_bytes()

    def path_stats(self, path: str) -> NoReturn:
        raise FileNotFoundError(path)  # or the bytecode of the file would be taken

    def exec_module(self, module: types.ModuleType) -> None:
        # A traceback is to show the lines that ran.
        text = importlib.util.decode_source(self._source)
        linecache.cache[self.path] = (len(text), None, text.splitlines(keepends=True), self.path)
        super().exec_module(module)

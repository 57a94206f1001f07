"""The taking of a snapshot: which files are the user's own code, and what is in them."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import itertools
import os
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from seedwise.errors import SnapshotError
from seedwise.usercode.code import SCRIPT, Code, Module
from seedwise.usercode.installed import is_installed_file, is_installed_module

#: More than this is not the code of one study: something is taken for the user's own by mistake.
_MOST_CODE_B = 100 * 1024**2
_MOST_FILES = 10_000
#: Larger data files of packages are read from where they lie.
_LARGEST_DATA_B = 1024**2
_MOST_DATA_B = 20 * 1024**2
_MOST_DATA = 1000

_IMPORT_BY_COMPUTED_NAMES = (
    b"import_module",
    b"__import__",
    b"iter_modules",
    b"walk_packages",
    b"exec_module",
)

_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@attrs.frozen
class Snapshot:
    """The user's own code, and the files that belong to it and are not Python."""

    code: Code
    #: Compiled modules, and the data files of packages, by the path of their copies.
    others: Mapping[str, bytes] = attrs.field(repr=False)

    @property
    def files(self) -> dict[str, bytes]:
        """The content of all files, by the path of their copies."""
        return {**self.code.sources, **self.others}


def take_snapshot(argv: tuple[str, ...] | None, also: Mapping[str, Path | None]) -> Snapshot:
    """Take a snapshot of the user's own code as it is now.

    It holds the script and the modules of `also`, each from a file if one is given, and what they
    import by a statement anywhere in them, and so on. It holds all other loaded modules, too, and
    the whole of the packages with small data files. These are left out if the program that runs is
    installed, as pytest is, and no module of the first imports another by a computed name.

    What lies below Python's own library, or below a ``site-packages`` or ``dist-packages`` folder,
    is installed; all else is the user's own, editable installs too. Raises SnapshotError if that
    is too much.
    """
    found = _Found()
    script = _script()
    if script is not None:
        found.add(SCRIPT, script)
    for name, path in also.items():
        found.add_by_name(name, path)
    found.add_imported()
    if _is_the_users() or found.imports_by_computed_names():
        for name, module in list(sys.modules.items()):
            found.add_loaded(name, module)
        found.add_imported()
        found.add_packages()
    entries = tuple(map(_absolute, sys.path))
    own = itertools.takewhile(lambda entry: not is_installed_file(f"{entry}/_"), entries)
    main = sys.modules[SCRIPT]
    return found.snapshot(
        path=entries,
        n_own=len(list(own)),
        cwd=str(Path.cwd()),
        argv=argv,
        script_package=str(getattr(main, "__package__", None) or "") if script else "",
        script_name=getattr(getattr(main, "__spec__", None), "name", None) if script else None,
    )


def _is_the_users() -> bool:
    """Tell whether the program is the user's own, or typed in, as in a notebook."""
    file = getattr(sys.modules[SCRIPT], "__file__", None)
    return file is None or not is_installed_file(file)


def _script() -> Path | None:
    """Return the file of the script; None if there is none, or if it is not to be imported."""
    main = sys.modules[SCRIPT]
    name = getattr(getattr(main, "__spec__", None), "name", "")
    file = getattr(main, "__file__", None)
    # As with spawned processes, the __main__.py of a package is not: it has no guard.
    if file is None or name == SCRIPT or name.endswith(f".{SCRIPT}") or is_installed_file(file):
        return None
    path = Path(file).absolute()
    return path if path.is_file() else None


def _absolute(entry: str) -> str:
    return os.path.abspath(entry or ".")  # noqa: PTH100 - as sys.path has it, links and all


class _Found:
    """What is found, by and by."""

    def __init__(self) -> None:
        self._modules: dict[str, Module] = {}
        self._files: dict[str, Path] = {}  # by the path of the copy
        self._roots: dict[Path, str] = {}
        self._data_b = self._n_data = 0

    def add(self, name: str, path: Path, *, is_package: bool = False) -> None:
        """Add a module by its file."""
        depth = name.count(".") + is_package if name != SCRIPT else 0
        root = path.parents[min(depth, len(path.parents) - 1)]
        copy = self._copy(root, path)
        if path.suffix not in (".py", *_COMPILED) and not path.name.endswith(_COMPILED):
            copy = f"{copy}.py"  # a script without a suffix
        self._files[copy] = path
        self._modules[name] = Module(str(path), copy, is_package)

    def add_by_name(self, name: str, path: Path | None) -> None:
        """Add a module by its file, or with the packages around it as Python finds it."""
        if path is not None:
            self.add(name, path)
            return
        for each in itertools.accumulate(name.split("."), "{}.{}".format):
            loaded = sys.modules.get(each)
            if loaded is not None:
                self.add_loaded(each, loaded)
            elif (spec := _find(each)) is not None:
                self._add_spec(each, spec)

    def add_loaded(self, name: str, module: object) -> None:
        """Add a module that is loaded, if it is the user's own and has a file or a folder."""
        if not isinstance(module, types.ModuleType):  # None forbids its import
            return
        content = vars(module)
        # An alias is made again by an import.
        is_another = content.get("__name__") != name or name == SCRIPT
        if name in self._modules or is_another or is_installed_module(module):
            return
        file = content.get("__file__")
        if file is None:
            self._add_namespace(name, content.get("__spec__"))
        elif file.endswith((".py", *_COMPILED)) and (path := Path(_absolute(file))).is_file():
            self.add(name, path, is_package="__path__" in content)

    def add_imported(self) -> None:
        """Add what the sources import, loaded or not, and what that imports in turn."""
        waiting, seen = list(self._modules), set(self._modules)
        while waiting:
            # In the order of the source: the copies are to have the same names each time.
            for name in dict.fromkeys(self._imports_of(waiting.pop())):
                if name not in seen:
                    seen.add(name)
                    self.add_by_name(name, None)
                    if name in self._modules:
                        waiting.append(name)

    def imports_by_computed_names(self) -> bool:
        """Tell whether a source seems to import a module by a name that it computes."""
        sources = [self._read(name) for name, module in self._modules.items() if module.is_source]
        return any(word in source for source in sources for word in _IMPORT_BY_COMPUTED_NAMES)

    def add_packages(self) -> None:
        """Add the whole of each package: its modules may be imported by computed names."""
        folders = {
            name: Path(module.path).parent
            for name, module in self._modules.items()
            if module.is_package and module.copy is not None and "." not in name
        }
        for name, folder in folders.items():
            for path in _files_below(folder):
                self._add_of_package(name, folder, path)

    def snapshot(self, **how: object) -> Snapshot:
        """Read the files."""
        if len(self._files) > _MOST_FILES:
            raise SnapshotError(f"{len(self._files)} files", list(map(str, self._roots)))
        sources: dict[str, bytes] = {}
        others: dict[str, bytes] = {}
        hashes: dict[str, str] = {}
        n_bytes = 0
        for copy, path in sorted(self._files.items()):
            content, hashes[copy] = _content(path)
            n_bytes += len(content)
            if n_bytes > _MOST_CODE_B:
                raise SnapshotError(f"{n_bytes / 1e6:.0f} MB", list(map(str, self._roots)))
            (sources if copy.endswith(".py") else others)[copy] = content
        modules = dict(sorted(self._modules.items()))
        code = Code(modules, sources, hashes, folder="", **how)  # type: ignore[arg-type]
        return Snapshot(code, others)

    def _read(self, name: str) -> bytes:
        return _content(Path(self._modules[name].path))[0]

    def _copy(self, root: Path, path: Path) -> str:
        if root not in self._roots:
            name = root.name or "root"
            n_same = sum(other.name == root.name for other in self._roots)
            self._roots[root] = f"{name}-{n_same + 1}" if n_same else name
        return f"{self._roots[root]}/{path.relative_to(root)}"

    def _add_namespace(self, name: str, spec: object) -> None:
        places = list(getattr(spec, "submodule_search_locations", None) or ())
        if places and not is_installed_file(_absolute(places[0]) + os.sep):
            self._modules[name] = Module(_absolute(places[0]), None, is_package=True)

    def _add_spec(self, name: str, spec: importlib.machinery.ModuleSpec) -> None:
        if spec.origin is None or spec.origin == "namespace":
            self._add_namespace(name, spec)
            return
        path = Path(_absolute(spec.origin))
        is_code = path.name.endswith((".py", *_COMPILED)) and path.is_file()
        if is_code and not is_installed_file(str(path)):
            self.add(name, path, is_package=spec.submodule_search_locations is not None)

    def _imports_of(self, name: str) -> Iterator[str]:
        module = self._modules[name]
        if not module.is_source:
            return
        package = name if module.is_package else name.rpartition(".")[0]
        if name == SCRIPT:
            package = str(getattr(sys.modules[SCRIPT], "__package__", None) or "")
        for imported, level, members in _imports(self._read(name)):
            try:
                base = importlib.util.resolve_name("." * level + imported, package)
            except ImportError:
                continue
            yield from itertools.accumulate(base.split("."), "{}.{}".format)
            yield from (f"{base}.{member}" for member in members)

    def _add_of_package(self, name: str, folder: Path, path: Path) -> None:
        relative = path.relative_to(folder)
        if path.name.endswith((".py", *_COMPILED)):
            parts = [*relative.parent.parts, path.name.partition(".")[0]]
            is_package = parts[-1] == "__init__"
            dotted = ".".join([name, *(parts[:-1] if is_package else parts)])
            if dotted not in self._modules and all(part.isidentifier() for part in parts):
                self.add(dotted, path, is_package=is_package)
            return
        n_bytes = path.stat().st_size
        fits = self._data_b + n_bytes <= _MOST_DATA_B and self._n_data < _MOST_DATA
        if n_bytes <= _LARGEST_DATA_B and fits:
            self._data_b += n_bytes
            self._n_data += 1
            self._files[self._copy(folder.parent, path)] = path


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith((".", "__pycache__")) and not _is_another_house(here / each)
        )
        yield from (here / file for file in sorted(files) if (here / file).is_file())


def _is_another_house(folder: Path) -> bool:
    """Tell whether a folder below a package is a virtual environment, or a run's."""
    return any((folder / name).exists() for name in ("pyvenv.cfg", "driver.lease", "meta.json"))


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module that is not loaded, without loading the packages around it."""
    path, spec = None, None
    for each in itertools.accumulate(name.split("."), "{}.{}".format):
        loaded = sys.modules.get(each)
        if loaded is not None:
            path = list(getattr(loaded, "__path__", ()))
            spec = getattr(loaded, "__spec__", None)
            continue
        try:
            if path is None:
                spec = importlib.util.find_spec(each)  # by the finders of editable installs, too
            else:  # a folder without __init__.py would look for the packages around it
                spec = importlib.machinery.PathFinder.find_spec(each.rpartition(".")[2], path)
        except (ImportError, ValueError, OSError):
            return None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _content(path: Path) -> tuple[bytes, str]:
    """Return what is in a file, and its SHA-256."""
    found = path.stat()
    read = _read if path.suffix == ".py" else _read.__wrapped__
    return read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=2000)  # a process may begin many runs
def _read(path: Path, *_: int) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


@functools.lru_cache(maxsize=2000)
def _imports(source: bytes) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    """Return the imports of a source: the module, its level, and the names taken from it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of another version of Python, perhaps
        return ()
    found: list[tuple[str, int, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            members = tuple(alias.name for alias in node.names)
            found.append((node.module or "", node.level, members))
    return tuple(found)

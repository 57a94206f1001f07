"""The user's own code: told from what is installed, taken as a snapshot, saved and sent."""

import ast
import collections
import contextlib
import functools
import hashlib
import importlib.machinery
import importlib.util
import itertools
import json
import os
import re
import site
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs

import seedwise
from seedwise.errors import SnapshotError

_HEAP_TYPE = 1 << 9  # flag of a class that Python code has made

#: More than this is not the code of one study: something is taken for the user's own by mistake.
_MOST_B = 100 * 1024**2
_MOST_FILES = 10_000
#: Other data files of packages are read from where they lie.
_LARGEST_DATA_B = 1024**2
_MOST_DATA_B = 20 * 1024**2
_MOST_DATA = 1000

#: What marks a folder below a package as a virtual environment, or as a run's.
_NO_CODE_BESIDE = ("pyvenv.cfg", "driver.lease", "meta.json")

_CODE = (".py", *importlib.machinery.EXTENSION_SUFFIXES)

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
    with contextlib.suppress(SyntaxError, ValueError):  # it can't be imported
        return importlib.util.decode_source(source)
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


def is_installed_module(module: object) -> bool:
    """Tell whether a module, or the one of a name, is installed."""
    # What comes from a module that is not loaded came by value, so it is the user's.
    loaded = sys.modules.get(module) if isinstance(module, str) else module
    content = getattr(loaded, "__dict__", {})
    if content.get("__name__") == SCRIPT:  # a console script lies in the environment
        return False
    file = content.get("__file__") or next(iter(content.get("__path__") or ()), None)
    origin = getattr(content.get("__spec__"), "origin", None)
    return is_installed_file(str(file)) if file else origin in ("built-in", "frozen")


def is_installed_class(class_: type) -> bool:
    """Tell whether a class is installed, or made in C."""
    return not class_.__flags__ & _HEAP_TYPE or is_installed_module(class_.__module__)


def is_installed_code(code: types.CodeType, module: object = None) -> bool:
    """Tell whether code is installed; if it has no file, its module tells."""
    file = code.co_filename
    if file.startswith("<"):
        return file.startswith("<frozen") or is_installed_module(module)
    return is_installed_file(file)


def take_snapshot(
    argv: tuple[str, ...] | None, also: Mapping[str, Path | None]
) -> tuple[Code, dict[str, bytes]]:
    """Take a snapshot of the user's own code: return it, and all files by the paths of copies.

    It holds the script, all loaded modules, those of `also`, each from a file if one is given,
    what these import by a statement anywhere, and so on, and the whole of packages with small data
    files. In a test of pytest's, whose process has loaded all tests, the other loaded modules and
    the packages are left out. Editable installs are the user's own, too.
    """
    main = sys.modules[SCRIPT]
    script = _script(main)
    package = str(getattr(main, "__package__", None) or "") if script else ""
    is_test = "pytest" in sys.modules and "PYTEST_CURRENT_TEST" in os.environ
    found = _Found(package)
    for name, path in {**also, SCRIPT: script}.items():
        if path is None:
            found.add(name)
        else:
            found.add_file(name, path)
    for name in () if is_test else list(sys.modules):
        found.add(name)
    found.add_imported()
    if not is_test:
        found.add_packages()
    entries = tuple(map(_absolute, sys.path))
    own = itertools.takewhile(lambda entry: not is_installed_file(f"{entry}/_"), entries)
    files = dict(sorted(found.files.items()))
    code = Code(
        modules=dict(sorted(found.modules.items())),
        sources=dict(sorted(found.sources.items())),
        hashes={copy: hashlib.sha256(content).hexdigest() for copy, content in files.items()},
        folder="",
        path=entries,
        n_own=len(list(own)),
        cwd=str(Path.cwd()),
        argv=argv,
        script_package=package,
        script_name=getattr(getattr(main, "__spec__", None), "name", None) if script else None,
    )
    return code, files


def _script(main: types.ModuleType) -> Path | None:
    """Return the file of the script; None if there is none, or if it is not to be imported."""
    name = getattr(getattr(main, "__spec__", None), "name", "")
    file = getattr(main, "__file__", None)
    # As with spawned processes, the __main__.py of a package is not: it has no guard.
    if file is None or f".{name}".endswith(f".{SCRIPT}") or is_installed_file(file):
        return None
    path = Path(file).absolute()
    return path if path.is_file() else None


def _absolute(entry: str) -> str:
    return os.path.abspath(entry or ".")  # noqa: PTH100 - as sys.path has it, links and all


class _Found:
    """What is found, by and by."""

    def __init__(self, script_package: str) -> None:
        self.modules: dict[str, Module] = {}
        self.sources: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self._script_package = script_package
        self._seen = {SCRIPT}
        self._waiting: list[str] = []  # the modules whose imports are not added yet
        self._n_bytes = self._data_b = self._n_data = 0

    def add(self, name: str) -> None:
        """Add a module, and the packages around it, if it is the user's own."""
        for each in itertools.accumulate(name.split("."), "{}.{}".format):
            if each in self._seen or each in self.modules:
                continue
            self._seen.add(each)
            file, folders = _find(each)
            where = file or next(iter(folders or ()), None)
            if where is None or is_installed_file(where):
                continue
            path = Path(_absolute(where))
            if file is None:
                self.modules[each] = Module(str(path), None, is_package=True)
            elif path.name.endswith(_CODE) and path.is_file():
                self.add_file(each, path, is_package=folders is not None)

    def add_file(self, name: str, path: Path, *, is_package: bool = False) -> None:
        """Add a module by its file."""
        copy = _copy(path)
        if not copy.endswith(_CODE):
            copy = f"{copy}.py"  # a script without a suffix
        self._keep(path, copy)
        self.modules[name] = Module(str(path), copy, is_package)
        if copy.endswith(".py"):
            self.sources[name] = self.files[copy]
            self._waiting.append(name)

    def add_imported(self) -> None:
        """Add what the sources import, loaded or not, and what that imports in turn."""
        while self._waiting:
            name = self._waiting.pop()
            package = name if self.modules[name].is_package else name.rpartition(".")[0]
            if name == SCRIPT:
                package = self._script_package
            for imported in _imports(self.sources[name]):
                with contextlib.suppress(ImportError):  # beyond the package
                    self.add(importlib.util.resolve_name(imported, package))

    def add_packages(self) -> None:
        """Add all of the packages: what they import by computed names, and their data."""
        for name, module in sorted(self.modules.items()):
            if "." in name or not module.is_package or module.copy is None:
                continue
            folder = Path(module.path).parent
            for path in _files_below(folder):
                n_bytes = path.stat().st_size
                fits = self._data_b + n_bytes <= _MOST_DATA_B and self._n_data < _MOST_DATA
                if path.name.endswith(_CODE):
                    inner = [*path.relative_to(folder).parts[:-1], path.name.partition(".")[0]]
                    self.add(".".join([name, *inner]).removesuffix(".__init__"))
                elif n_bytes <= _LARGEST_DATA_B and fits:
                    self._data_b += n_bytes
                    self._n_data += 1
                    self._keep(path, _copy(path))

    def _keep(self, path: Path, copy: str) -> None:
        if copy in self.files:
            return
        self._n_bytes += path.stat().st_size
        if self._n_bytes > _MOST_B or len(self.files) == _MOST_FILES:
            size = f"more than {_MOST_FILES} files or {_MOST_B / 1024**2:.0f} MB"
            folders = collections.Counter(f"/{Path(copy).parent}" for copy in self.files)
            raise SnapshotError(size, [folder for folder, _ in folders.most_common(3)])
        self.files[copy] = path.read_bytes()


def _copy(path: Path) -> str:
    """Return the path of a file's copy: the file's own, where its folder really is."""
    return str(path.parent.resolve() / path.name).lstrip("/")


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith((".", "__pycache__"))
            and not any((here / each / mark).exists() for mark in _NO_CODE_BESIDE)
        )
        yield from (here / file for file in sorted(files) if (here / file).is_file())


def _find(name: str) -> tuple[str | None, Sequence[str] | None]:
    """Return a module's file, and the folders of a package, without loading anything."""
    loaded = sys.modules.get(name)
    if isinstance(loaded, types.ModuleType):
        content = vars(loaded)
        is_alias = content.get("__name__") != name  # an import makes it again
        return (None, None) if is_alias else (content.get("__file__"), content.get("__path__"))
    parent, _, last = name.rpartition(".")
    try:
        if parent:  # a folder without __init__.py would look for the packages around it
            spec = importlib.machinery.PathFinder.find_spec(last, _find(parent)[1] or [])
        else:
            spec = importlib.util.find_spec(name)  # by the finders of editable installs, too
    except (ImportError, ValueError, OSError):
        spec = None
    if spec is None:
        return None, None
    return spec.origin if spec.has_location else None, spec.submodule_search_locations


@functools.lru_cache(maxsize=2000)  # a process may begin many runs
def _imports(source: bytes) -> tuple[str, ...]:
    """Return what a source imports; what it takes from a module may be a module, too."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of another version of Python, perhaps
        return ()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            base = "." * getattr(node, "level", 0) + (f"{module}." if module else "")
            found += [base + alias.name for alias in node.names]
    return tuple(found)

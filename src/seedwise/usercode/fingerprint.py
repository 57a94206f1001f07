"""Fingerprints of code and of configured objects, the same in every process."""

from __future__ import annotations

import contextlib
import copyreg
import dis
import enum
import functools
import hashlib
import importlib.util
import itertools
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
from dask.base import tokenize

from seedwise.model.loss import LossDefinition
from seedwise.usercode.installed import (
    is_installed_class,
    is_installed_code,
    is_installed_file,
    is_installed_module,
)

_MOST_OBJECTS = 200_000  # what lies further away does not count

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))

# Attributes of a class that only describe its source, or are caches.
_NOT_CODE = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "_abc_impl"),
    *("__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
    *("__slotnames__", "__attrs_base_of_slotted__", "__attrs_props__"),
}
_KIND_OF_FUNCTION = 0x3AC  # flags of a code object: *args, **kwargs, generator, async

_NO_STEPS = ("EXTENDED_ARG", "NOP", "CACHE")
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_undirected = functools.partial(re.compile("_(FORWARD|BACKWARD|ABSOLUTE|NO_INTERRUPT)").sub, "")

_Import = tuple[str, int, tuple[str, ...]]  # the module, its level, and the names taken from it


def fingerprint(value: object) -> str:
    """Say in 16 hex digits what a function does, or how an object is configured.

    The same code and data have the same fingerprint in every process of one minor version of
    Python, on which bytecode depends. Comments, formatting, docstrings, the place in the file and
    unused code make no difference. A function's fingerprint changes with its code and with all of
    the user's own that it uses, also through the user's modules: functions, classes, closures,
    defaults, constants. What is installed counts by its name only, whatever its version, and what
    can't be looked into, such as a lock, by its type.

    >>> fingerprint({"a", "b"}) == fingerprint({"b", "a"}) != fingerprint({"a"})
    True
    """
    walk = _Walk()
    walk.visit((*sys.version_info[:2], value))
    return walk.digest()


class _Walk:
    """A walk through all that can be reached from a value, which digests it.

    An object with an identity gets a number at the first visit and waits in a queue, so cycles end
    and no chain is too deep.
    """

    def __init__(self, numbers: dict[int, int] | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        self._numbers = dict(numbers or {})
        self._kept: list[object] = []  # Python reuses the id of an object that is gone
        self._queue: deque[object] = deque()

    def digest(self) -> str:
        while self._queue:
            value = self._queue.popleft()
            try:
                self.visit(_described(value))
            except Exception:
                self._put("opaque", *_name(type(value)))
        return self._hash.hexdigest()

    def visit(self, value: Any, depth: int = 0) -> None:
        kind = type(value)
        if kind in _ATOMS:
            text = hex(value) if kind is int else repr(value)  # a decimal int has too many digits
            self._put(kind.__name__, value if kind in (str, bytes) else text)
        elif kind is tuple and depth < 50:
            # By value: whether equal constants are one object is up to the compiler.
            self._put("tuple", str(len(value)))
            for item in value:
                self.visit(item, depth + 1)
        elif kind is frozenset:
            # Its order differs from process to process.
            self._put("set", *sorted(map(self._alone, value)))
        elif kind is types.CodeType:
            self.visit(_code(value), depth)
        elif id(value) in self._numbers:
            self._put("again", str(self._numbers[id(value)]))
        elif len(self._numbers) >= _MOST_OBJECTS:
            self._put("too far", *_name(kind))
        else:
            self._put("object")
            self._numbers[id(value)] = len(self._numbers)
            self._kept.append(value)
            self._queue.append(value)

    def _alone(self, value: object) -> str:
        walk = _Walk({} if type(value) in _ATOMS else self._numbers)
        walk.visit(value)
        return walk.digest()

    def _put(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)


def _described(value: Any) -> object:
    """Return what counts of an object, as simpler ones."""
    for kinds, describe in _DESCRIBED:
        if isinstance(value, kinds):
            return describe(value)
    kind = type(value)
    if kind in (list, tuple, set):
        return kind.__name__, frozenset(value) if kind is set else tuple(value)
    if kind in (dict, types.MappingProxyType):
        return "dict", tuple(value.items())
    if kind in (np.ndarray, np.memmap):
        data = value.tolist() if value.dtype.hasobject else value.tobytes()
        return "array", repr(value.dtype), value.shape, data
    return _instance(value)


def _function(function: types.FunctionType) -> tuple[object, ...]:
    code, attributes = function.__code__, vars(function)
    if code.co_filename.startswith("<attrs generated"):
        # It follows from the fields, and its __hash__ has numbers that differ by process.
        return ("generated",)
    # A decorator from a library has the user's function in its closure.
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    closure = (*((name, _content(cell)) for name, cell in cells), attributes.get("__wrapped__"))
    namespace = function.__globals__
    if is_installed_code(
        code, namespace.get("__name__")
    ):  # functools.wraps does not change these globals
        return "installed", str(namespace.get("__name__")), code.co_qualname, closure
    names, read, imports = _names_used(code)
    return (
        *("function", code, function.__defaults__, function.__kwdefaults__, closure),
        tuple((name, _meant(namespace[name], read)) for name in names if name in namespace),
        tuple((name, attributes[name]) for name in sorted(read & attributes.keys())),
        tuple(_sources(imports, str(namespace.get("__package__") or ""))),
    )


def _code(code: types.CodeType) -> tuple[object, ...]:
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    n_args = counts[0] + counts[2] + (code.co_flags & 0xC).bit_count()  # *args and **kwargs
    try:
        steps: tuple[object, ...] = tuple(_listing(code))
    except Exception:  # a Python with another bytecode
        steps = code.co_code, code.co_names, code.co_consts
    return "code", counts, code.co_flags & _KIND_OF_FUNCTION, code.co_varnames[:n_args], steps


def _content(cell: types.CellType) -> tuple[object, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()  # nothing yet


def _meant(value: object, read: frozenset[str], above: tuple[int, ...] = ()) -> object:
    """Return a value; for a module of the user, all that ``module.name`` may mean in the code."""
    if not isinstance(value, types.ModuleType) or is_installed_module(value):
        return value
    content, inside = vars(value), (*above, id(value))
    names = () if id(value) in above else sorted(read & content.keys())
    return tuple((name, _meant(content[name], read, inside)) for name in names)


def _sources(imports: Iterable[_Import], package: str) -> Iterator[ModuleSpec]:
    """Find the user's modules that are imported when the code runs.

    They may not be loaded yet, and loading them may do anything; so the whole file counts.
    """
    for name, level, members in imports:
        for each in (name, *(f"{name}.{member}" if name else member for member in members)):
            with contextlib.suppress(ImportError, ValueError):
                spec = _users_spec(importlib.util.resolve_name("." * level + each, package))
                if spec is not None:
                    yield spec


@functools.cache  # one object for each module, as they may import one another
def _users_spec(module: str) -> ModuleSpec | None:
    path, spec = None, None
    for name in itertools.accumulate(module.split("."), "{}.{}".format):
        if spec is not None and path is None:  # not a package
            return None
        specs = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    origin = (spec and spec.origin) or ""
    return spec if origin.endswith(".py") and not is_installed_file(origin) else None


def _source(spec: ModuleSpec) -> tuple[object, ...]:
    code = compile(Path(str(spec.origin)).read_bytes(), "", "exec", dont_inherit=True)
    return "source", code, tuple(_sources(_names_used(code)[2], spec.parent or ""))


def _class(class_: type) -> tuple[object, ...]:
    if is_installed_class(class_):
        return "installed", *_name(class_)
    slot = types.MemberDescriptorType
    content = {name: value for name, value in vars(class_).items() if type(value) is not slot}
    content = {name: value for name, value in content.items() if name not in _NOT_CODE}
    if issubclass(class_, enum.Enum):  # its tables differ by how it was made
        content = {name: value for name, value in content.items() if _is_users_method(value)}
        content |= {name: member.value for name, member in class_.__members__.items()}
    return "class", class_.__qualname__, type(class_), class_.__bases__, *sorted(content.items())


def _instance(value: Any) -> tuple[object, ...]:
    class_ = type(value)
    if class_.__module__ in ("weakref", "_weakref", "_weakrefset"):
        return (class_,)  # caches
    if is_installed_class(class_) and "__wrapped__" in getattr(value, "__dict__", {}):
        # A function that a library wrapped, as lru_cache and numba do: full of caches.
        return class_, value.__wrapped__
    if class_.__module__.partition(".")[0] in ("pandas", "pyarrow"):
        return class_, tokenize(value, ensure_deterministic=True)
    try:  # what pickle would write: the object's own account of its content
        reduce = copyreg.dispatch_table.get(class_)
        reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception:  # it can't be pickled, such as a lock
        return class_, None if is_installed_class(class_) else getattr(value, "__dict__", None)
    if isinstance(reduced, str):
        return class_, reduced
    parts = [part if i < 3 else tuple(part or ()) for i, part in enumerate(reduced[:5])]
    if class_.__module__ == "optuna.samplers._qmc" and vars(value)["_seed"] >= 1 << 32:
        parts[2] = {**vars(value), "_seed": None}  # Optuna draws 64 bits if no seed is given
    return class_, *parts


def _name(class_: type) -> tuple[str, str]:
    return str(class_.__module__), class_.__qualname__


def _is_users_method(value: object) -> bool:
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return type(value) is property or (code is not None and not is_installed_code(code))


def _listing(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Yield what a piece of code does, whatever its line numbers and docstrings.

    Constants are named by value, and jumps by where they lead in the end: the compiler shortens a
    jump to a jump only if both are on one line.
    """
    steps: list[dis.Instruction] = []
    at = {}
    for step in dis.get_instructions(code):
        noted = step.opname == "STORE_NAME" and step.argval in _NOT_CODE
        if noted and steps and steps[-1].opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            steps.pop()  # the docstring of a class in this code
        at[step.offset] = len(steps)
        if not noted and step.opname not in _NO_STEPS:
            steps.append(step)
    for step in steps:
        yield _landing(step, steps, at) if step.opcode in _JUMPS else (step.opname, step.argval)
    handlers: list[list[Any]] = []
    for entry in dis._parse_exception_table(code):  # type: ignore[attr-defined] # noqa: SLF001
        start, end = at[entry.start], at.get(entry.end, len(steps))
        handler = [at[entry.target], entry.depth, entry.lasti]
        if handlers and handlers[-1][1:] == [start, *handler]:
            handlers[-1][1] = end
        elif start < end:
            handlers.append([start, end, *handler])
    yield "handlers", str(handlers)


def _landing(
    step: dis.Instruction, steps: list[dis.Instruction], at: dict[int, int]
) -> tuple[str, int]:
    name, target = _undirected(step.opname), at[step.argval]
    for _ in steps:  # no chain is longer, but an empty endless loop is a circle
        there = steps[target] if target < len(steps) else step
        next_name = _undirected(there.opname)
        if next_name == "JUMP":
            target = at[there.argval]
        elif name.endswith("_OR_POP") and "JUMP_IF_" in next_name and "NONE" not in next_name:
            if ("TRUE" in name) == ("TRUE" in next_name):
                name, target = next_name, at[there.argval]
            else:
                name, target = f"POP_{name.removesuffix('_OR_POP')}", target + 1
        else:
            break
    return name, target


def _names_used(code: types.CodeType) -> tuple[list[str], frozenset[str], list[_Import]]:
    """Return the globals, the attributes, and the imports of code and all functions in it."""
    names: dict[str, None] = {}
    stored, read, imports, codes = set(), set(), [], [code]
    for piece in codes:
        codes += [const for const in piece.co_consts if isinstance(const, types.CodeType)]
        steps = [step for step in dis.get_instructions(piece) if step.opname not in _NO_STEPS]
        for i, step in enumerate(steps):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names[step.argval] = None
            elif step.opname == "STORE_GLOBAL":
                stored.add(step.argval)  # a counter or a cache, not a constant
            elif step.opname == "IMPORT_NAME":
                imports.append((step.argval, steps[i - 2].argval, steps[i - 1].argval or ()))
            elif step.opcode in dis.hasname:
                read.add(step.argval)
    return [name for name in names if name not in stored], frozenset(read), imports


_DESCRIBED: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (type, _class),
    (types.FunctionType, _function),
    (types.BuiltinMethodType, lambda it: ("builtin", it.__qualname__, it.__self__)),
    (types.MethodType, lambda it: ("method", it.__func__, it.__self__)),
    (types.ModuleType, lambda module: ("module", module.__name__)),
    (ModuleSpec, _source),
    (property, lambda it: ("property", it.fget, it.fset, it.fdel)),
    ((classmethod, staticmethod), lambda it: (type(it).__name__, it.__func__)),
    (enum.Enum, lambda member: ("member", type(member), str(member.name), member.value)),
    # A loss's name and space are compared elsewhere, where the difference can be named.
    (LossDefinition, lambda it: ("loss", it.function, it.call_shape.name, it.vectorized)),
)

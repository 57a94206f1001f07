"""Fingerprints of configured objects, and of code that goes by value."""

from __future__ import annotations

import copyreg
import dis
import enum
import hashlib
import sys
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from dask.base import tokenize

from seedwise.model.loss import LossDefinition
from seedwise.usercode.installed import is_installed_class, is_installed_code
from seedwise.usercode.pickling import SourceOf, goes_by_name, no_source

_MOST_OBJECTS = 200_000  # what lies further away does not count

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))

# Attributes of a class that only describe its source, or are caches.
_NOT_CODE = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "_abc_impl"),
    *("__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
    *("__slotnames__", "__attrs_base_of_slotted__", "__attrs_props__"),
}
_KIND_OF_FUNCTION = 0x3AC  # flags of a code object: *args, **kwargs, generator, async


@attrs.frozen
class Fingerprint:
    """What an object is, in short."""

    #: 16 hex digits.
    digest: str
    #: The names in the code that was looked at: of globals, attributes and modules.
    names: frozenset[str]


def fingerprint(value: object, source_of: SourceOf = no_source) -> Fingerprint:
    """Say what a function that goes by value does, or how an object is configured.

    The same code and data have the same digest in every process of one minor version of Python, on
    which bytecode depends. Comments, docstrings, the place in the file and unused code make no
    difference. What goes by name, and what is installed, counts by its name only, and what can't
    be looked into, such as a lock, by its type.

    >>> fingerprint({"a", "b"}) == fingerprint({"b", "a"}) != fingerprint({"a"})
    True
    """
    walk = _Walk(source_of)
    walk.visit((*sys.version_info[:2], value))
    return Fingerprint(walk.digest(), frozenset(walk.names))


class _Walk:
    """A walk through all that can be reached from a value, which digests it.

    An object with an identity gets a number at the first visit and waits in a queue, so cycles end
    and no chain is too deep.
    """

    def __init__(self, source_of: SourceOf, numbers: dict[int, int] | None = None) -> None:
        self.names: set[str] = set()
        self._source_of = source_of
        self._hash = hashlib.blake2b(digest_size=8)
        self._numbers = dict(numbers or {})
        self._kept: list[object] = []  # Python reuses the id of an object that is gone
        self._queue: deque[object] = deque()

    def digest(self) -> str:
        while self._queue:
            value = self._queue.popleft()
            try:
                self.visit(self._described(value))
            except Exception:
                self._put("opaque", *_name(type(value)))
        return self._hash.hexdigest()

    def visit(self, value: Any, depth: int = 0) -> None:
        kind = type(value)
        if kind in _ATOMS:
            self._put(kind.__name__, _text(value))
        elif kind is memoryview:
            self._put("bytes", value)
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
        walk = _Walk(self._source_of, {} if type(value) in _ATOMS else self._numbers)
        walk.visit(value)
        digest = walk.digest()
        self.names |= walk.names
        return digest

    def _described(self, value: Any) -> object:
        if isinstance(value, types.FunctionType | type) and goes_by_name(value, self._source_of):
            self.names.update((value.__module__, *value.__qualname__.split(".")))
            return "by name", value.__module__, value.__qualname__
        if isinstance(value, types.FunctionType):
            self.names |= _names_used(value.__code__)[1]
        elif isinstance(value, types.ModuleType):
            self.names.add(value.__name__)
        return _described(value)

    def _put(self, *parts: str | bytes | memoryview) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)


def _text(atom: Any) -> str | bytes:
    if isinstance(atom, str | bytes):
        return atom
    return hex(atom) if type(atom) is int else repr(atom)  # a decimal int has too many digits


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
        dtype = repr(value.dtype), value.shape
        if value.dtype.hasobject:
            return "array", *dtype, value.tolist()
        return "array", *dtype, np.ascontiguousarray(value).data.cast("B")
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
    names, all_names = _names_used(code)
    return (
        *("function", code, function.__defaults__, function.__kwdefaults__, closure),
        tuple((name, namespace[name]) for name in names if name in namespace),
        tuple((name, attributes[name]) for name in sorted(all_names & attributes.keys())),
    )


def _code(code: types.CodeType) -> tuple[object, ...]:
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    n_args = counts[0] + counts[2] + (code.co_flags & 0xC).bit_count()  # *args and **kwargs
    has_docstring = code.co_consts[:1] and isinstance(code.co_consts[0], str)
    constants = (None, *code.co_consts[1:]) if has_docstring else code.co_consts
    steps = code.co_code, code.co_names, constants, code.co_exceptiontable
    return "code", counts, code.co_flags & _KIND_OF_FUNCTION, code.co_varnames[:n_args], steps


def _content(cell: types.CellType) -> tuple[object, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()  # nothing yet


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


def _generator(value: np.random.RandomState) -> tuple[object, ...]:
    # The state of numpy's own differs from process to process.
    is_numpys = value is np.random.mtrand._rand  # noqa: SLF001
    return ("numpy's generator",) if is_numpys else _instance(value)


def _name(class_: type) -> tuple[str, str]:
    return str(class_.__module__), class_.__qualname__


def _is_users_method(value: object) -> bool:
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return type(value) is property or (code is not None and not is_installed_code(code))


def _names_used(code: types.CodeType) -> tuple[list[str], frozenset[str]]:
    """Return the names of globals that code and all functions in it read, and all their names."""
    names: dict[str, None] = {}
    stored, codes = set(), [code]
    for piece in codes:
        codes += [const for const in piece.co_consts if isinstance(const, types.CodeType)]
        for step in dis.get_instructions(piece):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names[step.argval] = None
            elif step.opname == "STORE_GLOBAL":
                stored.add(step.argval)  # a counter or a cache, not a constant
    used = frozenset(name for piece in codes for name in piece.co_names)
    return [name for name in names if name not in stored], used


_DESCRIBED: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (type, _class),
    (types.FunctionType, _function),
    (types.BuiltinMethodType, lambda it: ("builtin", it.__qualname__, it.__self__)),
    (types.MethodType, lambda it: ("method", it.__func__, it.__self__)),
    (types.ModuleType, lambda module: ("module", module.__name__)),
    (np.random.RandomState, _generator),
    (property, lambda it: ("property", it.fget, it.fset, it.fdel)),
    ((classmethod, staticmethod), lambda it: (type(it).__name__, it.__func__)),
    (enum.Enum, lambda member: ("member", type(member), str(member.name), member.value)),
    # A loss's name and space are compared elsewhere, where the difference can be named.
    (LossDefinition, lambda it: ("loss", it.function, it.call_shape.name, it.vectorized)),
)

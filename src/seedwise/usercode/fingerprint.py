"""Fingerprints of configured objects, and of code that goes by value."""

import dis
import enum
import hashlib
import itertools
import random
import sys
import types
from collections.abc import Callable, Iterator
from pickle import PickleBuffer, Pickler
from typing import Any

import numpy as np

from seedwise.model.loss import LossDefinition
from seedwise.usercode.code import is_installed_class, is_installed_code
from seedwise.usercode.pickling import DISPATCH_TABLE, SourceOf, goes_by_name, no_source

# What is written whole, as dtypes are: whether equal ones are one object differs by process.
_WRITTEN = {type(None), bool, int, float, complex, str, bytes, bytearray, tuple, PickleBuffer}

# So many objects count: all of the value's, some of a member's that a set is sorted by, and few
# of a member's of a set in it.
_MOST_OBJECTS = (None, 50, 10)

# Attributes of a class that only describe its source, or are caches.
_NOT_CODE = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__slotnames__"),
    *("__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
}
_KIND_OF_FUNCTION = 0x3AC  # flags of a code object: *args, **kwargs, generator, async

_ACCOUNTS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    property: lambda it: (it.fget, it.fset, it.fdel),  # without the docstring
    # A loss's name and space are compared elsewhere, where the difference can be named.
    LossDefinition: lambda it: (it.function, it.call_shape.name, it.vectorized),
}


def fingerprint(value: object, source_of: SourceOf = no_source) -> tuple[str, set[str]]:
    """Return 16 hex digits that say what a function does, or how an object is configured.

    Also return the names in the code that was looked at: of globals, attributes and modules. The
    digits are the same in every process of one minor version of Python, on which bytecode depends.
    What goes by name, and what is installed, counts by its name only, and what can't be looked
    into, such as a lock, by its type.
    """
    walk = _Walk(source_of)
    return walk.digest((sys.version_info[:2], value)), walk.names


class _Walk(Pickler):
    """Pickles a value into a hash, and then what counts of each object that was met.

    An object with an identity gets a number when it is met and waits for its turn, so cycles end
    and no chain is too deep. Pickle's own memo is off: whether equal constants are one object is
    up to the compiler.
    """

    def __init__(self, source_of: SourceOf, depth: int = 0) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        super().__init__(types.SimpleNamespace(write=self._hash.update), protocol=5)
        self.fast = True
        self.names: set[str] = set()
        self._source_of = source_of
        self._depth = depth
        self._numbers: dict[int, int] = {}
        self._met: list[object] = []

    def digest(self, value: object) -> str:
        self._met.append([value])
        for met in itertools.islice(self._met, _MOST_OBJECTS[self._depth]):  # it grows
            try:
                self.dump(self._described(met))
            except Exception:  # it can't be pickled, such as a lock
                self.dump(_name(type(met)))
        return self._hash.hexdigest()

    def persistent_id(self, value: Any) -> object:
        """Return what is written instead of a value; None is the value itself."""
        if type(value) in _WRITTEN or isinstance(value, np.dtype):
            return None
        if type(value) is frozenset:
            return self._members(value)
        if type(value) is types.CellType:  # a copy has one for each function
            return DISPATCH_TABLE[types.CellType](value)
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._numbers)
            self._met.append(value)
        return self._numbers[id(value)]

    def _members(self, values: set[object] | frozenset[object]) -> tuple[object, ...]:
        """Sort a set, whose order differs from process to process."""
        if self._depth + 1 == len(_MOST_OBJECTS):
            return "set", len(values)
        return "set", *sorted(values, key=self._key)

    def _key(self, member: object) -> str:
        if id(member) in self._numbers:
            return str(self._numbers[id(member)])
        return _Walk(self._source_of, self._depth + 1).digest(member)

    def _described(self, value: Any) -> object:
        """Return what counts of an object, in simpler ones."""
        kind = type(value)
        if kind in (list, dict):
            return kind.__name__, *(value if kind is list else value.items())
        if kind is set:
            return self._members(value)
        if goes_by_name(value, self._source_of):
            self.names.update((value.__module__, *value.__qualname__.split(".")))
            return "by name", *_name(value)
        if kind is types.ModuleType:
            self.names.add(value.__name__)
        if kind is types.FunctionType:
            return self._function(value)
        if kind is types.CodeType:
            return tuple(code_steps(value))
        return _class(value) if issubclass(kind, type) else _instance(value)

    def _function(self, function: types.FunctionType) -> tuple[object, ...]:
        code, namespace = function.__code__, function.__globals__
        home = namespace.get("__name__")  # functools.wraps does not change it
        # What attrs generates follows from the fields, and has numbers that differ by process.
        if is_installed_code(code, home) or code.co_filename.startswith("<attrs generated"):
            # A decorator from a library has the user's function in its closure.
            wrapped = vars(function).get("__wrapped__")
            return "installed", home, code.co_qualname, function.__closure__, wrapped
        steps = list(code_steps(code))
        self.names.update(name for step, name in steps if dis.opmap.get(step) in dis.hasname)
        stored = {name for step, name in steps if step == "STORE_GLOBAL"}  # a counter or a cache
        read = {name: None for step, name in steps if step == "LOAD_GLOBAL"}
        constants = [namespace[name] for name in read if name in namespace and name not in stored]
        captured = function.__defaults__, function.__kwdefaults__, function.__closure__
        return "function", *steps, captured, vars(function), *constants


def code_steps(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Yield what code does, and the functions in it; no step loads a docstring."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    names = code.co_varnames, code.co_freevars
    yield "code", (*counts, code.co_flags & _KIND_OF_FUNCTION, *names, code.co_exceptiontable)
    for step in dis.get_instructions(code):
        if isinstance(step.argval, types.CodeType):
            yield from code_steps(step.argval)
        else:
            yield step.opname, step.argval


def _class(class_: type) -> tuple[object, ...]:
    if is_installed_class(class_):
        return "installed", *_name(class_)
    content = sorted(
        (name, value)
        for name, value in vars(class_).items()
        if type(value) is not types.MemberDescriptorType and name not in _NOT_CODE
    )
    return "class", class_.__qualname__, type(class_), class_.__bases__, *content


def _instance(value: Any) -> tuple[object, ...]:
    class_ = type(value)
    is_global = value is random._inst or value is np.random.mtrand._rand  # noqa: SLF001
    if is_global or class_.__module__ in ("weakref", "_weakref", "_weakrefset"):
        return (class_,)  # a state or a cache, which differs from process to process
    if is_installed_class(class_) and "__wrapped__" in getattr(value, "__dict__", {}):
        # A function that a library wrapped, as lru_cache and numba do: full of caches.
        return class_, value.__wrapped__
    if issubclass(class_, enum.Enum):
        return class_, value.name, value.value
    # What pickle would write: the object's own account of its content.
    reduce = _ACCOUNTS.get(class_) or DISPATCH_TABLE.get(class_)
    reduced = value.__reduce_ex__(5) if reduce is None else reduce(value)
    if isinstance(reduced, str):
        return class_, getattr(value, "__module__", None), reduced
    parts = [part if i < 3 else tuple(part or ()) for i, part in enumerate(reduced[:5])]
    if class_.__module__ == "optuna.samplers._qmc" and vars(value)["_seed"] >= 1 << 32:
        parts[2] = {**vars(value), "_seed": None}  # Optuna draws 64 bits if no seed is given
    return class_, *parts


def _name(value: Any) -> tuple[str, str]:
    return str(value.__module__), value.__qualname__

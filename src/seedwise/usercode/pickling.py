"""Pickles that name the user's code, and hold by value only what no import gives."""

import ast
import contextlib
import functools
import importlib.util
import io
import sys
import threading
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import CodeType, FunctionType
from typing import Any, TypeAlias

import cloudpickle

from seedwise.model.loss import LossDefinition
from seedwise.usercode.code import SCRIPT
from seedwise.usercode.find import is_guard
from seedwise.usercode.importing import find_loss

#: Returns the source of a module that can be imported elsewhere; None of any other.
SourceOf: TypeAlias = Callable[[str], bytes | None]

#: For when no module of the user's own can be imported elsewhere.
no_source: SourceOf = lambda _: None  # noqa: E731

# Since version 3.1.3 cloudpickle writes this for the file of all code.
_NO_FILE = "<dynamic-code>"


def dumps(value: object, source_of: SourceOf = no_source) -> bytes:
    """Pickle a value as cloudpickle does, but keep the names of the files that code comes from.

    A traceback of a loss on a worker shows them. `source_of` returns the source of a module that
    whoever reads the pickle can import: what it defines goes by its name. Plain pickle reads it.
    """
    with io.BytesIO() as file:
        _Pickler(file, source_of).dump(value)
        return file.getvalue()


def name_of(loss: LossDefinition, source_of: SourceOf) -> tuple[str, str] | None:
    """Return the module and the variable that hold a loss once imported; None if none does."""
    home = str(getattr(loss.function, "__module__", None))
    for name in dict.fromkeys((home, SCRIPT, *sys.modules)):
        source, module = source_of(name), sys.modules.get(name)
        # What is installed is imported as ever; any other module has no source.
        may_have_it = source is not None or (name == home != SCRIPT and is_importable(name))
        for variable, value in list(vars(module).items()) if module and may_have_it else ():
            if value is loss and (source is None or variable in _defined(source)):
                return name, variable
    return None


def goes_by_name(value: Any, source_of: SourceOf) -> bool:
    """Tell whether a function, a class or the like is what the import of its module defines."""
    if not issubclass(type(value), (FunctionType, type, *_MADE_ANEW)):
        return False
    module = str(getattr(value, "__module__", None))
    names = str(getattr(value, "__qualname__", "")).split(".")
    if module in cloudpickle.list_registry_pickle_by_value():
        return False  # as the user wants it
    source = source_of(module)
    if source is None or names[0] not in _defined(source):
        return False
    found: Any = sys.modules.get(module)
    for name in names:
        found = getattr(found, name, None)
    return found is value


def is_importable(module: str) -> bool:
    """Tell whether Python finds a module."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(module) is not None
    return False


@functools.lru_cache(maxsize=500)
def _defined(source: bytes) -> frozenset[str]:
    """Return the names that an import may define, and no main guard or ``global`` changes."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    bound = set(_bound(tree, by_guard=False))
    changed = {name for name, by_guard in bound if by_guard}
    changed.update(*(node.names for node in ast.walk(tree) if isinstance(node, ast.Global)))
    return frozenset(name for name, _ in bound) - changed


def _bound(node: ast.AST, *, by_guard: bool) -> Iterator[tuple[str, bool]]:
    """Yield the names that the module's code binds, and whether a main guard does so."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, by_guard
        case ast.alias():
            yield node.asname or node.name.partition(".")[0], by_guard
        case ast.Name(id=name, ctx=ast.Store()):
            yield name, by_guard
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        guarded = node.body if isinstance(node, ast.If) and is_guard(node) else ()
        for child in ast.iter_child_nodes(node):
            yield from _bound(child, by_guard=by_guard or child in guarded)


def _reduced(code: CodeType) -> tuple[Any, ...]:
    make, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return make, tuple(
        code.co_filename if isinstance(part, str) and part == _NO_FILE else part for part in parts
    )


def _cached(function: Any, parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _context_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    with contextlib.suppress(LookupError):
        return functools.partial(ContextVar, variable.name, default=variable.get()), ()
    return ContextVar, (variable.name,)


# What holds the state of a process is made anew where it is unpickled.
_MADE_ANEW: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    type(functools.cache(len)): lambda it: (_cached, (it.__wrapped__, it.cache_parameters())),
    functools.cached_property: lambda it: (type(it), (it.func,), {"attrname": it.attrname}),
    ContextVar: _context_variable,
    threading.local: lambda it: (type(it), (), vars(it)),
    type(threading.Lock()): lambda _: (threading.Lock, ()),
    type(threading.RLock()): lambda _: (threading.RLock, ()),
    weakref.WeakKeyDictionary: lambda it: (type(it), (dict(it),)),
    weakref.WeakValueDictionary: lambda it: (type(it), (dict(it),)),
}

#: Returns what is written of an object, by its type.
DISPATCH_TABLE: Mapping[type, Callable[[Any], Any]] = ChainMap(
    {CodeType: _reduced}, _MADE_ANEW, cloudpickle.Pickler.dispatch_table
)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = DISPATCH_TABLE

    def __init__(self, file: io.BytesIO, source_of: SourceOf) -> None:
        super().__init__(file)
        self._source_of = source_of

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, LossDefinition):
            name = name_of(value, self._source_of)
            return NotImplemented if name is None else (find_loss, name)
        if goes_by_name(value, self._source_of):
            return value.__qualname__  # plain pickle looks it up in its module
        return super().reducer_override(value)

"""What a loss reaches in the user's sources, and what differs there between two versions.

Names are compared bare, over all modules that are reached: what might be meant counts, too. Names
that are made while the code runs are not seen.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping

import attrs

#: The part of a module that runs when it is imported.
REST = "module level"
_SELF = "."

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_PLAIN = (
    *(ast.Constant, ast.Name, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp),
    *(ast.unaryop, ast.operator, ast.expr_context),
)
_GUARD = re.compile("(__name__ == '__main__'|'__main__' == __name__)( and .*)?", re.DOTALL)
_WORD = re.compile(r"[^\W\d]\w*")
_READ_ALL = ("vars", "globals", "locals", "dir", "eval", "exec")
_MOST_LINES = 40


@attrs.frozen
class Piece:
    """A function, a class or a constant at the top of a module, or the rest of it."""

    text: str
    lines: tuple[str, ...]
    names: frozenset[str]
    #: Names that may be those of modules.
    imports: frozenset[str]
    #: Where that comes from which may keep it for later without its name, such as a decorator: the
    #: first part of a module's name, or a dot for the module itself.
    kept_by: frozenset[str]


def reached(
    sources: Mapping[str, str], entry: str, names: Iterable[str]
) -> dict[tuple[str, str], Piece]:
    """Return the pieces of code that a loss reaches, by module and label.

    `sources` are all modules of the user's by name, and `entry` is the loss's own.
    """
    used, found = set(names), dict[tuple[str, str], Piece]()
    may_be_modules = set(used)
    own = {_SELF, *(name.partition(".")[0] for name in sources)}
    imported = {entry} & sources.keys()
    if not any(name in _pieces(sources[module]) for name in used for module in imported):
        used.update(*(_pieces(sources[module]) for module in imported))
    while True:
        imported |= {name for name in sources if name.rpartition(".")[2] in may_be_modules}
        all_count = not used.isdisjoint(_READ_ALL)
        fresh = {
            (module, label): piece
            for module in imported
            for label, piece in _pieces(sources[module]).items()
            if (module, label) not in found and (all_count or label in used or piece.kept_by & own)
        }
        if not fresh:
            return found
        found |= fresh
        used.update(*(piece.names for piece in fresh.values()))
        may_be_modules.update(used, *(piece.imports for piece in fresh.values()))


def difference(
    before: Mapping[tuple[str, str], Piece], now: Mapping[tuple[str, str], Piece]
) -> str:
    """Return what differs in two versions of the code that a loss reaches, line by line."""
    lines: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if (old and old.text) != (new and new.text):
            lines.append(f"  {key[0]}: {key[1]}")
            pair = (old.lines if old else (), new.lines if new else ())
            lines += [f"    {line}" for line in [*difflib.unified_diff(*pair, "", "", n=1)][2:]]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"  ... and {len(lines) - _MOST_LINES} more lines"]
    return "".join(f"{line.rstrip()}\n" for line in lines)


@functools.lru_cache(maxsize=500)
def _pieces(source: str) -> dict[str, Piece]:
    try:
        return _cut(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Of another version of Python, or too deep: all of it counts.
        lines = tuple(source.splitlines())
        words = frozenset(_WORD.findall(source))
        return {REST: Piece(source, lines, words, words, frozenset([_SELF]))}


def _cut(source: str) -> dict[str, Piece]:
    body = list(_at_import(ast.parse(source).body))
    labels = [_label(node) for node in body]
    rest = [node for node, label in zip(body, labels, strict=True) if label == REST]
    origins = dict(pair for node in rest for pair in _imported_names(node))
    nodes: dict[str, list[ast.stmt]] = {REST: []}
    bound_twice = {*origins, *(one for node in rest for one in _stored(node))}
    for node, label in zip(body, labels, strict=True):
        nodes.setdefault(REST if label in bound_twice else label, []).append(node)
    lines = source.splitlines()
    return {
        label: Piece(
            "\n".join(ast.dump(_without_form(node, origins)) for node in nodes),
            tuple(line for node in nodes for line in lines[_first(node) - 1 : node.end_lineno]),
            frozenset(name for node in nodes for name in _names(node)),
            frozenset(name for node in nodes for name in _imports(node)),
            frozenset(name for node in nodes for name in _kept_by(node, label, origins)),
        )
        for label, nodes in nodes.items()
    }


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when a module is imported, without docstrings and the main guard."""
    for node in body:
        if isinstance(node, ast.If) and _GUARD.fullmatch(ast.unparse(node.test)):
            yield from _at_import(node.orelse)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node


def _label(node: ast.stmt) -> str:
    """Return the name of a function, a class or a plain constant, or the label of the rest."""
    if isinstance(node, _Definition):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    value = getattr(node, "value", None)
    plain = value is not None and all(isinstance(one, _PLAIN) for one in ast.walk(value))
    target = targets[0] if plain and len(targets) == 1 else None
    return target.id if isinstance(target, ast.Name) else REST


def _kept_by(node: ast.stmt, label: str, origins: Mapping[str, str]) -> Iterator[str]:
    if label == REST or (label.startswith("__") and isinstance(node, _Definition)):
        yield _SELF
    for each in ast.walk(node) if isinstance(node, _Definition) else ():
        makers = [*getattr(each, "decorator_list", ()), *getattr(each, "bases", ())]
        makers += [keyword.value for keyword in getattr(each, "keywords", ())] if makers else []
        for name in (
            one.id for maker in makers for one in ast.walk(maker) if type(one) is ast.Name
        ):
            if name in origins or not hasattr(builtins, name):
                yield _SELF if "regist" in name else origins.get(name, _SELF)


def _stored(node: ast.stmt) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id


def _imported_names(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, with the first part of the module's name."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], alias.name.partition(".")[0]
    elif isinstance(node, ast.ImportFrom):
        root = _SELF if node.level else str(node.module).partition(".")[0]
        yield from ((alias.asname or alias.name, root) for alias in node.names)


def _without_form(node: ast.stmt, origins: Mapping[str, str]) -> ast.stmt:
    """Return a statement without docstrings, and without what is compared elsewhere."""
    for each in ast.walk(node):
        if isinstance(each, _Definition):
            if ast.get_docstring(each, clean=False) is not None:
                each.body = each.body[1:] or [ast.Pass()]
            each.decorator_list = [
                one for one in each.decorator_list if not _is_loss(one, origins)
            ]
    return node


def _is_loss(decorator: ast.expr, origins: Mapping[str, str]) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    root = function.value if isinstance(function, ast.Attribute) else function
    return origins.get(getattr(root, "id", "")) == "seedwise"


def _names(node: ast.stmt) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name, asname=str()):
                yield name
            case ast.Constant(value=str(text)):
                yield from _WORD.findall(text)
            case ast.MatchClass(kwd_attrs=names):
                yield from names


def _imports(node: ast.stmt) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.alias):
            yield from each.name.split(".")
        elif isinstance(each, ast.ImportFrom):
            yield from (each.module or "").split(".")


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])

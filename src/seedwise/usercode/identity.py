"""What a loss reaches in the user's sources, and what differs there between two versions.

Names are compared bare, over all modules that are reached: what might be meant counts, too. Names
that are made while the code runs are not seen.
"""

import ast
import builtins
import difflib
import functools
import itertools
import re
from collections.abc import Collection, Iterator, Mapping

import attrs

#: The part of a module that runs when it is imported.
REST = "module level"

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

    text: str = ""
    lines: tuple[str, ...] = ()
    #: The names in it; what an import names has a dot before it.
    names: frozenset[str] = frozenset()
    #: Whether it counts without its name: it runs at import, or something may keep it for later.
    is_kept: bool = True


def reached(
    sources: Mapping[str, str], entry: str, names: Collection[str]
) -> dict[tuple[str, str], Piece]:
    """Return the pieces of code that a loss of the module `entry` reaches, by module and label."""
    own = frozenset([".", *(name.partition(".")[0] for name in sources)])
    home = _pieces(sources[entry], own) if entry in sources else {}
    used = {*names, *(() if home.keys() & names else home)}
    found: dict[tuple[str, str], Piece] = {}
    while True:
        last = {name: name.rpartition(".")[2] for name in sources}
        named = [name for name, part in last.items() if not used.isdisjoint((part, f".{part}"))]
        # With a module, Python imports the packages around it.
        parts = (itertools.accumulate(name.split("."), "{}.{}".format) for name in (entry, *named))
        fresh = {
            (module, label): piece
            for module in itertools.chain(*parts)
            if module in sources
            for label, piece in _pieces(sources[module], own).items()
            if (module, label) not in found
            and (piece.is_kept or label in used or not used.isdisjoint(_READ_ALL))
        }
        if not fresh:
            return found
        found |= fresh
        used.update(*(piece.names for piece in fresh.values()))


def difference(
    before: Mapping[tuple[str, str], Piece], now: Mapping[tuple[str, str], Piece]
) -> str:
    """Return what differs in two versions of the code that a loss reaches, line by line."""
    lines: list[str] = []
    for key in sorted({*before, *now}):
        old, new = (pieces.get(key, Piece()) for pieces in (before, now))
        if old.text != new.text:
            shown = [*difflib.unified_diff(old.lines, new.lines, n=1)][2:]
            lines += [f"  {key[0]}: {key[1]}", *(f"    {line}" for line in shown)]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"  ... and {len(lines) - _MOST_LINES} more lines"]
    return "".join(f"{line.rstrip()}\n" for line in lines)


@functools.lru_cache(maxsize=500)
def _pieces(source: str, own: frozenset[str]) -> dict[str, Piece]:
    """Cut a source into pieces; `own` are the first parts of the names of the user's modules."""
    try:
        return _cut(source, own)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Of another version of Python, or too deep: all of it counts.
        return {REST: Piece(source, tuple(source.splitlines()), frozenset(_WORD.findall(source)))}


def _cut(source: str, own: frozenset[str]) -> dict[str, Piece]:
    body, lines = list(_at_import(ast.parse(source).body)), source.splitlines()
    roots = {
        # The name that an import binds, and the first part of the module's; a dot is this package.
        alias.asname or alias.name.partition(".")[0]: "."[: getattr(node, "level", 0)]
        or (getattr(node, "module", None) or alias.name).partition(".")[0]
        for node in body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    rest = (each for node in body if _label(node) == REST for each in ast.walk(node))
    names = (each for each in rest if isinstance(each, ast.Name))
    bound = {*roots, *(each.id for each in names if isinstance(each.ctx, ast.Store))}
    groups: dict[str, list[tuple[ast.stmt, int]]] = {}
    for node in body:
        _drop_what_does_not_count(node, roots)
        label = _label(node)  # what is bound twice stays in its order
        first = min(one.lineno for one in (node, *getattr(node, "decorator_list", ())))
        groups.setdefault(REST if label in bound else label, []).append((node, first - 1))
    return {
        label: Piece(
            "\n".join(ast.dump(node) for node, _ in group),
            tuple(line for node, above in group for line in lines[above : node.end_lineno]),
            frozenset(name for node, _ in group for name in _names(node)),
            label == REST or any(_is_kept(node, roots, own) for node, _ in group),
        )
        for label, group in groups.items()
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
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            | ast.AugAssign(target=ast.Name(id=name), value=value)
        ) if all(isinstance(one, _PLAIN) for one in ast.walk(value)):
            return name
    return REST


def _drop_what_does_not_count(node: ast.stmt, roots: Mapping[str, str]) -> None:
    """Drop docstrings, and what is compared elsewhere: how a loss is declared."""
    for each in ast.walk(node):
        if isinstance(each, _Definition):
            if ast.get_docstring(each, clean=False) is not None:
                del each.body[0]
            each.decorator_list = [
                one
                for one in each.decorator_list
                if roots.get(re.split("[.(]", ast.unparse(one))[0]) != "seedwise"
            ]


def _is_kept(node: ast.stmt, roots: Mapping[str, str], own: frozenset[str]) -> bool:
    """Tell whether the user's code may keep a definition without its name, as decorators do."""
    makers: list[ast.AST] = []
    for each in ast.walk(node):
        if isinstance(each, _Definition):
            makers += [*each.decorator_list, *getattr(each, "bases", ())]
            makers += getattr(each, "keywords", ())
    names = {one.id for each in makers for one in ast.walk(each) if isinstance(one, ast.Name)}
    return (
        (isinstance(node, _Definition) and node.name.startswith("__"))
        or any("regist" in ast.unparse(each).lower() for each in makers)
        or any(roots.get(one, "" if hasattr(builtins, one) else ".") in own for one in names)
    )


def _names(node: ast.stmt) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Constant(value=str(text)):
                yield from _WORD.findall(text)
            case ast.MatchClass(kwd_attrs=names):
                yield from names
            case ast.alias(name=name) | ast.ImportFrom(module=str(name)):
                yield from (f".{part}" for part in name.split("."))
                if getattr(each, "asname", None):  # the other name may be used
                    yield name

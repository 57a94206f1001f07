"""A source of the user's, cut into pieces: what each of them says, and the names that it reads."""

from __future__ import annotations

import ast
import functools
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

REST = "module level"  # the label of what runs when a module is imported

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Definition: TypeAlias = _Function | ast.ClassDef

_PLAIN = (
    *(ast.Constant, ast.Name, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp),
    *(ast.unaryop, ast.operator, ast.expr_context),
)
_NOTED = {
    *(ast.Attribute, ast.Constant, ast.Import, ast.ImportFrom),
    *(ast.MatchClass, ast.keyword, ast.FunctionDef),
}
_SPECIAL = {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Call, ast.arg, ast.AnnAssign}
_WITHOUT_EFFECT = ("ctx", "kind", "simple", "type_comment")  # fields of the syntax tree
_COMPARED_ELSEWHERE = ("name", "description", "parameter_space", "seed_start")  # of a loss
_READ_NO_ANNOTATIONS = ("property", "staticmethod", "classmethod")

_IS_FALSE = r"__name__ == '__main__'|'__main__' == __name__|(\w+\.)*TYPE_CHECKING"
_IS_TRUE = ("__name__ != '__main__'", "'__main__' != __name__")


@dataclass
class Piece:
    """What a piece says and reads."""

    shown: str
    lines: list[str]  # as they were written
    text: str = ""  # normalised
    names: set[str] = field(default_factory=set)
    dotted: set[str] = field(default_factory=set)  # text that may be a module, and names in it
    imports: set[str] = field(default_factory=set)  # modules and what may be, with leading dots
    stars: set[str] = field(default_factory=set)  # the modules of ``import *``
    is_constant: bool = False
    is_hook: bool = False  # Python or a library may call it without its name
    used_when_made: set[str] = field(default_factory=set)  # by decorators and metaclasses
    bases: set[str] = field(default_factory=set)


@dataclass
class Pieces:
    """The functions, classes and plain constants at the top of a source, and its rest."""

    by_label: dict[str, Piece] = field(default_factory=dict)
    #: By name at the top: the root of each module that it comes from ("" if relative), or None.
    origins: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))


def cut(source: str) -> Pieces:
    """Cut a source into its pieces; one that this Python can't parse is all rest.

    The place of a piece in the file counts only if something else binds its name as well.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        words, dotted = (set(re.findall(rf"[^\W\d][\w{dot}]*", source)) for dot in ("", "."))
        return Pieces({REST: Piece(REST, _split(source), source, words, dotted)})
    return _Cutter(source, body).pieces


class _Cutter:
    def __init__(self, source: str, body: list[ast.stmt]) -> None:
        self.pieces = Pieces()
        self._lines = _split(source)
        self._skipped: list[ast.stmt] = []
        self._nodes: dict[str, list[ast.stmt]] = {REST: []}
        rest = self._without_definitions(body)
        last_star = self._bind(rest, "global" in source)
        for i, node in enumerate(rest):
            name = _only_name(node)
            is_alone = i > last_star and len(self.pieces.origins.get(name, ())) == 1
            if not isinstance(node, ast.Global):
                is_constant = is_alone or name == "__all__"
                self._nodes.setdefault(name if is_constant else REST, []).append(node)
            elif not is_alone:
                self._nodes[REST].append(node)
        for label, nodes in self._nodes.items():
            self.pieces.by_label[label] = self._piece(label, nodes)

    def _without_definitions(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Take out functions and classes, leaving their names, and what never runs on a worker."""
        rest: list[ast.stmt] = []
        for node in body:
            if isinstance(node, _Definition):
                self._nodes.setdefault(node.name, []).append(node)
                rest.append(ast.Global([node.name]))
            elif isinstance(node, ast.If) and (dead := _never_runs(node)) is not None:
                self._skipped += dead
                rest += self._without_definitions(node.orelse if dead is node.body else node.body)
            else:
                for part in (node, *getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                    for name in ("body", "orelse", "finalbody"):
                        if block := getattr(part, name, None):
                            setattr(part, name, self._without_definitions(block))
                rest.append(node)
        return rest

    def _bind(self, rest: list[ast.stmt], has_globals: bool) -> int:
        """Note what binds the names at the top; return the place of the last ``import *``."""
        last_star = -1
        for i, top in enumerate(rest):
            for name, origin in _bound(top):
                self.pieces.origins[name].append(origin)
                last_star = i if name == "*" else last_star
        definitions = [node for nodes in self._nodes.values() for node in nodes if has_globals]
        for each in (each for node in definitions for each in ast.walk(node)):
            for name in each.names if isinstance(each, ast.Global) else ():
                self.pieces.origins[name].append(None)
        return last_star

    def _piece(self, label: str, nodes: list[ast.stmt]) -> Piece:
        if label == REST:
            piece = Piece(label, self._lines_of_rest())
        else:
            piece = Piece(label, [self._lines[i] for node in nodes for i in _lines(node)])
            for node in nodes:
                if isinstance(node, _Definition):
                    piece.shown = f"{label}()" if isinstance(node, _Function) else f"class {label}"
                    _note_making(node, piece)
            piece.is_constant = piece.shown == label
        self._read(nodes, piece)
        return piece

    def _lines_of_rest(self) -> list[str]:
        others = [node for name, nodes in self._nodes.items() if name != REST for node in nodes]
        taken = {i for node in (*others, *self._skipped) for i in _lines(node)}
        kept = [line for i, line in enumerate(self._lines) if i not in taken]
        return [line for line in kept if line.strip() and not line.lstrip().startswith("#")]

    def _read(self, nodes: list[ast.stmt], piece: Piece) -> None:
        words: list[str] = []
        # Generated code may be too deep for a recursion. The flag: whether annotations count.
        stack: list[tuple[Any, bool]] = [(node, False) for node in reversed(nodes)]
        while stack:
            item, annotated = stack.pop()
            if type(item) is ast.Name:  # the most frequent
                words += ("Name", item.id)
                if type(item.ctx) is not ast.Store:
                    piece.names.add(item.id)
            elif isinstance(item, list):
                words.append("[")
                stack.append(((), False))  # its end
                stack += [(each, annotated) for each in reversed(item)]
            elif not isinstance(item, ast.AST):
                words.append(hex(item) if type(item) is int else repr(item))
            elif not _does_nothing(item):
                if isinstance(item, ast.AnnAssign) and item.value and not annotated:
                    item = ast.Assign([item.target], item.value)
                kind = type(item)
                words.append(kind.__name__)
                if kind in _NOTED:
                    _note(item, piece)
                names = _fields_backwards(kind)
                if kind in _SPECIAL:
                    stack += self._special_fields(item, names, annotated)
                else:
                    stack += [(getattr(item, name, None), annotated) for name in names]
        piece.text = "\n".join(words)

    def _special_fields(
        self, node: ast.AST, names: list[str], annotated: bool
    ) -> Iterator[tuple[Any, bool]]:
        is_function = isinstance(node, _Function)
        if isinstance(node, _Function):  # only a decorator would read them
            others = (each for each in node.decorator_list if not self._is_ours(each))
            annotated = any(getattr(each, "id", "") not in _READ_NO_ANNOTATIONS for each in others)
        annotated = annotated or isinstance(node, ast.ClassDef)
        for name in names:
            value = getattr(node, name, None)
            if name == "keywords" and self._is_ours(node):
                value = [each for each in value or () if each.arg not in _COMPARED_ELSEWHERE]
            if annotated or name not in ("annotation", "returns"):
                yield value, annotated and not (is_function and name == "body")

    def _is_ours(self, node: ast.AST) -> bool:
        """Tell whether an expression is a call or an attribute of seedwise."""
        while isinstance(node, ast.Call | ast.Attribute):
            node = node.func if isinstance(node, ast.Call) else node.value
        return isinstance(node, ast.Name) and "seedwise" in self.pieces.origins.get(node.id, ())


@functools.cache
def _fields_backwards(kind: type[ast.AST]) -> list[str]:
    return [name for name in reversed(kind._fields) if name not in _WITHOUT_EFFECT]


def _split(source: str) -> list[str]:
    return re.split(r"\r\n?|\n", source)


def _never_runs(node: ast.If) -> list[ast.stmt] | None:
    """Return the branch that does not run when the module is imported, if that is known."""
    test = node.test
    while isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        test = test.values[0]
    text = ast.unparse(test) if isinstance(test, ast.Compare | ast.Name | ast.Attribute) else ""
    if re.fullmatch(_IS_FALSE, text):
        return node.body
    return node.orelse if text in _IS_TRUE and test is node.test else None


def _bound(top: ast.stmt) -> Iterator[tuple[str, str | None]]:
    """Yield the names that a statement binds, each with the root of its module if it has one."""
    for node in ast.walk(top):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                yield alias.asname or root, root
        elif isinstance(node, ast.ImportFrom):
            root = "" if node.level else (node.module or "").partition(".")[0]
            yield from ((alias.asname or alias.name, root) for alias in node.names)
        elif isinstance(node, ast.Global):
            yield from ((name, None) for name in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, None
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            yield str(node.rest if isinstance(node, ast.MatchMapping) else node.name), None


def _only_name(node: ast.stmt) -> str:
    """Return the name of a definition that was here, or of a plain constant; else nothing."""
    match node:
        case ast.Global(names=[name]):
            return name
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            | ast.AugAssign(target=ast.Name(id=name), value=value)
        ) if all(isinstance(each, _PLAIN) for each in ast.walk(value)):
            return name
    return ""


def _does_nothing(node: ast.AST) -> bool:
    """Tell whether a node is a docstring or the like."""
    kind = type(node)
    return kind is ast.Pass or (kind is ast.Expr and type(node.value) is ast.Constant)  # type: ignore[attr-defined]


def _note(node: ast.AST, piece: Piece) -> None:
    """Note the names that a node reads."""
    match node:
        case ast.Attribute(attr=name):
            piece.names.add(name)
        case ast.Constant(value=str(text)):
            words = re.findall(r"[^\W\d]\w*", text)
            piece.names.update(f"'{word}" for word in words)  # names for numexpr and the like
            piece.names.update(words if text.isidentifier() or text.startswith(".") else ())
            piece.dotted.update(re.findall(r"^[\w.:]+$", text))
        case ast.Import():
            piece.imports.update(alias.name for alias in node.names)
        case ast.ImportFrom():
            _note_members(node, piece)
        case ast.MatchClass(kwd_attrs=names):
            piece.names.update(names)
        case ast.keyword(arg="metaclass") | ast.FunctionDef(name="__init_subclass__"):
            piece.names.add("__init_subclass__")


def _note_members(node: ast.ImportFrom, piece: Piece) -> None:
    module = "." * node.level + (node.module or "")
    piece.imports.add(module)
    for alias in node.names:
        if alias.name == "*":
            piece.stars.add(module)
        else:
            piece.imports.add(f"{module}.{alias.name}" if node.module else module + alias.name)
            # Without another name for it, it counts where its own is used.
            piece.names.update([alias.name] if alias.asname else ())


def _note_making(node: _Definition, piece: Piece) -> None:
    """Note what is used when a function or class is made: decorators, a metaclass, bases."""
    decorators, inner = [*node.decorator_list], set()
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, _Definition):
                inner.add(each.name)  # x of @x.setter
                decorators += each.decorator_list
        decorators += [each.value for each in node.keywords]
        names = (each for base in node.bases for each in ast.walk(base))
        piece.bases.update(each.id for each in names if isinstance(each, ast.Name))
    for part in (part for decorator in decorators for part in _without_keywords(decorator)):
        name = getattr(part, "id", "")
        piece.is_hook |= "regist" in getattr(part, "attr", name).lower()
        piece.used_when_made.update({name} - inner - {""})
    piece.is_hook |= node.name == "__getattr__" or "__init_subclass__" in inner


def _without_keywords(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of an expression, without what is given by keyword."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.keyword):
            yield from _without_keywords(child)


def _lines(node: ast.stmt) -> range:
    first = min(each.lineno for each in (node, *getattr(node, "decorator_list", ())))
    return range(first - 1, node.end_lineno or node.lineno)

"""What a loss reaches in the user's sources, and what differs there between two snapshots.

Names are compared bare, over all modules that are reached, so what only might be meant counts too.
Not seen are names that are made while the code runs.
"""

from __future__ import annotations

import builtins
import contextlib
import difflib
import functools
import importlib.util
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, groupby
from typing import NamedTuple, TypeAlias

from seedwise.usercode.pieces import REST, Piece, Pieces, cut

_Item: TypeAlias = tuple[str, str | None]  # a module and the label of its piece, or None for all

_AT_ONCE = ""  # a name that is always named
_READ_ALL = ("vars", "globals", "locals", "dir", "getmembers", "__dict__", "eval", "exec")
_FIND_SUBCLASSES = ("__subclasses__", "__init_subclass__")

_MOST_LINES, _MOST_NAMED = 40, 8


class Change(NamedTuple):
    """A piece of code that was added, was removed or has changed."""

    module: str
    piece: str
    how: str
    diff: list[str]


def reached(sources: Mapping[str, str], entry: str, name: str) -> dict[str, str]:
    """Return the normalised text of each piece of code that a loss reaches, by its label.

    `sources` are all modules of the user's by name, `entry` the loss's own and `name` the loss
    there. If its top binds no such name, all in it counts; if it is not there, nothing does.
    """
    parse = functools.cache(cut)
    pieces = sorted(_Walk(sources, parse, entry, name).pieces)
    return {
        f"{where}: {label}": parse(sources[where]).by_label[label].text for where, label in pieces
    }


def changes(
    before: Mapping[str, str], now: Mapping[str, str], entry: str, name: str
) -> list[Change]:
    """Return what differs in the code that a loss reaches in either snapshot."""
    parse = functools.cache(cut)
    pieces = (_Walk(sources, parse, entry, name).pieces for sources in (before, now))
    none, found = Piece("", []), []
    for where, label in sorted(set[tuple[str, str]]().union(*pieces)):
        sides = (parse(sources.get(where, "")) for sources in (before, now))
        old, new = (side.by_label.get(label, none) for side in sides)
        if old.text != new.text:
            how = "added" if not old.text else "changed" if new.text else "removed"
            diff = difflib.unified_diff(old.lines, new.lines, lineterm="", n=2)
            found.append(Change(where, new.shown or old.shown, how, [*diff][2:]))
    return found


def described(found: list[Change], files: Mapping[str, str]) -> tuple[str, str]:
    """Return a line that says what differs, and the differing lines; `files` names the modules."""
    parts, lines = [], []
    for where, group in groupby(found[:_MOST_NAMED], lambda change: change.module):
        pieces = ", ".join(f"{change.piece} {change.how}" for change in group)
        parts.append(f"{files.get(where, where)}: {pieces}")
    if len(found) > _MOST_NAMED:
        parts.append(f"and {len(found) - _MOST_NAMED} more")
    for change in found:
        lines += [f"{files.get(change.module, change.module)}: {change.piece}", *change.diff]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"... {len(lines) - _MOST_LINES + 1} more lines"]
    return "; ".join(parts), "\n".join(lines)


class _Walk:
    """A walk from a loss through the pieces of the user's modules."""

    def __init__(
        self, sources: Mapping[str, str], parse: Callable[[str], Pieces], entry: str, name: str
    ) -> None:
        self.pieces: set[tuple[str, str]] = set()
        self._sources, self._parse = sources, parse
        self._roots = {module.partition(".")[0] for module in sources}
        self._children: dict[str, set[str]] = defaultdict(set)
        for each in (each for module in sources for each in _with_packages(module)):
            self._children[each.rpartition(".")[0]].add(each)
        self._names, self._imported = {_AT_ONCE}, set[str]()
        self._waiting: dict[str, list[_Item]] = defaultdict(list)  # for a name
        self._queue: list[_Item] = []
        if entry in sources:
            self._begin(entry, name.partition(".")[0])
        while self._queue:
            where, label = self._queue.pop()
            if label is None:
                self._import(where)
            elif (where, label) not in self.pieces:
                self.pieces.add((where, label))
                self._follow(where, self._module(where).by_label[label])

    def _module(self, name: str) -> Pieces:
        return self._parse(self._sources[name])

    def _begin(self, entry: str, name: str) -> None:
        module = self._module(entry)
        self._queue.append((entry, None))
        if name in module.origins:
            self._name([name])
        else:
            self._queue += [(entry, label) for label in module.by_label]

    def _import(self, name: str) -> None:
        if name in self._imported:
            return
        self._imported.add(name)
        self._queue += [(package, None) for package in _with_packages(name)]
        for child in self._children.get(name, ()):
            self._wait(child.rpartition(".")[2], (child, None))
        if name in self._sources:
            module = self._module(name)
            for label in module.by_label:
                for trigger in self._triggers(module, label):
                    self._wait(trigger, (name, label))

    def _follow(self, where: str, piece: Piece) -> None:
        self._name(piece.names)
        for dotted in piece.dotted:
            parts = re.split("[.:]", dotted)
            if parts[0] in self._roots:
                self._queue.append((".".join(parts), None))
                self._name(parts)
        self._queue += [(module, None) for module in self._modules(where, piece.imports)]
        for module in self._modules(where, piece.stars):
            if module in self._sources:
                self._name(self._module(module).origins)

    def _modules(self, where: str, names: set[str]) -> Iterator[str]:
        """Yield the modules that a module means by names with leading dots or without."""
        packages = [where if where in self._children else where.rpartition(".")[0]]
        if where == "__main__":  # of any package, if it is run by python -m
            packages += self._children
        for name in names:
            for package in packages:
                with contextlib.suppress(ImportError):
                    yield importlib.util.resolve_name(name, package)

    def _name(self, names: Iterable[str]) -> None:
        for name in {*names} - self._names:
            self._names.add(name)
            self._queue += self._waiting.pop(name, ())

    def _wait(self, name: str, item: _Item) -> None:
        (self._queue if name in self._names else self._waiting[name]).append(item)

    def _triggers(self, module: Pieces, label: str) -> set[str]:
        """Return the names each of which makes a piece count."""
        piece = module.by_label[label]
        if piece.is_constant:
            return {label, f"'{label}", *_READ_ALL}
        made_by_user = any(self._is_users(module, name) for name in piece.used_when_made)
        if label == REST or piece.is_hook or made_by_user:
            return {_AT_ONCE}
        has_users_base = any(self._is_users(module, name) for name in piece.bases)
        return {label, *(_FIND_SUBCLASSES if has_users_base else ())}

    def _is_users(self, module: Pieces, name: str) -> bool:
        """Tell whether a name is one that neither a library nor Python defines."""
        origins = module.origins.get(name) or module.origins.get("*", [])
        if not origins:
            return not hasattr(builtins, name)
        return any(not origin or origin in self._roots for origin in origins)


def _with_packages(module: str) -> Iterator[str]:
    return accumulate(module.split("."), "{}.{}".format)

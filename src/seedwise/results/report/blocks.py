"""What a report is made of, whatever its format: sections of facts, tables, words and pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

#: A float is shown with six digits; None is a dash.
Cell: TypeAlias = str | float | int | bool | None


@attrs.frozen
class Facts:
    """Values by their names."""

    rows: Mapping[str, Cell]


@attrs.frozen
class Table:
    """Rows of as many cells as there are columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@attrs.frozen
class Words:
    """Sentences; several are a list."""

    sentences: Sequence[str]


@attrs.frozen
class Text:
    """A long text as it is, such as a traceback, which is folded where that can be done."""

    title: str
    text: str


@attrs.frozen
class Picture:
    """A figure, drawn when it is needed."""

    title: str
    #: Returns axes of matplotlib, or an array of them.
    draw: Callable[[], Any]


Block: TypeAlias = Facts | Table | Words | Text | Picture


@attrs.frozen
class Section:
    """A titled part of a report; it is left out if it has no blocks."""

    title: str
    blocks: Sequence[Block]


@attrs.frozen
class Report:
    """A title, a line below it, and the sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]


def shown(cell: Cell) -> str:
    """Return a cell as text.

    >>> shown(0.12345678), shown(None), shown(True), shown(12)
    ('0.123457', '-', 'True', '12')
    """
    if cell is None:
        return "-"
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)

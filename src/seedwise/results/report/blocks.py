"""What a report is made of, whatever its format: sections of tables, words and pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

#: A float is shown with six digits; None is a dash.
Cell: TypeAlias = str | float | int | bool | None


@attrs.frozen
class Table:
    """Rows of as many cells as there are columns; without columns, of a name and a value."""

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


Block: TypeAlias = Table | Words | Text | Picture

#: A title and what is below it; without blocks it is left out.
Section: TypeAlias = tuple[str, Sequence[Block]]


def facts(values: Mapping[str, Cell]) -> Table:
    """Return values by their names."""
    return Table((), list(values.items()))


def shown(cell: Cell) -> str:
    """Return a cell as text.

    >>> shown(0.12345678), shown(None), shown(True), shown(12)
    ('0.123457', '-', 'True', '12')
    """
    if cell is None:
        return "-"
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)

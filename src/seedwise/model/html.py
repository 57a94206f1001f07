"""Tables for notebooks: all is escaped, and the theme of the notebook decides the colours."""

import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MOST_ROWS = 50

_LEFT = ' style="text-align: left"'


def table_html(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Return rows as a table, the first cell of each as its title; of many rows the first."""
    shown = list(itertools.islice(rows, _MOST_ROWS + 1))
    head = "".join(f"<th{_LEFT}>{html.escape(title)}</th>" for title in header)
    body = "".join(f"<tr>{_row(cells)}</tr>" for cells in shown[:_MOST_ROWS])
    more = "<tr><td>…</td></tr>" if len(shown) > _MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}{more}</tbody></table>"


def columns_html(columns: Mapping[str, Any]) -> str:
    """Return the columns of a table, by name."""
    return table_html(zip(*columns.values(), strict=True), list(columns))


def _row(cells: Sequence[object]) -> str:
    title, *others = (html.escape(_words(cell)) for cell in cells)
    return f"<th{_LEFT}>{title}</th>" + "".join(f"<td{_LEFT}>{cell}</td>" for cell in others)


def _words(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, tuple):
        return ", ".join(map(_words, cell))
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)

"""A report in Markdown, for a pull request: without the figures."""

import re
from collections.abc import Iterable, Iterator, Sequence

from seedwise.results.report.blocks import Block, Cell, Facts, Report, Table, Text, Words, shown

# What Markdown, or the HTML in it, would take for its own; an underscore within a word is safe.
_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|]|(?<!\w)_|_(?!\w))")


def markdown(report: Report) -> str:
    """Return a report in Markdown."""
    lines = [f"# {_plain(report.title)}", "", _plain(report.subtitle)]
    for section in report.sections:
        blocks = [list(_lines(block)) for block in section.blocks]
        if any(blocks):
            lines += ["", f"## {section.title}"]
            lines += [line for block in blocks if block for line in ["", *block]]
    return "\n".join(lines) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Facts():
            yield from _table(("", ""), block.rows.items())
        case Table():
            yield from _table(block.columns, block.rows)
        case Words():
            mark = "- " if len(block.sentences) > 1 else ""
            yield from (f"{mark}{_plain(sentence)}" for sentence in block.sentences)
        case Text():
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            yield from (f"{_plain(block.title)}:", "", fence, *block.text.splitlines(), fence)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    yield _row(columns)
    yield f"|{' --- |' * len(columns)}"
    yield from map(_row, rows)


def _row(cells: Sequence[Cell]) -> str:
    return f"| {' | '.join(_plain(shown(cell)) for cell in cells)} |"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

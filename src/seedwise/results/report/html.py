"""A report as one HTML file that needs nothing else: no scripts, and figures within it."""

import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from seedwise.errors import MissingExtraError, NoFigureError
from seedwise.results.report.blocks import (
    Block,
    Cell,
    Facts,
    Picture,
    Report,
    Section,
    Table,
    Text,
    Words,
    shown,
)

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
tr + tr { border-top: 1px solid var(--soft); }
th { font-weight: 600; white-space: nowrap; }
td.number { text-align: right; white-space: nowrap; }
td { overflow-wrap: anywhere; min-width: 4rem; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption, .subtitle { opacity: .75; }
pre { overflow-x: auto; background: var(--soft); padding: .8rem; font-size: .85rem; }
summary { cursor: pointer; }
@media print {
  body { max-width: none; margin: 0; }
  figure, tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  pre { white-space: pre-wrap; }
}
"""

# In figures, this colour stands for that of the text around them.
_INK = "#010203"
_FIGURE_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "seedwise",
    "font.family": "sans-serif",
    "figure.constrained_layout.use": True,
    **dict.fromkeys(
        ["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], _INK
    ),
    "legend.framealpha": 0.0,
}


def html(report: Report) -> str:
    """Return a report as HTML; MissingExtraError without matplotlib."""
    sections = "".join(_section(section) for section in report.sections if section.blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever a loss or a traceback contains, nothing is run or fetched.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(report.title)}</h1>\n<p class="subtitle">{escape(report.subtitle)}</p>\n'
        f"{sections}</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    blocks = "".join(map(_block, section.blocks))
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{blocks}</section>\n"


def _block(block: Block) -> str:
    match block:
        case Facts():
            rows = block.rows.items()
            return _table(f"<th>{escape(name)}</th><td>{_value(one)}</td>" for name, one in rows)
        case Table():
            return _table([_head(block.columns), *map(_row, block.rows)])
        case Words(sentences=[only]):
            return f"<p>{escape(only)}</p>\n"
        case Words():
            items = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in block.sentences)
            return f"<ul>\n{items}</ul>\n"
        case Text():
            text = f"<pre>{escape(block.text)}</pre>"
            return f"<details><summary>{escape(block.title)}</summary>{text}</details>\n"
        case Picture():
            return _figure(block)


def _figure(picture: Picture) -> str:
    title = escape(picture.title)
    try:
        return f"<figure>{_svg(picture)}<figcaption>{title}</figcaption></figure>\n"
    except NoFigureError as error:  # such as: there are too few trials
        return f"<p>{title}: {escape(error.problem)}.</p>\n"


def _table(rows: Iterable[str]) -> str:
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return f'<div class="table"><table>\n{body}</table></div>\n'


def _head(columns: Sequence[str]) -> str:
    return "".join(f"<th>{escape(name)}</th>" for name in columns)


def _row(cells: Sequence[Cell]) -> str:
    return "".join(map(_cell, cells))


def _cell(cell: Cell) -> str:
    kind = ' class="number"' if _is_number(cell) else ""
    return f"<td{kind}>{_value(cell)}</td>"


def _value(cell: Cell) -> str:
    text = escape(shown(cell))
    # All digits, for programs.
    return f'<data value="{cell!r}">{text}</data>' if _is_number(cell) else text


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, float | int) and not isinstance(cell, bool)


def _svg(picture: Picture) -> str:
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ImportError:
        raise MissingExtraError("a report in HTML", extra="plot") from None
    with mpl.rc_context(_FIGURE_STYLE):
        axes = picture.draw()
        figure = getattr(axes, "flat", [axes])[0].figure
        text = io.StringIO()
        try:
            figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        finally:
            plt.close(figure)
    return _within_a_page(text.getvalue(), picture.title)


def _within_a_page(svg: str, title: str) -> str:
    """Return an SVG as a part of a page: in the colour of its text, and with ids of its own."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    prefix = re.sub(r"\W+", "-", title)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)

"""What a report is made of, and its text: HTML with figures, or Markdown, for a pull request."""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from jinja2 import Environment, FileSystemLoader

from seedwise.errors import MissingExtraError, NoFigureError

#: A float is shown with six digits; None or NaN is a dash.
Cell: TypeAlias = str | float | int | bool | None


@attrs.frozen
class Block:
    """A part of a section: a table, sentences, a long text, or a figure."""

    #: Of a text or a figure.
    title: str = ""
    #: Of as many cells as there are columns; without columns, of a name and a value.
    rows: Sequence[Sequence[Cell]] = ()
    columns: Sequence[str] = ()
    #: Several are a list.
    sentences: Sequence[str] = ()
    #: As it is, such as a traceback; it is folded where that can be done.
    text: str = ""
    #: A function that returns axes of matplotlib, or an array of them.
    draw: Any = None


#: A title and what is below it; without blocks it is left out.
Section: TypeAlias = tuple[str, Sequence[Block]]


def facts(values: Mapping[str, Cell]) -> Block:
    """Return values by their names."""
    return Block(rows=list(values.items()))


def shown(cell: Cell) -> str:
    """Return a cell as text.

    >>> shown(0.12345678), shown(None), shown(True), shown(12)
    ('0.123457', '-', 'True', '12')
    """
    if cell is None or cell != cell:  # NaN alone is not itself
        return "-"
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


_HERE = Path(__file__).parent

# What the colours of figures are on a page, light or dark; the first is that of their style.
_NAMES = {"#010203": "currentColor", "#000000": "currentColor", "#ffffff": "canvas"}

# What Markdown, or the HTML in it, would take for its own; an underscore within a word is safe.
_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|]|(?<!\w)_|_(?!\w))")


def report(suffix: str, **content: Any) -> str:
    """Return a report by a file's suffix; MissingExtraError for HTML without matplotlib."""
    loader = FileSystemLoader(_HERE)
    environment = Environment(autoescape=suffix == ".html", trim_blocks=True, loader=loader)
    environment.filters |= {"shown": shown, "drawn": _drawn, "plain": _plain, "fenced": _fenced}
    return environment.get_template(f"report{suffix}").render(content)


def _drawn(picture: Block) -> tuple[str, str]:
    """Return a figure as SVG, and why there is none, such as that there are too few trials."""
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise MissingExtraError("a report in HTML", extra="plot") from None
    with plt.style.context(_HERE / "figures.mplstyle"):
        try:
            axes = picture.draw()
        except NoFigureError as error:
            return "", error.problem
        figure = getattr(axes, "flat", [axes])[0].figure
        text = io.StringIO()
        try:
            figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        finally:
            plt.close(figure)
    return _within_a_page(text.getvalue(), picture.title), ""


def _within_a_page(svg: str, title: str) -> str:
    """Return an SVG as a part of a page: in the colour of its text, and with ids of its own."""
    svg = svg[svg.index("<svg") :]
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, name)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    prefix = re.sub(r"\W+", "-", title)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return "\n".join([fence, *text.splitlines(), fence])


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

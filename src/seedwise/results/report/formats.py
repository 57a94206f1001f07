"""A report as a text: in HTML with its figures, or in Markdown, for a pull request."""

import io
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from seedwise.errors import MissingExtraError, NoFigureError
from seedwise.results.report.blocks import Block, Cell, Picture, Section, Table, Text, Words, shown

# In figures, this colour stands for that of the text around them.
_INK = "#010203"
# What these are on a page, light or dark.
_NAMES = {_INK: "currentColor", "#000000": "currentColor", "#ffffff": "canvas"}
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

# What Markdown, or the HTML in it, would take for its own; an underscore within a word is safe.
_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|]|(?<!\w)_|_(?!\w))")


def html(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a report as a page that needs nothing else; MissingExtraError without matplotlib."""
    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(autoescape=True, trim_blocks=True, loader=here)
    environment.filters |= {"shown": shown, "drawn": _drawn}
    template = environment.get_template("report.html")
    return template.render(title=title, subtitle=subtitle, sections=sections)


def _drawn(picture: Picture) -> tuple[str, str]:
    """Return a figure as SVG, and why there is none, such as that there are too few trials."""
    try:
        return _svg(picture), ""
    except NoFigureError as error:
        return "", error.problem


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
    svg = svg[svg.index("<svg") :]
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, name)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    prefix = re.sub(r"\W+", "-", title)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a report in Markdown, without the figures."""
    lines = [f"# {_plain(title)}", "", _plain(subtitle)]
    for name, of_section in sections:
        blocks = [list(_lines(block)) for block in of_section]
        if any(blocks):
            lines += ["", f"## {name}"]
            lines += [line for block in blocks if block for line in ["", *block]]
    return "\n".join(lines) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Table():
            columns = block.columns or ("", "")
            yield from (_row(columns), f"|{' --- |' * len(columns)}", *map(_row, block.rows))
        case Words():
            mark = "- " if len(block.sentences) > 1 else ""
            yield from (f"{mark}{_plain(sentence)}" for sentence in block.sentences)
        case Text():
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            yield from (f"{_plain(block.title)}:", "", fence, *block.text.splitlines(), fence)


def _row(cells: Sequence[Cell]) -> str:
    return f"| {' | '.join(_plain(shown(cell)) for cell in cells)} |"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))

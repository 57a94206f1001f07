"""What the pages of the documentation hold: their blocks, and which of them run.

- A Python block whose first line is a comment with a file's name is written to that file. The
  others run one after another in one process, as the cells of a notebook do.
- A Bash block runs in the folder where the files are.
- ``% setup`` and ``% setup bash`` begin comments that run and are not shown.
- ``% slurm`` says that a page needs Slurm.
- Blocks of text, console, toml and yaml are what somebody sees or writes elsewhere. So is Python
  of other tools that can't be installed beside seedwise, which has the class ``not-run``.

The pages of `NOTEBOOKS` have cells in place of blocks; they run when the site is built.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parts[len(DOCS.parts)] != "_extensions")
NOTEBOOKS = [path for path in PAGES if path.parent.name == "tutorials"]

_BLOCK = re.compile(
    r"^(?P<fence>```+)(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)$"
    r"|^% setup ?(?P<hidden>\w*)\n(?P<comment>(?:%[^\n]*\n)+)",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"# (\w+\.py)\n")


@attrs.frozen
class Block:
    """A block of a page, with the line that it begins at."""

    language: str
    code: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that a Python block is written to; None if it runs as it is."""
        named = _FILE.match(self.code) if self.language == "python" else None
        return None if named is None else named[1]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order, the hidden ones, too."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["comment"] is None:
            yield Block(found["language"], textwrap.dedent(found["code"]), line)
        else:
            code = re.sub(r"^% ?", "", found["comment"], flags=re.MULTILINE)
            yield Block(found["hidden"] or "python", code, line)


def needs_slurm(page: Path) -> bool:
    """Tell whether what a page shows needs Slurm."""
    return "\n% slurm\n" in page.read_text(encoding="utf-8")

"""Where the lines and the progress of a run are shown: a terminal, a notebook, or any stream."""

import importlib
import os
import stat
import sys
from collections.abc import Sequence
from typing import Any, TextIO, TypeAlias

from rich.console import Console
from rich.text import Text

from seedwise.model.status import RunStatus
from seedwise.view.status import bars, live_rows

_TO_HERE = "\r\x1b[J"  # to the begin of the line; all from there on is erased

_USUAL_SIZE = os.terminal_size((80, 24))
_TITLES = 14  # columns of the titles
_NARROWEST_BAR, _WIDEST_BAR = 8, 30
_DONE, _DIM = "cyan", "dim"

_BAR = '<progress value="{}" max="{}" style="width: 100%"></progress>'


class LiveBlock:
    """Writes lines to a terminal, and below them the block.

    The cursor waits on an empty line above the block, and never at its end, as that of rich's own
    `Live` does. So what others write, such as workers, is above the next block and stays; a block
    of another size, on a terminal of another size, replaces this one; and after a kill the cursor
    is where it should be.
    """

    shows_progress = True
    may_be_read_by_others = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = Console(file=stream, force_terminal=True, force_jupyter=False)
        self._is_drawn = False
        self._drawn_of: tuple[RunStatus, os.terminal_size] | None = None
        self._rows: list[str] = []

    def write(self, lines: Sequence[str], status: RunStatus | None) -> None:
        """Write lines, and below them the block; None is no block."""
        written = "".join(f"seedwise: {line}\n" for line in lines)
        is_ours = _is_ours(self._stream)  # or in the background by now
        rows = self._rows_of(status) if status is not None and is_ours else []
        if rows or (self._is_drawn and is_ours):
            written = _TO_HERE + written
        self._is_drawn = bool(rows)
        if rows:
            written += "\n".join(["", *rows]) + f"\x1b[{len(rows)}A\r"
        self._stream.write(written)
        self._stream.flush()

    def _rows_of(self, status: RunStatus) -> list[str]:
        """Return the block in rows that fit the terminal."""
        size = os.get_terminal_size(self._stream.fileno())
        if not all(size):  # some terminals do not say it
            size = _USUAL_SIZE
        if self._drawn_of != (status, size):
            self._drawn_of = status, size
            width = max(1, size.columns - 1)  # some terminals wrap after the last column
            with self._console.capture() as captured:
                self._console.print(_text(status, width, self._console), soft_wrap=True)
            self._rows = captured.get().splitlines()
        return self._rows[: max(0, size.lines - 2)]


def is_capable(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal in front of the user, on which the cursor moves."""
    terminal = stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
    # Jupyter sets it for what a cell starts with "!", whose terminal is the text below the cell.
    return terminal and "JPY_PARENT_PID" not in os.environ and _is_ours(stream)


def _is_ours(stream: TextIO) -> bool:
    """Tell whether this process is in the foreground of the terminal, so that nobody types."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:  # it is not the terminal that controls the process
        return True


def _text(status: RunStatus, width: int, console: Console) -> Text:
    """Return the block; a table of rich's takes as long as a short trial."""
    rows: list[Text] = []
    full, half, empty = "#--" if console.options.ascii_only else "━╸─"
    titled: list[tuple[str, Text]] = []
    for title, n_done, total, words in bars(status):
        wide = max(_NARROWEST_BAR, min(_WIDEST_BAR, width - _TITLES - 2 - len(words)))
        n_full, is_half = divmod(2 * wide * n_done // max(total, 1), 2)
        done = full * n_full + half * is_half
        left = empty * (wide - len(done))
        titled.append((title, Text.assemble((done, _DONE), (left, _DIM), "  ", words)))
    titled += [(title, Text(words)) for title, words in live_rows(status)]
    for title, text in titled:
        for line in text.wrap(console, max(_NARROWEST_BAR, width - _TITLES)):
            line.rstrip()
            rows.append(Text.assemble((title.ljust(_TITLES), _DIM), line))
            title = ""  # noqa: PLW2901 - of further lines
    for row in rows:
        row.truncate(width)
    return Text("\n").join(rows)


class PlainLines:
    """Writes the lines to a stream; None if there is none, as stderr was closed."""

    #: Whether it shows the progress all the time.
    shows_progress = False

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        #: Whether it is a file that other users can read, such as a log.
        self.may_be_read_by_others = _may_be_read_by_others(stream)

    def write(self, lines: Sequence[str], status: RunStatus | None) -> None:
        """Write lines; others show the progress below them, too, if there is any."""
        del status
        for line in lines if self._stream is not None else ():
            print(f"seedwise: {line}", file=self._stream, flush=True)


class NotebookBar:
    """Shows the progress below the cell, without widgets; lines on stdout, as stderr is red."""

    may_be_read_by_others = False

    def __init__(self, *, shows_progress: bool) -> None:
        self.shows_progress = shows_progress
        self._handle: Any = None
        self._shown = ""

    def write(self, lines: Sequence[str], status: RunStatus | None) -> None:
        """Show further lines, and the progress as it is now."""
        for line in lines:
            print(f"seedwise: {line}", flush=True)
        html = ""
        if self.shows_progress and status is not None:
            shown = [_BAR.format(done, max(total, 1)) for _, done, total, _ in bars(status)]
            html = "".join([*shown, status._repr_html_()])
        if html == self._shown:
            return
        self._shown, display = html, importlib.import_module("IPython.display")
        if self._handle is None:
            self._handle = display.display(display.HTML(html), display_id=True)
        else:
            self._handle.update(display.HTML(html))


Face: TypeAlias = PlainLines | LiveBlock | NotebookBar


def face_for(stream: TextIO | None, *, shows_progress: bool) -> Face:
    """Return what shows a run on a stream; None is where the user looks, a notebook or stderr."""
    if stream is None and in_notebook():
        return NotebookBar(shows_progress=shows_progress)
    stream = stream or sys.stderr
    if shows_progress and stream is not None and is_capable(stream):
        return LiveBlock(stream)
    return PlainLines(stream)


def _may_be_read_by_others(stream: TextIO | None) -> bool:
    """Tell whether a stream is a file that other users can read, such as a log."""
    try:
        found = os.fstat(stream.fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # it is in memory, or closed
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & (stat.S_IRGRP | stat.S_IROTH))


def in_notebook() -> bool:
    """Tell whether this is the kernel of a notebook; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None

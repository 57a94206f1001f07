"""Where the lines and the progress of a run are shown: a terminal, a notebook, or any stream."""

import importlib
import os
import stat
import sys
from collections.abc import Sequence
from typing import Any, TextIO, TypeAlias

from seedwise.model.status import RunStatus
from seedwise.view.block import LiveBlock, is_capable
from seedwise.view.words import bars

_BAR = '<progress value="{}" max="{}" style="width: 100%"></progress>'


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
            shown = ((done, max(total, 1)) for _, done, total, _ in bars(status))
            html = "".join(_BAR.format(done, total) for done, total in shown)
            html += status._repr_html_()
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

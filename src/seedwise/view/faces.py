"""Where the lines and the progress of a run are shown: a terminal, a notebook, or any stream."""

import os
import stat
import sys
from collections.abc import Sequence
from typing import Protocol, TextIO

from seedwise.model.status import RunStatus
from seedwise.view.block import LiveBlock, is_capable
from seedwise.view.notebook import NotebookBar, in_notebook


class Face(Protocol):
    """Shows lines, and below them the progress if it can."""

    #: Whether it shows the progress all the time.
    shows_progress: bool
    #: Whether it is a file that other users can read, such as a log.
    may_be_read_by_others: bool

    def write(self, lines: Sequence[str], status: RunStatus | None) -> None:
        """Show further lines, and the progress as it is now; None if there is none to show."""


class PlainLines:
    """Writes the lines to a stream; None if there is none, as stderr was closed."""

    shows_progress = False

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.may_be_read_by_others = _may_be_read_by_others(stream)

    def write(self, lines: Sequence[str], status: RunStatus | None) -> None:
        """Write lines."""
        del status
        for line in lines if self._stream is not None else ():
            print(f"seedwise: {line}", file=self._stream, flush=True)


def face_for(stream: TextIO | None, *, shows_progress: bool) -> Face:
    """Return what shows a run: on a stream, or if None is given where the user looks.

    With `shows_progress` the progress is shown all the time if that is possible.
    """
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

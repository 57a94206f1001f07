"""The progress of a run in a notebook: a bar in HTML that updates, without widgets."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from seedwise.model.status import RunStatus
from seedwise.view.words import bars


def in_notebook() -> bool:
    """Tell whether this is the kernel of a notebook; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class NotebookBar:
    """Shows the progress below the cell, and lines beside it: on stdout, as stderr is red."""

    may_be_read_by_others = False

    def __init__(self, *, shows_progress: bool) -> None:
        self.shows_progress = shows_progress
        self._handle: Any = None
        self._shown = ""

    def write(self, lines: Sequence[str], status: RunStatus | None) -> None:
        """Show further lines, and the progress as it is now."""
        for line in lines:
            print(f"seedwise: {line}", flush=True)
        html = status_html(status) if self.shows_progress and status is not None else ""
        if html == self._shown:
            return
        self._shown, display = html, importlib.import_module("IPython.display")
        if self._handle is None:
            self._handle = display.display(display.HTML(html), display_id=True)
        else:
            self._handle.update(display.HTML(html))


def status_html(status: RunStatus) -> str:
    """Return the progress of a run as bars and a table."""
    shown = "".join(
        f'<progress value="{done}" max="{max(total, 1)}" style="width: 100%"></progress>'
        for _, done, total, _ in bars(status)
    )
    return shown + status._repr_html_()

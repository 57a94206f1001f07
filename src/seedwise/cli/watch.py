"""A status that is shown again as it changes."""

import shutil
import sys
import time
from collections.abc import Callable

import click

from seedwise.model.status import RunStatus

_INTERVAL_S = 1.0


def watched(
    read: Callable[[], RunStatus], lines: Callable[[RunStatus], list[str]], *, in_place: bool
) -> None:
    """Write a status as lines whenever they change, until the run does not run."""
    before: list[str] = []
    while True:
        found = read()
        now = lines(found)
        if now != before:
            if in_place:
                size = shutil.get_terminal_size()
                # A line that wraps, or leaves the screen, could not be written over.
                now = [line[: size.columns - 1] for line in now[: size.lines - 1]]
                up = f"\x1b[{len(before)}A\x1b[J" if before else ""
                sys.stdout.write(up)
            click.echo("\n".join(now))
            sys.stdout.flush()
            before = now
        if found.state != "running":
            return
        time.sleep(_INTERVAL_S)

"""The question before a run is removed."""

import sys
from pathlib import Path

import click

from seedwise.errors import CleanRefusedError


def confirm_removal(path: Path) -> None:
    """Ask whether to remove a run; raises CleanRefusedError unless the answer is yes."""
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise CleanRefusedError(path, "there is no terminal to ask on")
    question = f"Remove {path} with all its results?"
    try:
        yes = click.confirm(question, default=False, err=True)
    except click.Abort:
        yes = False
    if not yes:
        raise CleanRefusedError(path, "the answer was no")

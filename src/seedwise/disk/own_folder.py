"""Folders that are their owner's alone."""

from __future__ import annotations

import stat
from pathlib import Path


def make_own_folder(path: Path) -> None:
    """Make a folder that only its owner may use, whatever the one above it hands down."""
    path.mkdir(mode=0o700)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:  # by an access list of the folder above
        path.chmod(mode & ~0o077)  # setgid stays: a project's space may be counted by it

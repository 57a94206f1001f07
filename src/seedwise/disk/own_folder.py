"""Folders: made for their owner alone, told from links to them, and removed."""

import contextlib
import shutil
import stat
from pathlib import Path


def make_own_folder(path: Path) -> None:
    """Make a folder that only its owner may use, whatever the one above it hands down."""
    path.mkdir(mode=0o700)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:  # by an access list of the folder above
        path.chmod(mode & ~0o077)  # setgid stays: a project's space may be counted by it


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder, and not a link to one: that is somebody else's."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; what can't be removed, or is still written to, stays."""
    if is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()

"""Files and folders as a whole: made for their owner, told apart, counted, and removed."""

import contextlib
import resource
import shutil
import stat
from pathlib import Path

# Open files of an entry that is worked on: ledger, study file, two checkpoints, and one to spare.
_FILES_AN_ENTRY = 5
_FILES_OF_THE_DRIVER = 200


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


def inode_and_size(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that replaces it, and its length; zeros without one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def allow_many_files() -> None:
    """Raise the limit of open files as far as we may: each worker and each entry has some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_entries_open() -> int:
    """Return how many entries may be worked on at once, for the files that they have open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return 2**31
    return max(1, (most - _FILES_OF_THE_DRIVER) // _FILES_AN_ENTRY)

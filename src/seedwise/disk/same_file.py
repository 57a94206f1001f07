"""What tells a file that has grown from one that took its place."""

from pathlib import Path


def inode_and_size(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that replaces it, and its length; zeros without one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size

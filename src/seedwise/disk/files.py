"""Files and folders as a whole, and files of JSON objects, one a line.

They are made for their owner. A whole file is written aside, then renamed; a torn line costs no
other.
"""

import contextlib
import errno
import json
import os
import resource
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from seedwise.errors import RunFileError

# Open files of an entry that is worked on: ledger, study file, two checkpoints, and one to spare.
_FILES_AN_ENTRY = 5
_FILES_OF_THE_DRIVER = 200

_T = TypeVar("_T", bound=attrs.AttrsInstance)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an OSError that comes out of the block as a RunFileError about this file."""
    try:
        yield
    except OSError as error:
        raise RunFileError(path, error.strerror or str(error), path.parent) from error


def write_all(handle: int, data: bytes, at: int | None = None) -> None:
    """Write all bytes, at a position if one is given; an OSError may leave a part there."""
    left = memoryview(data)
    while left:  # a disk that fills up takes a part first
        n_written = os.write(handle, left) if at is None else os.pwrite(handle, left, at)
        if not n_written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[n_written:]
        at = None if at is None else at + n_written


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True, aside: Path | None = None) -> Iterator[int]:
    """Open a new file, for its owner only, that takes the name of another when the block ends.

    A reader sees the old file or the new one, never half of one. If the block raises, the old one
    stays. `aside` is the name until then. A durable file is synced before it is renamed.
    """
    aside = aside or path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            yield handle
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to raise
            aside.unlink(missing_ok=True)
        raise


def replace_file(
    path: Path, content: bytes, *, durable: bool = True, aside: Path | None = None
) -> None:
    """Write a file aside and rename it: see `replacing`."""
    with replacing(path, durable=durable, aside=aside) as handle:
        write_all(handle, content)


def make_own_folder(path: Path) -> None:
    """Make a folder that only its owner may use, whatever the one above it hands down."""
    path.mkdir(mode=0o700)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:  # by an access list of the folder above
        path.chmod(mode & ~0o077)  # setgid stays: a project's space may be counted by it


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder, and not a link to one: that is somebody else's."""
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(path.lstat().st_mode)
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
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_size
    return 0, 0


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


def append_lines(
    path: Path, contents: Iterable[Mapping[str, Any]], *, durable: bool = False
) -> None:
    """Append objects to a file, which is made for its owner only; OSError if they don't fit."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for content in contents:
            # Asked before each line, and written at once: another process may append, too.
            size = os.fstat(handle).st_size
            is_torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            before = b"\n" if is_torn else b""
            write_all(handle, before + f"{json.dumps(content)}\n".encode())
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects in their order, without torn lines; none if there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [content for line in lines if (content := parsed(line)) is not None]


def parsed(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a text; None if it is torn, or something else."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def read_as(kind: type[_T], content: Any) -> _T | None:
    """Return a record of what a parsed file says; None if it can't be read as one."""
    names = [field.name for field in attrs.fields(kind)]
    try:  # by name: a later version may say more
        return kind(**{name: content[name] for name in names if name in content})
    except (TypeError, ValueError):
        return None

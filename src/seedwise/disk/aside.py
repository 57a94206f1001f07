"""The writing of whole files: every byte or an error, and aside, then renamed."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from seedwise.errors import RunFileError


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

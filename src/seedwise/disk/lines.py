"""Files of JSON objects, one a line, in which a torn line costs no other."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from seedwise.disk.aside import write_all

_T = TypeVar("_T", bound=attrs.AttrsInstance)


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

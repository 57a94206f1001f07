"""The copies of the user's code in a run's folder: one folder for each version of the code."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from seedwise.disk.aside import write_all, writing
from seedwise.errors import NotARunError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.owner import require_own


def code_folder(directory: RunDirectory, version: str) -> Path:
    """Return the folder of a version of the code."""
    return directory.code / version


def write_code(directory: RunDirectory, version: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a version, by their paths in it, unless they are there as they are."""
    folder = code_folder(directory, version)
    if folder.exists() and all(_is(folder / name, content) for name, content in files.items()):
        return
    aside = folder.with_name(f".{version}.{uuid.uuid4().hex[:8]}.new")
    with writing(folder):
        for relative, content in files.items():
            _write(aside / relative, content)
        _make(aside)
        drop_code(directory, version)  # a file was edited, or torn by a crash
        aside.rename(folder)


def read_code(
    directory: RunDirectory, version: str, hashes: Mapping[str, str]
) -> dict[str, bytes]:
    """Read the files of a version whose SHA-256 are given.

    Raises NotARunError if one is gone, if other users could have written it, or if it is not what
    was written.
    """
    folder = code_folder(directory, version)
    content = {}
    for relative, digest in hashes.items():
        path = folder / relative
        require_own(directory.path, path)
        content[relative] = path.read_bytes()
        if hashlib.sha256(content[relative]).hexdigest() != digest:
            problem = (
                f"{path} is not the code that the run began with: it is a copy, and was changed. "
                "To change the loss, edit your own file and run it again with this run_name"
            )
            raise NotARunError(directory.path, problem)
    return content


def drop_code(directory: RunDirectory, version: str) -> None:
    """Remove a version that no trial needs any more."""
    shutil.rmtree(code_folder(directory, version), ignore_errors=True)


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _write(path: Path, content: bytes) -> None:
    _make(path.parent)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(handle, content)
    finally:
        os.close(handle)


def _make(folder: Path) -> None:
    """Make a folder, and those around it, so that only we can look into them."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700)  # with parents=True these would have another mode

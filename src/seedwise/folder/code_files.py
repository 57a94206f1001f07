"""The copies of the user's code in a run's folder: one folder for each version of the code."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from seedwise.disk.aside import replace_file, writing
from seedwise.errors import NotARunError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.owner import require_own


def write_code(directory: RunDirectory, version: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a version, by their paths in it, unless they are there as they are."""
    folder = directory.code / version
    if folder.exists() and all(_is(folder / name, content) for name, content in files.items()):
        return
    with writing(folder):
        directory.code.mkdir(mode=0o700, exist_ok=True)
        aside = Path(tempfile.mkdtemp(".new", f".{version}.", directory.code))
        for name, content in files.items():
            for above in reversed(Path(name).parents):
                (aside / above).mkdir(mode=0o700, exist_ok=True)
            replace_file(aside / name, content, durable=False)
        drop_code(directory, version)  # a file was edited, or torn by a crash
        aside.rename(folder)


def read_code(
    directory: RunDirectory, version: str, hashes: Mapping[str, str]
) -> dict[str, bytes]:
    """Read the files of a version; refuse one that is not what was written, by its SHA-256."""
    files = {}
    for name, digest in hashes.items():
        path = directory.code / version / name
        require_own(directory.path, path)
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != digest:
            problem = (
                f"{path} is not the code that the run began with: it is a copy, and was changed. "
                "To change the loss, edit your own file and run it again with this run_name"
            )
            raise NotARunError(directory.path, problem)
    return files


def drop_code(directory: RunDirectory, version: str) -> None:
    """Remove a version that no trial needs any more."""
    shutil.rmtree(directory.code / version, ignore_errors=True)


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content

"""The owner of a run's folder: who may read it, and who could have written to it."""

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from seedwise.errors import NotARunError, NotYourRunError, RunFileError


@contextlib.contextmanager
def allowed_to_us(run_dir: Path) -> Iterator[None]:
    """Raise a refused permission as an error that names the owner of the run, if not us."""
    try:
        yield
    except (PermissionError, RunFileError) as error:
        denied = error.__cause__ if isinstance(error, RunFileError) else error
        if not isinstance(denied, PermissionError) or isinstance(denied, NotYourRunError):
            raise
        owner = _other_owner(run_dir)
        if owner is not None:
            raise NotYourRunError(run_dir, owner) from error
        problem = f"{denied.filename or run_dir}: {denied.strerror}, though it is yours; see chmod"
        raise NotARunError(run_dir, problem) from error


def require_owner(run_dir: Path) -> None:
    """Raise NotYourRunError if a run is another user's; root may have it."""
    owner = _other_owner(run_dir)
    if owner is not None and os.getuid() != 0:
        raise NotYourRunError(run_dir, owner)


def require_own(run_dir: Path, *files: Path) -> None:
    """Refuse a run if others can write to its folder or a file: it is run as a program."""
    for path in (run_dir, *files):
        try:
            found = path.stat()
        except FileNotFoundError:
            raise NotARunError(run_dir, f"there is no {path.name}") from None
        if found.st_uid not in (os.getuid(), 0) or found.st_mode & 0o022:
            problem = (
                f"{path.name} belongs to user {found.st_uid} with mode "
                f"{found.st_mode & 0o777:o}, so others could have put a program into it; "
                "chmod go-w it if you trust it"
            )
            raise NotARunError(run_dir, problem)


def _other_owner(path: Path) -> str | None:
    """Return the user who owns a folder, or who keeps us out; None if that is us."""
    for one in (path, *path.parents):
        with contextlib.suppress(OSError):
            uid = one.stat().st_uid
            if uid == os.getuid():
                return None
            with contextlib.suppress(KeyError):  # known on the machine that the folder is from
                return pwd.getpwuid(uid).pw_name
            return str(uid)
    return None

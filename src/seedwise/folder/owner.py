"""Whose a run's folder is, and what is said to anybody else."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from seedwise.errors import (
    NotARunError,
    NotYourRunError,
    RunFileError,
)


@contextlib.contextmanager
def allowed_to_us(run_dir: Path) -> Iterator[None]:
    """Have the system's refusal to let us at a run raised as an error that says whose it is.

    Raises
    ------
    NotYourRunError
        If permission was denied, and the run is another user's.
    NotARunError
        If it was denied, and the run is ours.
    """
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
    """Refuse a run that is another user's; root may have it.

    Raises
    ------
    NotYourRunError
        If it is.
    """
    owner = _other_owner(run_dir)
    if owner is not None and os.getuid() != 0:
        raise NotYourRunError(run_dir, owner)


def _other_owner(path: Path) -> str | None:
    """Return the user whom a folder belongs to, or the one that keeps us out; None if it is us."""
    for one in (path, *path.parents):
        with contextlib.suppress(OSError):
            uid = one.stat().st_uid
            if uid == os.getuid():
                return None
            try:
                return pwd.getpwuid(uid).pw_name
            except KeyError:  # known on the machine that the folder is from
                return str(uid)
    return None

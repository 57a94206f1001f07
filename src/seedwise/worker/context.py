"""The context that a loss may ask for, with a folder for its files."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import TrialDirError

_KEY = "trial_dir"


@attrs.frozen
class TrialDir:
    """A folder for the files of a loss; it is made when the loss asks for it."""

    #: Absolute.
    path: Path
    #: An ancestor of `path`. It is never made: if it is missing, it lies on another machine's
    #: disk, and the files would be lost on this one.
    run_dir: Path

    def make(self) -> Path:
        """Return the folder, and make it if it is missing; new folders have mode 0700."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            if self.path.parent == self.run_dir:
                raise TrialDirError(self.run_dir) from None
            attrs.evolve(self, path=self.path.parent).make()
            self.path.mkdir(mode=0o700, exist_ok=True)
        return self.path


class Context(dict[str, Any]):
    """The context of a trial: a dict that answers to ``trial_dir`` without holding it.

    If there is a folder, ``in``, ``[]`` and `get` know the key, and ``[]`` and `get` make it.
    Iterating, printing, copying or pickling makes no folder and shows no ``trial_dir``.
    """

    __slots__ = ("folder",)

    def __init__(self, items: Mapping[str, Any], folder: TrialDir | None) -> None:
        super().__init__(items)
        self.folder = folder

    def __missing__(self, key: str) -> Path:
        """Make and return the folder for ``trial_dir``."""
        if key == _KEY and self.folder is not None:
            return self.folder.make()
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Tell whether ``[]`` knows the key."""
        return super().__contains__(key) or (key == _KEY and self.folder is not None)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what ``[]`` does, or the default if there is no such key."""
        try:
            return self[key]
        except KeyError:
            return default

    def copy(self) -> "Context":
        """Return a copy with the same folder."""
        return Context(self, self.folder)


@contextmanager
def passing_context(items: Mapping[str, Any]) -> Iterator[Context]:
    """Make a context whose folder is removed in the end, for an evaluation that does not count."""
    root = Path(tempfile.gettempdir())
    folder = root / f"seedwise-{secrets.token_hex(8)}"  # it is made if the loss asks for it
    try:
        yield Context(items, TrialDir(folder, root))
    finally:
        shutil.rmtree(folder, ignore_errors=True)

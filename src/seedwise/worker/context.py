"""What a loss that asks for its context is given, with a folder for files of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import TrialDirError

_KEY = "trial_dir"


@attrs.frozen
class TrialDir:
    """A folder for a loss's own files, which is made when the loss asks for it."""

    #: The folder, absolute.
    path: Path
    #: The run's folder, above it. It is never made: a run's folder that is not there is on another
    #: machine's disk, where nobody would find the files.
    run_dir: Path

    def make(self) -> Path:
        """Make the folder, unless that is done; the mode of all that is made is 0700.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        TrialDirError
            If the run's folder is not there.
        """
        self._make(self.path)
        return self.path

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            if folder.parent == self.run_dir:
                raise TrialDirError(self.run_dir) from None
            self._make(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)


class Context(dict[str, Any]):
    """The context of a trial: a dict that has ``trial_dir``, too, without holding it.

    ``in``, ``[]`` and `get` know the key; `[]` and `get` make the folder, at that moment. To
    iterate, print, copy or pickle the context makes nothing, and shows no ``trial_dir``.

    Parameters
    ----------
    items : mapping
        ``entry_id`` and ``trial_number``.
    folder : TrialDir or None
        The folder; None if there is no place for files, and no such key then.
    """

    __slots__ = ("folder",)

    def __init__(self, items: Mapping[str, Any], folder: TrialDir | None) -> None:
        super().__init__(items)
        self.folder = folder

    def __missing__(self, key: str) -> Path:
        """Return the folder, made, for its key."""
        if key == _KEY and self.folder is not None:
            return self.folder.make()
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Tell whether `[]` has the key."""
        return super().__contains__(key) or (key == _KEY and self.folder is not None)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what `[]` does, or the default if there is no such key."""
        try:
            return self[key]
        except KeyError:
            return default

    def copy(self) -> Context:
        """Return a copy that knows the same folder."""
        return Context(self, self.folder)

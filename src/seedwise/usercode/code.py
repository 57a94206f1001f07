"""The user's own code as it travels and as it is saved: modules, their sources, and the rest."""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from typing import Any, Self

import attrs

#: The name of the script among the modules.
SCRIPT = "__main__"


@attrs.frozen
class Module:
    """A module of the user's own."""

    #: The absolute path of its file; of a package without a file, of its folder.
    path: str
    #: The path of its copy in the snapshot; None of a package without a file.
    copy: str | None
    is_package: bool = False


@attrs.frozen
class Code:
    """The user's own modules, and how the driver found them: what an import of them needs."""

    #: By the names under which they are imported; the script is `SCRIPT`.
    modules: Mapping[str, Module]
    #: The sources of those that have one, by the same names.
    sources: Mapping[str, bytes] = attrs.field(repr=False)
    #: SHA-256 of every file of the snapshot, by the path of its copy.
    hashes: Mapping[str, str] = attrs.field(repr=False)
    #: The folder of the copies; relative imports of data and compiled modules need it.
    folder: str
    #: The driver's ``sys.path``.
    path: tuple[str, ...]
    #: How many entries of `path` are before the first that is Python's or installed.
    n_own: int
    cwd: str
    #: The driver's ``sys.argv``; None leaves a worker's as it is.
    argv: tuple[str, ...] | None
    #: The package of a script that was started with ``python -m``, and its name there.
    script_package: str = ""
    script_name: str | None = None

    @property
    def id(self) -> str:
        """What tells this code from any other: 16 hex digits."""
        content = [sorted(self.hashes.items()), sorted(map(repr, self.modules.items()))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def texts(self) -> dict[str, str]:
        """Return the sources as text."""
        return {name: _decoded(source) for name, source in self.sources.items()}

    def to_manifest(self) -> dict[str, Any]:
        """Return all but the sources, as JSON; `from_manifest` reads it."""
        return attrs.asdict(self, filter=attrs.filters.exclude("sources"))

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], sources: Mapping[str, bytes]) -> Self:
        """Make it of what was saved."""
        fields = {**manifest, "path": tuple(manifest["path"])}
        fields["argv"] = None if manifest["argv"] is None else tuple(manifest["argv"])
        fields["modules"] = {name: Module(**each) for name, each in manifest["modules"].items()}
        return cls(sources=sources, **fields)


def _decoded(source: bytes) -> str:
    try:
        return importlib.util.decode_source(source)
    except (SyntaxError, ValueError):  # it can't be imported
        return source.decode("utf-8", "backslashreplace")

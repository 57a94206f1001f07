"""The sources of a sweep: a grid, random draws, or listed cases."""

from collections.abc import Mapping
from typing import Any

from seedwise.model.sources.case import ParamCase, ParameterSource, read_manifest
from seedwise.model.sources.kinds import (
    GridSource,
    ManualSource,
    RandomSource,
    grid,
    manual,
    random,
)

__all__ = [
    "GridSource",
    "ManualSource",
    "ParamCase",
    "ParameterSource",
    "RandomSource",
    "grid",
    "manual",
    "random",
    "source_from_manifest",
]


def source_from_manifest(manifest: Mapping[str, Any]) -> GridSource | RandomSource | ManualSource:
    """Return the source that a manifest describes.

    Parameters
    ----------
    manifest : dict
        What a source's `to_manifest_dict` returned, also after a way through JSON.

    Returns
    -------
    GridSource, RandomSource or ManualSource
        A source that equals the one that wrote the manifest, down to the types of its values.

    Raises
    ------
    SourceError
        If no source wrote it: it has other keys or types, or another version.

    Examples
    --------
    >>> import json
    >>> from seedwise.model.sources import grid, source_from_manifest
    >>> source = grid(size=[1, 2.0, (3, True)])
    >>> source_from_manifest(json.loads(json.dumps(source.to_manifest_dict()))) == source
    True
    """
    kinds = (GridSource, RandomSource, ManualSource)
    return read_manifest({cls.TYPE: cls._read for cls in kinds}, manifest)

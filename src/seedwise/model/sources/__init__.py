"""The sources of a sweep: a grid, random draws, or listed cases."""

from collections.abc import Mapping
from typing import Any

from seedwise.model.sources.case import ParamCase, ParameterSource
from seedwise.model.sources.grid import GridSource, grid
from seedwise.model.sources.manifests import checked_type_of_source
from seedwise.model.sources.manual import ManualSource, manual
from seedwise.model.sources.random import RandomSource, random

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

_CLASSES: dict[str, type[GridSource | RandomSource | ManualSource]] = {
    "grid": GridSource,
    "random": RandomSource,
    "manual": ManualSource,
}


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
    return _CLASSES[checked_type_of_source(manifest, _CLASSES)].from_manifest_dict(manifest)

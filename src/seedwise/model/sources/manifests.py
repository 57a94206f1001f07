"""The contents of a source's manifest: plain values, in a form of JSON that keeps their types."""

import math
from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np

from seedwise.errors import SourceError
from seedwise.errors.base import shown

VERSION = 1

CaseValue: TypeAlias = "float | int | str | bool | tuple[CaseValue, ...] | None"

# Python's limit on writing ints (sys.set_int_max_str_digits) is never below 640 digits, so ints of
# this size can be written as JSON everywhere.
_MOST_BITS = 2048
_DEEPEST = 32


def plain_value(value: Any, parameter: str | None = None, depth: int = 0) -> CaseValue:
    """Return a value that a case may hold, as plain Python; raise SourceError for another."""
    if depth > _DEEPEST:
        raise SourceError(f"value is nested more than {_DEEPEST} levels deep", parameter)
    if type(value) is list or type(value) is tuple:
        return tuple(plain_value(item, parameter, depth + 1) for item in value)
    # The item() of a time span may be an int, which loses its unit.
    span = isinstance(value, np.timedelta64 | np.datetime64)
    plain = value.item() if isinstance(value, np.generic) and not span else value
    # Not isinstance: JSON would keep only the value of an enum.
    if type(plain) not in (bool, int, float, str, type(None)):
        raise SourceError(
            f"value {shown(value)}: must be a float, int, str, bool or None, or a list or tuple "
            "of these",
            parameter,
        )
    if isinstance(plain, float) and not math.isfinite(plain):
        raise SourceError(f"value {shown(value)}: must be finite", parameter)
    if isinstance(plain, int) and plain.bit_length() > _MOST_BITS:
        raise SourceError(f"value is an int of more than {_MOST_BITS} bits", parameter)
    return plain  # type: ignore[no-any-return]


def checked_name(name: Any) -> str:
    """Return a parameter's name; raise SourceError if it is not a string, or is empty."""
    if isinstance(name, np.str_):
        name = name.item()
    if type(name) is not str or not name:
        raise SourceError(f"parameter names are non-empty strings; got {shown(name)}")
    return name


def encoded(value: CaseValue) -> Any:
    """Return a plain value as JSON can hold it: a tuple is ``{"tuple": [...]}``."""
    if isinstance(value, tuple):
        return {"tuple": [encoded(item) for item in value]}
    return value


def decoded(value: Any, parameter: str | None = None, depth: int = 0) -> Any:
    """Return the value that `encoded` wrote; raise SourceError if it did not write this."""
    if isinstance(value, dict) and value.keys() == {"tuple"} and isinstance(value["tuple"], list):
        if depth > _DEEPEST:
            raise SourceError(f"value is nested more than {_DEEPEST} levels deep", parameter)
        return tuple(decoded(item, parameter, depth + 1) for item in value["tuple"])
    if isinstance(value, dict | list):
        raise SourceError(
            f'manifest: value {shown(value)}: a tuple is written {{"tuple": [...]}}', parameter
        )
    return value


def decoded_dict(value: Any, what: str, parameter: str | None = None) -> dict[Any, Any]:
    """Return a dict of a manifest, as it is; raise SourceError if it is not a dict."""
    if not isinstance(value, dict):
        raise SourceError(f"manifest: {what} must be a dict; got {shown(value)}", parameter)
    return value


def checked_type_of_source(manifest: Any, types: Collection[str]) -> str:
    """Return the type of a source's manifest, if it is one of `types` in this version."""
    manifest = decoded_dict(manifest, "a source")
    # The version is checked first: another one may have other types and keys.
    version = manifest.get("version", VERSION)
    if type(version) is not int or version != VERSION:
        raise SourceError(
            f"manifest: version={shown(version)}: this seedwise knows manifests of version "
            f"{VERSION}"
        )
    return checked_type(manifest, types)


def checked_source(manifest: Any, kind: str, fields: Collection[str]) -> dict[str, Any]:
    """Return a copy of a source's manifest, if it has this type and these fields."""
    checked_type_of_source(manifest, (kind,))
    checked_fields(manifest, ("version", *fields))
    return dict(manifest)


def checked_type(manifest: dict[Any, Any], types: Collection[str], name: str | None = None) -> str:
    """Return a manifest's ``"type"``; raise SourceError if it is missing or not one of `types`."""
    if "type" not in manifest:
        raise SourceError("manifest: lacks 'type'", name)
    kind = manifest["type"]
    if not isinstance(kind, str) or kind not in types:
        known = " or ".join(map(repr, types))
        raise SourceError(f"manifest: type={shown(kind)}: must be {known}", name)
    return kind


def checked_fields(
    manifest: dict[Any, Any], fields: Collection[str], parameter: str | None = None
) -> None:
    """Raise SourceError if a manifest has other keys than ``"type"`` and these."""
    if problem := difference(manifest, {"type", *fields}, "unknown"):
        raise SourceError(
            f"manifest of type {manifest['type']!r}: {problem}; this seedwise knows manifests of "
            f"version {VERSION}",
            parameter,
        )


def difference(found: Collection[Any], expected: Collection[str], additional: str) -> str:
    """Return in words which names are missing, and which are additional; empty if none is."""
    missing = sorted(set(expected) - set(found))
    more = sorted(set(found) - set(expected), key=repr)
    return " and ".join(
        f"{verb} {', '.join(map(shown, names))}"
        for verb, names in (("lacks", missing), (f"has the {additional}", more))
        if names
    )

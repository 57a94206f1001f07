"""Points and sources from the text of a command line, in the types of the loss's parameters."""

import contextlib
import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import seedwise
from seedwise.errors import OptionError
from seedwise.model.points import require_known, typed_value
from seedwise.model.sources import ParameterSource
from seedwise.model.space import ParameterSpace, SearchParam

_RANGES = ("uniform", "loguniform", "randint", "loguniform_int")
_BOOLS = {"true": True, "false": False}


def listed(
    keyword: str, points: Sequence[Mapping[str, Any]], space: ParameterSpace
) -> ParameterSource:
    """Return points, of which values may be text, as a source."""
    cases = []
    for i, point in enumerate(points):
        where = f"{keyword}[{i}]"
        require_known(where, point, space)
        cases.append({n: _value(f"{where}[{n!r}]", one, space[n]) for n, one in point.items()})
    return seedwise.manual(cases)


def source_of(flags: Mapping[str, Any], space: ParameterSpace) -> ParameterSource:
    """Return the source that the flags of a sweep name.

    Its texts are such as ``x=1,2,3``, or ``x=[1, 2, 3]`` in JSON, and ``x=uniform(0, 1)``. Of a
    JSON file a list holds the cases, and an object is the manifest of a source.
    """
    if flags["grid"]:
        return seedwise.grid(**_named("grid", flags["grid"], _values, space))
    if flags["random"]:
        drawn = _named("random", flags["random"], _distribution, space)
        return seedwise.random(drawn, n_trials=flags["n_trials"], seed=flags["random_seed"])
    path: Path = flags["cases"]
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix == ".json" else _rows(path, text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OptionError("cases", str(path), "a file that can be read", f"{error}.") from None
    if isinstance(content, dict):
        return seedwise.source_from_manifest(content)
    if not isinstance(content, list) or not all(isinstance(case, dict) for case in content):
        raise OptionError("cases", str(path), "a JSON list of objects, or a source's manifest")
    return listed("cases", content, space)


def _rows(path: Path, text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names in its first line."""
    if path.suffix != ".csv":
        raise OptionError("cases", str(path), "a name that ends in .csv or .json")
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    for number, row in enumerate(rows[1:]):
        if len(row) != len(rows[0]):
            allowed = f"{len(rows[0])} values, as the file's first line has"
            raise OptionError(f"cases[{number}]", row, allowed)
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _named(
    flag: str, axes: Sequence[str], read: Callable[..., Any], space: ParameterSpace
) -> dict[str, Any]:
    """Return what is read of the text for each parameter of a flag."""
    named: dict[str, str] = {}
    for axis in axes:
        name, _, text = (part.strip() for part in axis.partition("="))
        if not text:
            example = "x=uniform(0,1)" if flag == "random" else "x=1,2,3"
            raise OptionError(flag, axis, f"a parameter and what it gets, such as {example}")
        if name in named:
            raise OptionError(flag, axis, f"given once for {name!r}")
        named[name] = text
    require_known(flag, named, space)
    return {name: read(f"{flag}[{name!r}]", text, space[name]) for name, text in named.items()}


def _values(where: str, text: str, param: SearchParam) -> list[Any]:
    if text.startswith("["):
        with contextlib.suppress(ValueError):
            return [_value(where, one, param) for one in json.loads(text)]
    return [_value(where, part.strip(), param) for part in text.split(",")]


def _value(where: str, text: Any, param: SearchParam) -> Any:
    value = text
    if isinstance(text, str) and param.dtype == "bool":
        value = _BOOLS.get(text.lower(), text)
    elif isinstance(text, str) and param.dtype != "str":
        value = _number(text)
    return typed_value(where, param, value)


def _number(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _distribution(where: str, text: str, param: SearchParam) -> Any:
    found = re.fullmatch(r"(\w+)\s*\((.*)\)", text)
    if found is not None and found[1] == "choice":
        return seedwise.choice(_values(where, found[2].strip(), param))
    bounds = [_number(part.strip()) for part in found[2].split(",")] if found else []
    if found is None or found[1] not in _RANGES or len(bounds) != 2:
        names = ", ".join(_RANGES)
        raise OptionError(where, text, f"one of {names} with two bounds, or choice(a,b,c)")
    made = getattr(seedwise, found[1])(*bounds)
    if param.dtype not in (made.DTYPE, "float"):
        allowed = f"a distribution of type {param.dtype}, as the loss's parameter is"
        raise OptionError(where, text, allowed)
    return made

"""Checks of option values, which raise OptionError, and readers of a command line's texts.

A reader raises ValueError.
"""

import contextlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from seedwise.errors import OptionError
from seedwise.model.options.race import Race, is_number, is_whole

_MEMORY = re.compile(r"[1-9][0-9]*[KMGTkmgt][Bb]?")

DIRECTIONS = ("minimize", "maximize")
SAMPLERS = ("auto", "tpe", "random", "qmc", "cmaes", "gp", "nsgaii")


def allowing(
    fine: Callable[[Any], Any], allowed: str, hint: str = ""
) -> Callable[[str, Any], None]:
    """Return a check that refuses a value unless it is `fine`."""

    def check(name: str, value: Any) -> None:
        if not fine(value):
            raise OptionError(name, value, allowed, hint)

    return check


def _are_lines(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(line, str) and line.strip() and "\n" not in line for line in value
    )


def _is_sampler(value: Any) -> bool:
    if isinstance(value, str):
        return value in SAMPLERS
    return hasattr(value, "sample_relative") and not isinstance(value, type)


def _are_bounds(value: Any) -> bool:
    bounds = value if isinstance(value, tuple) else (value, value)
    whole = all(is_whole(bound, 0) for bound in bounds)
    return whole and len(bounds) == 2 and bounds[0] <= bounds[1] and bounds[1] > 0


folder = allowing(
    lambda value: isinstance(value, Path), "the path of a folder, a str or pathlib.Path"
)
lines = allowing(_are_lines, "a list of non-empty strings of one line each")
command = allowing(
    lambda value: _are_lines(value) and value,
    "a command, as a list of words or as text that a shell can split",
    "In text, each quote has to be closed.",
)
sampler_seed = allowing(
    lambda value: is_whole(value, 0) and value < 2**32, "a whole number from 0 to 2**32 - 1"
)
positive = allowing(lambda value: is_whole(value, 1), "a whole number above 0")
not_negative = allowing(lambda value: is_whole(value, 0), "a whole number, 0 or above")
fresh_seeds = allowing(
    lambda value: is_whole(value, 0) and value != 1,
    "0, or a whole number above 1",
    "A single seed has no standard error.",
)
positive_number = allowing(lambda value: is_number(value) and value > 0, "a finite number above 0")
part = allowing(lambda value: is_number(value) and 0 < value < 1, "a number above 0 and below 1")
named_values = allowing(
    lambda value: isinstance(value, dict) and value and all(isinstance(key, str) for key in value),
    "a dict of parameter names to values, such as {'x': 0.3}",
)
source = allowing(
    lambda value: hasattr(value, "to_manifest_dict") and hasattr(value, "n_cases"),
    "a source, made with grid(), random() or manual()",
)
truth = allowing(lambda value: isinstance(value, bool), "True or False")
text = allowing(
    lambda value: isinstance(value, str) and value.strip(), "a non-empty string, or None"
)
memory = allowing(
    lambda value: isinstance(value, str) and _MEMORY.fullmatch(value),
    "a whole number with K, M, G or T, such as '2G'",
)
walltime = allowing(
    lambda value: isinstance(value, timedelta) and value.total_seconds() > 0,
    "a timedelta above 0, such as timedelta(hours=2), or a str, such as '02:00:00'",
)
direction = allowing(
    lambda value: isinstance(value, str) and value in DIRECTIONS,
    " or ".join(map(repr, DIRECTIONS)),
)
resume = allowing(
    lambda value: isinstance(value, str) and value == "auto",
    "None or 'auto'",
    "To resume a run by its name, give the name, or call resume_run with its folder.",
)
sampler = allowing(_is_sampler, f"{', '.join(map(repr, SAMPLERS))}, or an Optuna sampler")
race = allowing(
    lambda value: isinstance(value, bool | Race) or value == "auto",
    "'auto', True, False, or a Race",
)
workers = allowing(
    _are_bounds, "a whole number above 0, or (min, max) with 0 <= min <= max and max above 0"
)


def folder_name(name: str, value: Any) -> None:
    """Allow the name of a folder, without a path."""
    text(name, value)
    bad = value in (".", "..") or Path(value).name != value or not value.isprintable()
    if bad or value.startswith("-"):  # commands would take it for a flag
        raise OptionError(name, value, "the name of a folder, without a path or a - at its start")


def cluster(name: str, value: Any) -> None:
    """Allow None, 'local', 'slurm', or a Dask cluster, client or address."""
    known = "None, 'local', 'slurm', a Dask cluster, a Dask client, or a scheduler's address"
    hints = {
        "distributed": "Write cluster='slurm', or mode='distributed'.",
        "single": "Write cluster='local', or mode='single'.",
    }
    if not isinstance(value, str):
        allowing(lambda value: hasattr(value, "scheduler_info"), known)(name, value)
    elif value not in ("local", "slurm") and ":" not in value:
        raise OptionError(name, value, known, hints.get(value, ""))


def integers(text: str) -> list[int]:
    """Read a list of whole numbers."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"{text!r} is not a list of whole numbers, such as 3,1,2") from None


def names(text: str) -> list[str]:
    """Read a list of names."""
    return text.split(",")


def bounds(text: str) -> int | tuple[int, ...]:
    """Read a number of workers, or bounds."""
    found: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):  # its message speaks of Python values
        found = tuple(int(part) for part in text.split(":"))
        value = found if len(found) > 1 else found[0]
        workers("workers", value)
        return value
    problem = f"{text!r} is not a number of workers"
    if len(found) == 2 and found[0] > found[1]:
        problem = f"in {text!r} the first bound is above the second"
    wanted = "give a whole number above 0, such as 40, or bounds, such as 10:200"
    raise ValueError(f"{problem}; {wanted}")


def json_value(text: str) -> Any:
    """Read JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not JSON, such as '{{\"x\": 0.3}}' ({error})") from None


def point(text: str) -> dict[str, Any]:
    """Read params, with values as text, or those of a JSON object."""
    if text.lstrip().startswith("{"):
        return dict(json_value(text))
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and is_given for name, is_given, _ in pairs):
        raise ValueError(f"{text!r} is not a point, such as x=0.3,n=2, or a JSON object")
    return {name.strip(): value.strip() for name, _, value in pairs}

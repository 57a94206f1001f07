"""Checks of option values: each raises OptionError for a value that is not allowed."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from seedwise.errors import OptionError
from seedwise.model.options.race import Race, is_whole

_MEMORY = re.compile(r"[1-9][0-9]*[KMGTkmgt][Bb]?")

DIRECTIONS = ("minimize", "maximize")
SAMPLERS = ("auto", "tpe", "random", "qmc", "cmaes", "gp", "nsgaii")


def folder(name: str, value: Any) -> None:
    """Allow the path of a folder."""
    if not isinstance(value, Path):
        raise OptionError(name, value, "the path of a folder, a str or pathlib.Path")


def lines(name: str, value: Any) -> None:
    """Allow a sequence of lines of text."""
    if not _are_lines(value):
        raise OptionError(name, value, "a list of non-empty strings of one line each")


def command(name: str, value: Any) -> None:
    """Allow the words of a command."""
    if not _are_lines(value) or not value:
        allowed = "a command, as a list of words or as text that a shell can split"
        raise OptionError(name, value, allowed, "In text, each quote has to be closed.")


def sampler_seed(name: str, value: Any) -> None:
    """Allow what NumPy allows as a seed."""
    if not is_whole(value, 0) or value >= 2**32:
        raise OptionError(name, value, "a whole number from 0 to 2**32 - 1")


def positive(name: str, value: Any) -> None:
    """Allow a whole number above 0."""
    if not is_whole(value, 1):
        raise OptionError(name, value, "a whole number above 0")


def not_negative(name: str, value: Any) -> None:
    """Allow a whole number, 0 or above."""
    if not is_whole(value, 0):
        raise OptionError(name, value, "a whole number, 0 or above")


def fresh_seeds(name: str, value: Any) -> None:
    """Allow 0 and whole numbers above 1."""
    if not is_whole(value, 0) or value == 1:
        allowed = "0, or a whole number above 1"
        raise OptionError(name, value, allowed, "A single seed has no standard error.")


def positive_number(name: str, value: Any) -> None:
    """Allow a finite number above 0."""
    try:
        fine = not isinstance(value, bool) and 0 < float(value) < math.inf
    except (TypeError, ValueError, OverflowError):
        fine = False
    if not fine or isinstance(value, str):
        raise OptionError(name, value, "a finite number above 0")


def part(name: str, value: Any) -> None:
    """Allow a number above 0 and below 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise OptionError(name, value, "a number above 0 and below 1")


def named_values(name: str, value: Any) -> None:
    """Allow a dict of parameter names to values."""
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        raise OptionError(name, value, "a dict of parameter names to values, such as {'x': 0.3}")


def source(name: str, value: Any) -> None:
    """Allow a parameter source."""
    if not hasattr(value, "to_manifest_dict") or not hasattr(value, "n_cases"):
        raise OptionError(name, value, "a source, made with grid(), random() or manual()")


def truth(name: str, value: Any) -> None:
    """Allow True and False."""
    if not isinstance(value, bool):
        raise OptionError(name, value, "True or False")


def text(name: str, value: Any) -> None:
    """Allow a string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise OptionError(name, value, "a non-empty string, or None")


def folder_name(name: str, value: Any) -> None:
    """Allow the name of a folder, without a path."""
    text(name, value)
    bad = value in (".", "..") or Path(value).name != value or not value.isprintable()
    if bad or value.startswith("-"):  # commands would take it for a flag
        raise OptionError(name, value, "the name of a folder, without a path or a - at its start")


def memory(name: str, value: Any) -> None:
    """Allow an amount of memory as Slurm writes it."""
    if not isinstance(value, str) or not _MEMORY.fullmatch(value):
        raise OptionError(name, value, "a whole number with K, M, G or T, such as '2G'")


def walltime(name: str, value: Any) -> None:
    """Allow a timedelta above 0."""
    if not isinstance(value, timedelta) or value.total_seconds() <= 0:
        allowed = "a timedelta above 0, such as timedelta(hours=2), or a str, such as '02:00:00'"
        raise OptionError(name, value, allowed)


def direction(name: str, value: Any) -> None:
    """Allow one of Optuna's directions."""
    if not isinstance(value, str) or value not in DIRECTIONS:
        raise OptionError(name, value, " or ".join(map(repr, DIRECTIONS)))


def resume(name: str, value: Any) -> None:
    """Allow 'auto', or nothing."""
    if value is not None and (not isinstance(value, str) or value != "auto"):
        hint = "To resume a run by its name, give the name, or call resume_run with its folder."
        raise OptionError(name, value, "None or 'auto'", hint)


def sampler(name: str, value: Any) -> None:
    """Allow the name of a sampler, or a sampler."""
    if isinstance(value, str):
        fine = value in SAMPLERS
    else:
        fine = hasattr(value, "sample_relative") and not isinstance(value, type)
    if not fine:
        allowed = f"{', '.join(map(repr, SAMPLERS))}, or an Optuna sampler"
        raise OptionError(name, value, allowed)


def race(name: str, value: Any) -> None:
    """Allow 'auto', True, False and a race."""
    if value != "auto" and not isinstance(value, bool | Race):
        raise OptionError(name, value, "'auto', True, False, or a Race")


def cluster(name: str, value: Any) -> None:
    """Allow None, 'local', 'slurm', or a Dask cluster, client or address."""
    known = "None, 'local', 'slurm', a Dask cluster, a Dask client, or a scheduler's address"
    if isinstance(value, str):
        if value not in ("local", "slurm") and ":" not in value:
            hint = {
                "distributed": "Write cluster='slurm', or mode='distributed'.",
                "single": "Write cluster='local', or mode='single'.",
            }.get(value, "")
            raise OptionError(name, value, known, hint)
    elif not hasattr(value, "scheduler_info"):
        raise OptionError(name, value, known)


def workers(name: str, value: Any) -> None:
    """Allow a number of workers, or its bounds."""
    bounds = value if isinstance(value, tuple) else (value, value)
    whole = all(is_whole(bound, 0) for bound in bounds)
    if len(bounds) != 2 or not whole or bounds[0] > bounds[1] or bounds[1] < 1:
        raise OptionError(
            name,
            value,
            "a whole number above 0, or (min, max) with 0 <= min <= max and max above 0",
        )


def _are_lines(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(line, str) and line.strip() and "\n" not in line for line in value
    )

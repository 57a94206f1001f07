"""Times as Slurm writes and reads them."""

import math
import re
from datetime import timedelta
from typing import Any

NO_LIMIT = ("UNLIMITED", "INFINITE")

_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<of_day>\d+(?::\d+){0,2})|(?P<of_hour>\d+(?::\d+){0,2}))"
    r"(?P<fraction>\.\d+)?",
    re.ASCII,
)
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def time_s(text: str) -> float | None:
    """Return in seconds a time as Slurm writes or reads it; None means no limit.

    ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``, the last part with or without a
    fraction, or ``UNLIMITED`` or ``INFINITE``. Raises ValueError for anything else, such as
    ``N/A``.

    >>> time_s("7-00:00:00"), time_s("10"), time_s("UNLIMITED")
    (604800.0, 600.0, None)
    """
    text = text.strip()
    if text.upper() in NO_LIMIT:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        example = "02:00:00 or 1-12:00:00"
        raise ValueError(f"{text!r} is not a time as Slurm writes it, such as {example}")
    parts = [float(part) for part in (match["of_day"] or match["of_hour"]).split(":")]
    parts[-1] += float(match["fraction"] or 0)
    # Minutes stand alone or first, unless there are days or hours.
    minutes_first = match["days"] is None and len(parts) < 3
    units = (_MINUTE_S, 1, 1) if minutes_first else (_HOUR_S, _MINUTE_S, 1)
    seconds = math.fsum(part * unit for part, unit in zip(parts, units, strict=False))
    return float(match["days"] or 0) * _DAY_S + seconds


def time_text(seconds: float | None) -> str:
    """Return a time as Slurm reads it, ``D-HH:MM:SS``, rounded up; the inverse of `time_s`."""
    if seconds is None:
        return "UNLIMITED"
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{seconds!r} is not a time of 0 s or more")
    days, rest = divmod(math.ceil(seconds), _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    minutes, rest = divmod(rest, _MINUTE_S)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}"


def walltime(text: str) -> timedelta:
    """Return the walltime of a job that is written as Slurm reads it; ValueError if it is not."""
    seconds = time_s(text)
    if seconds is None or seconds >= timedelta.max.total_seconds():
        raise ValueError(f"{text!r} is longer than a job can last")
    return timedelta(seconds=seconds)


def as_timedelta(value: Any) -> Any:
    """Return a walltime that is text as a timedelta, if it can be read; all else unchanged."""
    try:
        return walltime(value) if isinstance(value, str) else value
    except ValueError:
        return value

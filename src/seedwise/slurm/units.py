"""Times and amounts of memory, as Slurm writes them and as people read them."""

from __future__ import annotations

import math
import re

_NO_LIMIT = ("UNLIMITED", "INFINITE")

_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<of_day>\d+(?::\d+){0,2})|(?P<of_hour>\d+(?::\d+){0,2}))"
    r"(?P<fraction>\.\d+)?",
    re.ASCII,
)
_MEMORY = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGTPE])?(?:i?B)?[cn]?", re.ASCII | re.IGNORECASE
)

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400

#: Slurm counts memory in steps of 1024, and calls it MB.
_UNITS_MB = {
    "K": 1 / 1024,
    "M": 1.0,
    "G": 1024.0,
    "T": 1024.0**2,
    "P": 1024.0**3,
    "E": 1024.0**4,
}


def time_s(text: str) -> float | None:
    """Return in seconds a time as Slurm writes or reads it; None means no limit.

    ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``, the last part with or without a
    fraction, or ``UNLIMITED`` or ``INFINITE``. Raises ValueError for anything else, such as
    ``N/A``.

    >>> time_s("7-00:00:00"), time_s("10"), time_s("UNLIMITED")
    (604800.0, 600.0, None)
    """
    text = text.strip()
    if text.upper() in _NO_LIMIT:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time as Slurm writes it, such as 1-12:00:00")
    parts = [float(part) for part in (match["of_day"] or match["of_hour"]).split(":")]
    parts[-1] += float(match["fraction"] or 0)
    if match["days"] is not None:
        units = (_HOUR_S, _MINUTE_S, 1)
    else:  # minutes stand alone or first, unless there are hours
        units = (_HOUR_S, _MINUTE_S, 1) if len(parts) == 3 else (_MINUTE_S, 1, 1)
    seconds = math.fsum(part * unit for part, unit in zip(parts, units, strict=False))
    return float(match["days"] or 0) * _DAY_S + seconds


def time_text(seconds: float | None) -> str:
    """Return a time as Slurm reads it, ``D-HH:MM:SS``; the inverse of `time_s`.

    A fraction of a second counts as a whole one. Raises ValueError if the time is below 0 or not
    finite.

    >>> time_text(5400), time_text(None)
    ('0-01:30:00', 'UNLIMITED')
    """
    if seconds is None:
        return "UNLIMITED"
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{seconds!r} is not a time of 0 s or more")
    days, rest = divmod(math.ceil(seconds), _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    minutes, rest = divmod(rest, _MINUTE_S)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}"


def memory_mb(text: str) -> float | None:
    """Return in MB an amount of memory as Slurm writes or reads it; None means no limit.

    A MB is 1024 * 1024 bytes, as Slurm counts. The text is a number with K, M, G, T, P or E, such
    as ``2G`` or ``62.50G``, or without, which is MB; or ``UNLIMITED`` or ``INFINITE``. What
    ``sacct`` appends, ``n`` for a node and ``c`` for a CPU, is ignored. Raises ValueError for
    anything else, such as ``N/A``.

    >>> memory_mb("2G"), memory_mb("16000"), memory_mb("512K")
    (2048.0, 16000.0, 0.5)
    """
    text = text.strip()
    if text.upper() in _NO_LIMIT:
        return None
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory as Slurm writes it, such as 2G")
    return float(match["number"]) * _UNITS_MB[(match["unit"] or "M").upper()]


def memory_text(mb: float | None) -> str:
    """Return an amount of memory as Slurm reads it; the inverse of `memory_mb`.

    A whole number with the largest unit in which it is exact; a fraction of a MB counts as a whole
    one. Raises ValueError if the amount is below 0 or not finite.

    >>> memory_text(2048), memory_text(16000), memory_text(None)
    ('2G', '16000M', 'UNLIMITED')
    """
    if mb is None:
        return "UNLIMITED"
    if not 0 <= mb < math.inf:
        raise ValueError(f"{mb!r} is not an amount of memory of 0 MB or more")
    number, unit = math.ceil(mb), "M"
    for larger in "GT":
        if number == 0 or number % 1024:
            break
        number, unit = number // 1024, larger
    return f"{number}{unit}"


def readable_memory(mb: float) -> str:
    """Return an amount of memory in MB, GB or TB, cut off after a tenth.

    It is never rounded up: a user who asks for what a node is said to have must get it.

    >>> readable_memory(16384), readable_memory(16000), readable_memory(1000)
    ('16 GB', '15.6 GB', '1000 MB')
    """
    unit = "MB"
    for larger in ("GB", "TB"):
        if mb < 1024:
            break
        mb, unit = mb / 1024, larger
    tenths = int(mb * 10)
    return f"{tenths // 10} {unit}" if tenths % 10 == 0 else f"{tenths / 10} {unit}"

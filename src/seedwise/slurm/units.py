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
    """Return a time that Slurm wrote, or that is given to it, in seconds.

    Parameters
    ----------
    text : str
        ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``, the last part with or without
        a fraction of it, or ``UNLIMITED`` or ``INFINITE``.

    Returns
    -------
    float or None
        The seconds; None is no limit.

    Raises
    ------
    ValueError
        If the text is none of that, such as ``N/A``.

    Examples
    --------
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
    """Return a time as Slurm reads it; the inverse of `time_s`.

    Parameters
    ----------
    seconds : float or None
        The seconds; a fraction counts as a whole one. None is no limit.

    Returns
    -------
    str
        ``D-HH:MM:SS``, or ``UNLIMITED``.

    Raises
    ------
    ValueError
        If the time is below 0, or no number.

    Examples
    --------
    >>> time_text(5400)
    '0-01:30:00'
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
    """Return an amount of memory that Slurm wrote, or that is given to it, in MB.

    Parameters
    ----------
    text : str
        A number with K, M, G, T, P or E, such as ``2G`` or ``62.50G``, or without, which is MB;
        or ``UNLIMITED`` or ``INFINITE``. What ``sacct`` appends, ``n`` for a node and ``c`` for
        a CPU, is left aside.

    Returns
    -------
    float or None
        The amount in MB of 1024 * 1024 bytes, as Slurm counts; None is no limit.

    Raises
    ------
    ValueError
        If the text is none of that, such as ``N/A``.

    Examples
    --------
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

    Parameters
    ----------
    mb : float or None
        The amount in MB; a fraction counts as a whole one. None is no limit.

    Returns
    -------
    str
        A whole number with the largest unit that it is exact in, or ``UNLIMITED``.

    Raises
    ------
    ValueError
        If the amount is below 0, or no number.

    Examples
    --------
    >>> memory_text(2048), memory_text(16000)
    ('2G', '16000M')
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


def readable_time(seconds: float) -> str:
    """Return a time in words, exact to the second.

    Parameters
    ----------
    seconds : float
        The seconds; a fraction is cut off.

    Returns
    -------
    str
        Days, hours, minutes and seconds, those that are not 0.

    Examples
    --------
    >>> readable_time(129_600), readable_time(600)
    ('1 d 12 h', '10 min')
    """
    days, rest = divmod(int(seconds), _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    minutes, rest = divmod(rest, _MINUTE_S)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def readable_memory(mb: float) -> str:
    """Return an amount of memory in a unit that fits, cut off after a tenth.

    It is never rounded up: who asks for what a node is said to have is to get it.

    Parameters
    ----------
    mb : float
        The amount in MB of 1024 * 1024 bytes.

    Returns
    -------
    str
        The amount in MB, GB or TB.

    Examples
    --------
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

"""What Slurm's commands write: records, tables and amounts of memory."""

import math
import re
from collections.abc import Collection

from seedwise.model.slurm_time import NO_LIMIT

#: A key and its value; values may hold blanks, and nothing is quoted.
_PAIR = re.compile(r"(?:^|(?<=\s))([A-Za-z]\w*)=(.*?)(?=\s+[A-Za-z]\w*=|\s*$)")

_MEMORY = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGTPE])?(?:i?B)?[cn]?", re.ASCII | re.IGNORECASE
)

#: Each is 1024 of the one before.
_UNITS = "KMGTPE"


def records(text: str, first_key: str) -> list[dict[str, str]]:
    """Return the records that ``scontrol --oneliner`` printed, each as values by key.

    Each record begins with `first_key`; other lines are a site's greeting. If a key is there
    twice, the first counts: what people write, such as a reason, comes last.
    """
    lines = (line.strip() for line in text.splitlines())
    return [
        dict(reversed(_PAIR.findall(line))) for line in lines if line.startswith(f"{first_key}=")
    ]


def rows(text: str, columns: Collection[str], separator: str = "|") -> list[dict[str, str]]:
    """Return the rows of a table with these columns, without lines that have fewer or more."""
    found = [[word.strip() for word in line.split(separator)] for line in text.splitlines()]
    return [
        dict(zip(columns, words, strict=True)) for words in found if len(words) == len(columns)
    ]


def memory_mb(text: str) -> float | None:
    """Return in MB an amount of memory as Slurm writes or reads it; None means no limit.

    A MB is 1024 * 1024 bytes. What ``sacct`` appends, ``n`` for a node and ``c`` for a CPU, is
    ignored. Raises ValueError for anything else, such as ``N/A``.
    """
    text = text.strip()
    if text.upper() in NO_LIMIT:
        return None
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory as Slurm writes it, such as 2G")
    power = _UNITS.index((match["unit"] or "M").upper()) - _UNITS.index("M")
    return float(match["number"]) * 1024.0**power


def memory_text(mb: float) -> str:
    """Return memory as Slurm reads it, in whole MB or in the largest unit that is exact."""
    number, unit = math.ceil(mb), "M"
    for larger in "GT":
        if number == 0 or number % 1024:
            break
        number, unit = number // 1024, larger
    return f"{number}{unit}"


def readable_memory(mb: float) -> str:
    """Return memory in MB, GB or TB; it is cut off, because who asks for it must get it."""
    unit = "MB"
    for larger in ("GB", "TB"):
        if mb < 1024:
            break
        mb, unit = mb / 1024, larger
    tenths = int(mb * 10)
    return f"{tenths // 10} {unit}" if tenths % 10 == 0 else f"{tenths / 10} {unit}"

"""How Slurm's commands write records and values: text in, Python values out.

Other lines, such as a site's greeting, are ignored. What an answer lacks, or says in words that
are not known here, is unknown, and never a guess.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

#: What Slurm writes where there is nothing.
NOTHING = ("", "(null)", "N/A", "n/a", "NONE", "none")

#: A key and its value; values may hold blanks, and nothing is quoted.
_PAIR = re.compile(r"(?:^|(?<=\s))([A-Za-z]\w*)=(.*?)(?=\s+[A-Za-z]\w*=|\s*$)")

#: By our name of a value: what Slurm calls it, and how it is read.
Table = Mapping[str, tuple[str, Callable[[str], Any]]]

_T = TypeVar("_T")


def values_in(record: Mapping[str, str], table: Table) -> dict[str, Any]:
    """Return what a record says, by our names; `unknown` names what it lacks or what is odd."""
    values: dict[str, Any] = {"unknown": ()}
    for name, (key, parse) in table.items():
        try:
            values[name] = parse(record[key])
        except (KeyError, ValueError):
            values["unknown"] += (name,)
    return values


def records(text: str, first_key: str) -> list[dict[str, str]]:
    """Return the records that ``scontrol --oneliner`` printed, each as values by key.

    Each record begins with `first_key`. If a key is there twice, the first counts: what people
    write, such as a reason, comes last, and may hold anything.
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


def settings_in(text: str) -> dict[str, str]:
    """Return what ``scontrol show config`` prints, by name."""
    pairs = (re.match(r"(\w+)\s*=\s?(.*)", line) for line in text.splitlines())
    return {pair[1]: pair[2].strip() for pair in pairs if pair}


def truth(text: str) -> bool:
    """Return whether it says yes."""
    if text not in ("YES", "NO"):
        raise ValueError(text)
    return text == "YES"


def number(text: str) -> int | None:
    """Return a whole number; None means no limit, and so does an empty text."""
    return None if text in ("", "UNLIMITED", "INFINITE") else int(text)


def name(text: str) -> str | None:
    """Return a name; None if there is none."""
    return None if text in NOTHING else text


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list with commas."""
    return tuple(word for word in text.split(",") if word not in NOTHING)


def allowed(text: str) -> tuple[str, ...] | None:
    """Return who is allowed; None means all."""
    return None if text.upper() == "ALL" else names(text)


def gres(text: str) -> tuple[str, ...]:
    """Return generic resources, without where on a node they are, such as ``gpu:a100:4``."""
    return names(re.sub(r"\([^)]*\)", "", text)) if text not in NOTHING else ()


def tres(key: str, parse: Callable[[str], _T], text: str) -> _T | None:
    """Return the limit on a resource from a list such as ``cpu=4,mem=8G``; None means no limit."""
    limits: Iterable[list[str]] = (word.split("=", 1) for word in names(text))
    found = {words[0]: words[-1] for words in limits}
    return parse(found[key]) if key in found else None

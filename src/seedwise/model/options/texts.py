"""How values of options are read from the text of a command line."""

import contextlib
import json
from typing import Any

from seedwise.model.options import checks


def integers(text: str) -> list[int]:
    """Read a list of whole numbers; raises ValueError."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"{text!r} is not a list of whole numbers, such as 3,1,2") from None


def names(text: str) -> list[str]:
    """Read a list of names."""
    return text.split(",")


def bounds(text: str) -> int | tuple[int, ...]:
    """Read a number of workers, or bounds; raises ValueError."""
    found: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):  # its message speaks of Python values
        found = tuple(int(part) for part in text.split(":"))
        workers = found if len(found) > 1 else found[0]
        checks.workers("workers", workers)
        return workers
    problem = f"{text!r} is not a number of workers"
    if len(found) == 2 and found[0] > found[1]:
        problem = f"in {text!r} the first bound is above the second"
    wanted = "give a whole number above 0, such as 40, or bounds, such as 10:200"
    raise ValueError(f"{problem}; {wanted}")


def json_value(text: str) -> Any:
    """Read JSON; raises ValueError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not JSON, such as '{{\"x\": 0.3}}' ({error})") from None


def point(text: str) -> dict[str, Any]:
    """Read params, with values as text, or those of a JSON object; raises ValueError."""
    if text.lstrip().startswith("{"):
        return dict(json_value(text))
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and is_given for name, is_given, _ in pairs):
        raise ValueError(f"{text!r} is not a point, such as x=0.3,n=2, or a JSON object")
    return {name.strip(): value.strip() for name, _, value in pairs}

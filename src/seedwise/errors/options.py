"""Errors about what a call was given."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from seedwise.errors.base import SeedwiseError

__all__ = [
    "MissingExtraError",
    "OptionError",
    "SpaceError",
    "UnknownOptionError",
]


class OptionError(SeedwiseError, ValueError):
    """Raised when a keyword has a value that is not allowed.

    Attributes
    ----------
    name : str
        The keyword.
    value : object
        What was given.
    allowed : str
        What is allowed, in words.
    """

    def __init__(self, name: str, value: object, allowed: str, hint: str = "") -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        super().__init__(f"{name}={value!r}: must be {allowed}.{' ' + hint if hint else ''}")


class UnknownOptionError(SeedwiseError, TypeError):
    """Raised when there is no such keyword.

    Attributes
    ----------
    name : str
        The keyword.
    known : tuple of str
        The keywords that there are.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
        super().__init__(f"unknown keyword {name!r}: {hint}")


class SpaceError(SeedwiseError, ValueError):
    """Raised when a parameter's search range or list of values makes no sense.

    Attributes
    ----------
    parameter : str or None
        The parameter's name; None while `search_param` does not know it yet.
    problem : str
        What is wrong, and what is allowed.
    """

    def __init__(self, problem: str, parameter: str | None = None) -> None:
        self.parameter = parameter
        self.problem = problem
        where = "search_param" if parameter is None else f"parameter {parameter!r}"
        super().__init__(f"{where}: {problem}")


class MissingExtraError(SeedwiseError, ImportError):
    """Raised when an optional part is used whose packages are not installed.

    `extra` installs them.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{what} needs packages that are not installed. "
            f"Install them with: pip install 'seedwise[{extra}]'"
        )

"""The base class of every error, and how a value is shown in one."""

from __future__ import annotations

from typing import Any

__all__ = [
    "SeedwiseError",
    "shown",
]


def _rebuild(cls: type[SeedwiseError], args: tuple[Any, ...], data: dict[str, Any]) -> Any:
    # An OSError makes its object by itself, and lets no other class do that for it.
    new = OSError.__new__ if issubclass(cls, OSError) else Exception.__new__
    error = new(cls, *args)
    error.args = args
    error.__dict__.update(data)
    return error


class SeedwiseError(Exception):
    """Base class of every error that seedwise raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by data: subclasses take their data, not their sentence, as arguments."""
        return _rebuild, (type(self), self.args, self.__dict__)


def shown(value: object, limit: int = 200) -> str:
    """Return a value's repr in one line, and not too long a one."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr of the user's that fails, or an int of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."

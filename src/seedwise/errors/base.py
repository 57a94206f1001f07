"""The base class of every error, and the form in which messages show values and tracebacks."""

import functools
import re
import traceback
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

# As frames write it.
_OWN_FOLDER = __file__.rpartition("errors/")[0]

# Blanks end some of its lines; the end may be cut off.
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----[\w+/=\s]*(-----END [A-Z ]+-----)?")


def rebuilt(cls: "type[SeedwiseError]", args: tuple[Any, ...], data: dict[str, Any]) -> Any:
    """Make an error of its class, arguments and attributes."""
    # Exception.__new__ refuses to make an OSError.
    new = OSError.__new__ if issubclass(cls, OSError) else Exception.__new__
    error = new(cls, *args)
    error.args = args
    error.__dict__.update(data)
    return error


class SeedwiseError(Exception):
    """Base class of every error that seedwise raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by data: the arguments of a subclass are its data, not its sentence."""
        return rebuilt, (type(self), self.args, self.__dict__)


def shown(value: object, limit: int = 200) -> str:
    """Return a value's repr in one line, cut to `limit` characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the repr of a user's class fails, or an int has too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def masked(text: str) -> str:
    """Return a text without the certificates and keys in it."""
    return _PEM.sub(lambda found: f"({found[1].lower()} left out)", text)


def users_traceback(error: BaseException) -> traceback.TracebackException:
    """Return an error and its traceback without frames of seedwise, unless there are no others."""
    found = traceback.TracebackException.from_exception(error)
    users = [frame for frame in found.stack if not frame.filename.startswith(_OWN_FOLDER)]
    if users or isinstance(error, SeedwiseError):
        found.stack = traceback.StackSummary.from_list(users)
    return found


def without_own_frames(function: F) -> F:
    """Have a function raise a SeedwiseError as if it began there: its text says all."""

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except SeedwiseError as error:
            error.__traceback__ = None
            raise

    return cast("F", call)

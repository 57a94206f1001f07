"""Errors about the arguments of a call."""

from collections.abc import Sequence
from pathlib import Path

from seedwise.errors.base import SeedwiseError, shown


class OptionError(SeedwiseError, ValueError):
    """Raised when a keyword has a value that is not allowed.

    Attributes
    ----------
    name, value, allowed : str, object, str
        The keyword, the value that was given, and in words what is allowed.
    """

    def __init__(self, name: str, value: object, allowed: str, hint: str = "") -> None:
        self.name, self.value, self.allowed = name, value, allowed
        super().__init__(f"{name}={value!r}: must be {allowed}.{' ' + hint if hint else ''}")


class UnknownOptionError(SeedwiseError, TypeError):
    """Raised when a keyword does not exist, or a value is given without its keyword.

    Attributes
    ----------
    name, known : str or None, tuple of str
        The keyword, which is None for a value without one, and the keywords that exist.
    """

    def __init__(self, name: str | None, known: Sequence[str], hint: str) -> None:
        self.name, self.known = name, tuple(known)
        what = "value without a keyword" if name is None else f"unknown keyword {name!r}"
        super().__init__(f"{what}: {hint}")


class SettingsFileError(SeedwiseError, ValueError):
    """Raised when a file of options can't be read, or has an option that is not allowed.

    Attributes
    ----------
    path, key, problem : pathlib.Path, str or None, str
        The file, the option, which is None where no single one is to blame, and what is wrong.
    """

    def __init__(self, path: Path, problem: str, key: str | None = None) -> None:
        self.path, self.key, self.problem = path, key, problem
        super().__init__(f"{path}: {problem}")


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
        self.parameter, self.problem = parameter, problem
        where = "search_param" if parameter is None else f"parameter {parameter!r}"
        super().__init__(f"{where}: {problem}")


class SourceError(SeedwiseError, ValueError):
    """Raised when a source of parameters, or its manifest, makes no sense.

    Attributes
    ----------
    parameter : str or None
        The parameter's name; None where no single parameter is to blame.
    problem : str
        What is wrong, and what is allowed.
    """

    def __init__(self, problem: str, parameter: str | None = None) -> None:
        self.parameter, self.problem = parameter, problem
        super().__init__(problem if parameter is None else f"parameter {parameter!r}: {problem}")


class CaseIndexError(SeedwiseError, IndexError):
    """Raised when a source has no case of this index.

    Attributes
    ----------
    index, n_cases : int
        The index that was asked for, and how many cases the source has.
    """

    def __init__(self, index: int, n_cases: int) -> None:
        self.index, self.n_cases = index, n_cases
        super().__init__(
            f"there is no case {shown(index)}: the source's cases are 0 to {shown(n_cases - 1)}"
        )


class MissingExtraError(SeedwiseError, ImportError):
    """Raised when the packages of an optional part are not installed. `extra` installs them."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{what} needs packages that are not installed. "
            f"Install them with: pip install 'seedwise[{extra}]'"
        )


class NoFigureError(SeedwiseError, ValueError):
    """Raised when a result does not hold what a figure shows.

    Attributes
    ----------
    figure, problem : str, str
        The figure's name, and what the result lacks.
    """

    def __init__(self, figure: str, problem: str) -> None:
        self.figure, self.problem = figure, problem
        super().__init__(f"plot.{figure}(): {problem}")

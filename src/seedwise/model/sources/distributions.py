"""The distributions that a random source draws its values from."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import SourceError
from seedwise.errors.base import shown
from seedwise.model.sources import axes
from seedwise.model.sources.bits import below, between, log_between
from seedwise.model.sources.manifests import CaseValue, checked_fields, checked_type, decoded_dict
from seedwise.model.space import SearchParam, search_param

# As in the parameter space: float64 holds every whole number up to here.
_LARGEST_INT = 2**53


def _number(value: float) -> float:
    given: object = value  # of any type: only checkers of types heed the annotation
    try:
        number = float(given) if isinstance(given, numbers.Real) else math.nan
    except OverflowError:  # an int beyond the range of floats
        number = math.inf
    # numpy counts its time spans among the integers.
    if isinstance(given, bool | np.timedelta64) or not math.isfinite(number):
        raise SourceError(f"bound {shown(value)}: must be a finite number")
    return number


def _whole(value: int) -> int:
    _number(value)  # its result is not used: as a float, 2**53 + 1 would be 2**53
    if int(value) != value or abs(value) > _LARGEST_INT:
        raise SourceError(f"bound {shown(value)}: must be a whole number of at most 2**53")
    return int(value)


def _options(values: Sequence[CaseValue] | NDArray[Any]) -> axes.Axis:
    return axes.axis(values, "options")


class _Range:
    """The shared part of distributions between two bounds."""

    __slots__ = ()

    TYPE: ClassVar[str]
    LOG: ClassVar[bool] = False
    DTYPE: ClassVar[str]

    low: float
    high: float

    def __attrs_post_init__(self) -> None:
        low, high = self.low, self.high
        if low >= high:
            hint = f"; for a single value use choice([{low!r}])" if low == high else ""
            raise SourceError(f"low={low!r}, high={high!r}: low must be below high{hint}")
        if self.LOG and low <= 0:
            raise SourceError(f"low={low!r}: a log range must lie above 0")
        if not math.isfinite(high - low):
            raise SourceError(f"low={low!r}, high={high!r}: is wider than a float can say")

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the distribution as a dict that JSON can hold."""
        return {"type": self.TYPE, "low": self.low, "high": self.high}

    def to_search_param(self) -> SearchParam:
        """Return the same range for a loss's `parameter_space`, where `high` is included."""
        return search_param(range=(self.low, self.high), dtype=self.DTYPE, log=self.LOG)


@attrs.frozen
class _FloatRange(_Range):
    DTYPE = "float"

    low: float = attrs.field(converter=_number)
    high: float = attrs.field(converter=_number)


@attrs.frozen
class _IntRange(_Range):
    DTYPE = "int"

    low: int = attrs.field(converter=_whole)
    high: int = attrs.field(converter=_whole)


@attrs.frozen
class Uniform(_FloatRange):
    """A uniform distribution over the floats of [low, high).

    Parameters
    ----------
    low, high : float
        The bounds; `high` itself is never drawn.

    Raises
    ------
    SourceError
        If a bound is not a finite number, or `low` is not below `high`.

    Examples
    --------
    >>> from seedwise.model.sources.distributions import uniform
    >>> uniform(0, 1)
    Uniform(low=0.0, high=1.0)
    """

    TYPE = "uniform"

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a value from `rng`, whose bit generator must give 64 bits at a time."""
        return between(self.low, self.high, rng)


@attrs.frozen
class LogUniform(_FloatRange):
    """A uniform distribution on a logarithmic scale, over the floats of [low, high).

    Parameters
    ----------
    low, high : float
        The bounds, above 0; `high` itself is never drawn.

    Raises
    ------
    SourceError
        If a bound is not a finite number above 0, or `low` is not below `high`.

    Examples
    --------
    >>> from seedwise.model.sources.distributions import loguniform
    >>> loguniform(1e-4, 1e-1)
    LogUniform(low=0.0001, high=0.1)
    """

    TYPE = "loguniform"
    LOG = True

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a value from `rng`, whose bit generator must give 64 bits at a time."""
        value = float(log_between(self.low, self.high, rng))
        return min(max(value, self.low), math.nextafter(self.high, 0))  # float() may round up


@attrs.frozen
class RandInt(_IntRange):
    """A uniform distribution over the integers of [low, high].

    Parameters
    ----------
    low, high : int
        The bounds, both included, from -2**53 to 2**53.

    Raises
    ------
    SourceError
        If a bound is not a whole number from -2**53 to 2**53, or `low` is not below `high`.

    Examples
    --------
    >>> from seedwise.model.sources.distributions import randint
    >>> randint(1, 6)
    RandInt(low=1, high=6)
    """

    TYPE = "randint"

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a value from `rng`, whose bit generator must give 64 bits at a time."""
        return self.low + below(self.high - self.low + 1, rng)


@attrs.frozen
class LogUniformInt(_IntRange):
    """A uniform distribution on a logarithmic scale, over the integers of [low, high].

    It is log-uniform over the reals of [low, high + 1), rounded down. So every integer k can be
    drawn, with probability log((k + 1) / k) / log((high + 1) / low).

    Parameters
    ----------
    low, high : int
        The bounds, both included, from 1 to 2**53.

    Raises
    ------
    SourceError
        If a bound is not a whole number from 1 to 2**53, or `low` is not below `high`.

    Examples
    --------
    >>> from seedwise.model.sources.distributions import loguniform_int
    >>> loguniform_int(1, 1024)
    LogUniformInt(low=1, high=1024)
    """

    TYPE = "loguniform_int"
    LOG = True

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a value from `rng`, whose bit generator must give 64 bits at a time."""
        value = int(log_between(self.low, self.high + 1, rng))
        return min(max(value, self.low), self.high)  # exp(log(low)) may fall short of low


@attrs.frozen
class Choice:
    """A uniform choice from a list; a value that is in it twice is drawn twice as often.

    Parameters
    ----------
    options : list, tuple, range or array of shape (n,)
        Values to choose from: float, int, str, bool, None, or tuples of these. They are kept as a
        tuple; more than 1,000 evenly spaced ints are kept as a range. In a loss's
        `parameter_space` they must be of one type and without duplicates.

    Raises
    ------
    SourceError
        If it is not a list, is empty, or has a value of another type.

    Examples
    --------
    >>> from seedwise.model.sources.distributions import choice
    >>> choice(["adam", "sgd", None])
    Choice(options=('adam', 'sgd', None))
    """

    TYPE: ClassVar[str] = "choice"

    options: axes.Axis = attrs.field(converter=_options, eq=axes.comparable)

    def draw(self, rng: np.random.Generator) -> CaseValue:
        """Draw a value from `rng`, whose bit generator must give 64 bits at a time."""
        return self.options[below(len(self.options), rng)]

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the distribution as a dict that JSON can hold."""
        return {"type": self.TYPE, "options": axes.axis_to_manifest(self.options)}

    def to_search_param(self) -> SearchParam:
        """Return the same options for a loss's `parameter_space`.

        Raises SpaceError if they are of several types, None or tuples, or one is there twice.
        """
        return search_param(allowed=self.options)  # type: ignore[arg-type]  # it checks them


Distribution: TypeAlias = Uniform | LogUniform | RandInt | LogUniformInt | Choice

_CLASSES: dict[str, type[Distribution]] = {
    cls.TYPE: cls for cls in (Uniform, LogUniform, RandInt, LogUniformInt, Choice)
}

# Called like functions, they are named like functions.
uniform = Uniform
loguniform = LogUniform
randint = RandInt
loguniform_int = LogUniformInt
choice = Choice


def distribution_from_manifest(manifest: Any, parameter: str | None = None) -> Distribution:
    """Return the distribution that `to_manifest_dict` wrote; SourceError names the parameter."""
    manifest = decoded_dict(manifest, "a distribution", parameter)
    cls = _CLASSES[checked_type(manifest, _CLASSES, parameter)]
    fields = [field.name for field in attrs.fields(cls)]
    checked_fields(manifest, fields, parameter)
    try:
        if cls is Choice:
            return Choice(axes.axis_from_manifest(manifest["options"], "options"))
        return cls(**{name: manifest[name] for name in fields})
    except SourceError as error:
        raise SourceError(error.problem, parameter) from None

"""The distributions that a random source draws its values from: the same draws everywhere.

numpy never changes the stream of a bit generator, but it may change what the methods of
`numpy.random.Generator` make of it (NEP 19), and the last bits of `math.log` and `math.exp`
depend on the C library. So the draws are made here from the raw stream, by operations that
every machine rounds alike: IEEE sums and products, ints, and decimals of 60 digits.
"""

import decimal
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import SourceError
from seedwise.errors.base import shown
from seedwise.model.sources.case import (
    Axis,
    CaseValue,
    about,
    axis,
    comparable,
    decoded_axis,
    encoded_axis,
    read_manifest,
)
from seedwise.model.space import LARGEST_INT, SearchParam, is_finite, is_number, search_param

# Every field is given: others would come from decimal.DefaultContext, which users may change.
_DECIMAL = decimal.Context(
    prec=60,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


def below(n: int, rng: np.random.Generator) -> int:
    """Return one of the whole numbers below n, each with the same probability; n <= 2**64."""
    # Words of the last, incomplete block of n would favour the lower numbers.
    end = 2**64 - 2**64 % n
    while (word := _word(rng)) >= end:
        pass
    return word % n


def _log_between(low: float, high: float, rng: np.random.Generator) -> Decimal:
    """Return a number in [low, high), log-uniform; rounding may leave it by 1e-56 of the value."""
    # The 53 bits of a float would leave out most integers below 2**53.
    share = _DECIMAL.divide(Decimal(_word(rng) << 64 | _word(rng)), Decimal(2**128))
    first, last = _DECIMAL.ln(Decimal(low)), _DECIMAL.ln(Decimal(high))
    return _DECIMAL.exp(_DECIMAL.fma(_DECIMAL.subtract(last, first), share, first))


def _word(rng: np.random.Generator) -> int:
    """Return 64 random bits as an int."""
    bits = rng.bit_generator
    if isinstance(bits, np.random.MT19937):
        raise SourceError("MT19937 gives 32 bits at a time; draw from PCG64, which gives 64")
    return int(bits.random_raw())


def _number(value: float) -> float:
    given: Any = value  # of any type: only checkers of types heed the annotation
    # NumPy counts its time spans among the integers.
    if not is_number(given) or isinstance(given, np.timedelta64) or not is_finite(given):
        raise SourceError(f"bound {shown(value)}: must be a finite number")
    return float(value)


def _whole(value: int) -> int:
    _number(value)  # its result is not used: as a float, 2**53 + 1 would be 2**53
    if int(value) != value or abs(value) > LARGEST_INT:
        raise SourceError(f"bound {shown(value)}: must be a whole number of at most 2**53")
    return int(value)


def _options(values: Sequence[CaseValue] | NDArray[Any]) -> Axis:
    return axis(values, "options")


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
        share = (_word(rng) >> 11) * 2.0**-53
        value = self.low + share * (self.high - self.low)
        # The sum may round to `high`.
        return min(max(value, self.low), math.nextafter(self.high, -math.inf))


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
        value = float(_log_between(self.low, self.high, rng))
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
        value = int(_log_between(self.low, self.high + 1, rng))
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

    options: Axis = attrs.field(converter=_options, eq=comparable)

    def draw(self, rng: np.random.Generator) -> CaseValue:
        """Draw a value from `rng`, whose bit generator must give 64 bits at a time."""
        return self.options[below(len(self.options), rng)]

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the distribution as a dict that JSON can hold."""
        return {"type": self.TYPE, "options": encoded_axis(self.options)}

    def to_search_param(self) -> SearchParam:
        """Return the same options for a loss's `parameter_space`.

        Raises SpaceError if they are of several types, None or tuples, or one is there twice.
        """
        return search_param(allowed=self.options)  # type: ignore[arg-type]  # it checks them


Distribution: TypeAlias = Uniform | LogUniform | RandInt | LogUniformInt | Choice

_READERS: dict[str, Callable[..., Distribution]] = {
    **{cls.TYPE: cls for cls in (Uniform, LogUniform, RandInt, LogUniformInt)},
    Choice.TYPE: lambda options: Choice(decoded_axis(options)),
}

# Called like functions, they are named like functions.
uniform = Uniform
loguniform = LogUniform
randint = RandInt
loguniform_int = LogUniformInt
choice = Choice


def distribution_from_manifest(manifest: Any, parameter: str | None = None) -> Distribution:
    """Return the distribution that `to_manifest_dict` wrote; SourceError names the parameter."""
    with about(parameter):
        found: Distribution = read_manifest(_READERS, manifest)
    return found

"""Random numbers from raw bits: the same ones everywhere.

numpy never changes the stream of a bit generator, but it may change what the methods of
`numpy.random.Generator` make of it (NEP 19), and the last bits of `math.log` and `math.exp`
depend on the C library. So the numbers are made here from the raw stream, by operations that
every machine rounds alike: IEEE sums and products, ints, and decimals of 60 digits.
"""

import decimal
import math
from decimal import Decimal

import numpy as np

from seedwise.errors import SourceError

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


def between(low: float, high: float, rng: np.random.Generator) -> float:
    """Return a float, uniform in [low, high)."""
    share = (_word(rng) >> 11) * 2.0**-53
    value = low + share * (high - low)
    # The sum may round to `high`.
    return min(max(value, low), math.nextafter(high, -math.inf))


def log_between(low: float, high: float, rng: np.random.Generator) -> Decimal:
    """Return a number in [low, high), uniform on a logarithmic scale; 0 < low.

    Rounding may leave the interval by about 1e-56 of the value.
    """
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

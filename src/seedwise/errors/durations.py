"""Durations in words; in this room because errors need them, and every room may import errors."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def exact_duration(seconds: float) -> str:
    """Return a duration to the second, or to three digits if short: 129,600 s are "1 d 12 h"."""
    if seconds < _MINUTE_S:
        return f"{seconds:.3g} s"
    numbers = zip(_split(round(seconds)), ("d", "h", "min", "s"), strict=True)
    return " ".join(f"{number} {unit}" for number, unit in numbers if number)


def rough_duration(seconds: float) -> str:
    """Return a duration cut off to the minute, from a day on to the hour: 3599 s are "59 min"."""
    days, hours, minutes, rest = _split(int(seconds))
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def _split(seconds: int) -> tuple[int, int, int, int]:
    """Return days, hours, minutes and seconds."""
    days, rest = divmod(seconds, _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    return days, hours, *divmod(rest, _MINUTE_S)

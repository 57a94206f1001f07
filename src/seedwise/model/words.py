"""Numbers and times in words."""

from datetime import datetime

from seedwise.errors.durations import rough_duration

_MINUTE_S, _HOUR_S = 60, 3600


def value_words(value: float, stderr: float | None) -> str:
    """Return a mean loss and its standard error, such as ``1.25 ± 0.031``."""
    return f"{value:.6g}" if stderr is None else f"{value:.6g} ± {stderr:.2g}"


def interval_words(interval: tuple[float, float] | None) -> str:
    """Return an interval, such as ``0.5 to 2.25``; nothing if there is none."""
    return "" if interval is None else f"{interval[0]:.6g} to {interval[1]:.6g}"


def end_words(end_utc: str, now_utc: datetime) -> str:
    """Return an ISO time as local time, such as ``2026-08-01 19:12 (in 3 h 12 min)``."""
    end = datetime.fromisoformat(end_utc)
    left_s = round((end - now_utc).total_seconds())
    when = "at any moment" if left_s <= 0 else f"in {rough_duration(left_s)}"
    return f"{end.astimezone():%Y-%m-%d %H:%M} ({when})"


def percent_words(count: int, of: int) -> str:
    """Return a part in per cent, cut off, so that it is below 100 until all are there."""
    tenths = 1000 * count // of
    return f"{tenths // 10}.{tenths % 10}"


def rate_words(per_s: float) -> str:
    """Return a rate by the second or the minute if it is at least 1 by that, else by the hour."""
    rate, per = per_s * _HOUR_S, "an hour"
    if per_s >= 1:
        rate, per = per_s, "a second"
    elif per_s * _MINUTE_S >= 1:
        rate, per = per_s * _MINUTE_S, "a minute"
    return f"{rate:.3g} {per}" if rate < 100 else f"{rate:.0f} {per}"

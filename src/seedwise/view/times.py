"""Times, in words."""

from __future__ import annotations

from datetime import datetime

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def end_words(end_utc: str, now_utc: datetime) -> str:
    """Return when something will be, in local time, and how long that is from now.

    Parameters
    ----------
    end_utc : str
        When, in ISO 8601.
    now_utc : datetime.datetime
        The time.

    Returns
    -------
    str
        Such as ``2026-08-01 19:12 (in 3 h 12 min)``.
    """
    end = datetime.fromisoformat(end_utc)
    left_s = round((end - now_utc).total_seconds())
    when = "at any moment" if left_s <= 0 else f"in {_duration(left_s)}"
    return f"{end.astimezone():%Y-%m-%d %H:%M} ({when})"


def _duration(seconds: int) -> str:
    """Return a duration in its largest units, cut off."""
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    return f"{seconds // _DAY_S} d {seconds % _DAY_S // _HOUR_S} h"

"""Points in time, in words."""

from __future__ import annotations

from datetime import datetime

from seedwise.errors.durations import rough_duration


def end_words(end_utc: str, now_utc: datetime) -> str:
    """Return a time in local time, and how far it is from now.

    Such as ``2026-08-01 19:12 (in 3 h 12 min)``. `end_utc` is in ISO 8601.
    """
    end = datetime.fromisoformat(end_utc)
    left_s = round((end - now_utc).total_seconds())
    when = "at any moment" if left_s <= 0 else f"in {rough_duration(left_s)}"
    return f"{end.astimezone():%Y-%m-%d %H:%M} ({when})"

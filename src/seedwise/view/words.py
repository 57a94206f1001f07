"""Workers, times and a validation, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from seedwise.errors.durations import rough_duration
from seedwise.model.status import PoolStatus, RunStatus

if TYPE_CHECKING:  # it brings NumPy
    from seedwise.model.trials import TrialResult


def workers_words(pool: PoolStatus) -> str:
    """Return how many workers are at work, pending and wanted."""
    wanted = min(max(pool.wanted, pool.least), pool.most)  # it follows new bounds a moment later
    words = f"{_present(pool)} of {wanted} wanted"
    if (pool.least, pool.most) != (wanted, wanted):
        words += f" ({pool.least} to {pool.most})"
    words += _leaving(pool)
    return f"{words}, {pool.lost} lost so far" if pool.lost else words


def scaled_words(pool: PoolStatus) -> str:
    """Return how many workers there are, after how many are wanted."""
    return f"{_present(pool)}{_leaving(pool)}"


def _present(pool: PoolStatus) -> str:
    return f"{pool.joined} at work" + (f", {pool.pending} pending" if pool.pending else "")


def _leaving(pool: PoolStatus) -> str:
    n_leaving = pool.joined - pool.most
    if n_leaving <= 0:
        return ""
    return f", {n_leaving} {'leaves after its' if n_leaving == 1 else 'leave after their'} chunk"


def waiting_words(pool: PoolStatus, now_utc: datetime) -> str | None:
    """Return why workers are pending and when they are expected; None if unknown."""
    parts = [] if pool.waiting is None else [pool.waiting]
    if pool.expected_start_utc is not None:
        parts.append(f"expected start {end_words(pool.expected_start_utc, now_utc)}")
    return "; ".join(parts) or None


def validation_words(status: RunStatus) -> str:
    """Return how many of the evaluations are done, such as ``300 of 1280 fresh seeds``."""
    return f"{status.validation_seeds_done} of {status.validation_seeds} fresh seeds"


def mean_words(trial: TrialResult) -> str:
    """Return the mean of a trial that has one, such as ``0.52 ± 0.013 (400 seeds)``."""
    error = "" if trial.stderr is None else f" ± {trial.stderr:.2g}"
    seeds = f"{trial.n_seeds} seed{'s' if trial.n_seeds > 1 else ''}"
    after = "" if trial.raw_value is None else "dropped after "
    return f"{trial.value:.6g}{error} ({after}{seeds})"


def aligned(columns: Sequence[Sequence[str]], align: Callable[[str, int], str]) -> list[str]:
    """Return columns as lines; `align` is such as `str.ljust`."""
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(align(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def end_words(end_utc: str, now_utc: datetime) -> str:
    """Return a time in local time, and how far it is from now.

    Such as ``2026-08-01 19:12 (in 3 h 12 min)``. `end_utc` is in ISO 8601.
    """
    end = datetime.fromisoformat(end_utc)
    left_s = round((end - now_utc).total_seconds())
    when = "at any moment" if left_s <= 0 else f"in {rough_duration(left_s)}"
    return f"{end.astimezone():%Y-%m-%d %H:%M} ({when})"

"""How many workers a run has, in words."""

from __future__ import annotations

from datetime import datetime

from seedwise.model.status import PoolStatus
from seedwise.view.times import end_words


def workers_words(pool: PoolStatus) -> str:
    """Return how many workers are at work, pending and wanted."""
    if pool.pending:
        parts = [f"{pool.joined} at work, {pool.pending} pending of {pool.wanted} wanted"]
    else:
        parts = [f"{pool.joined} at work of {pool.wanted} wanted"]
    if (pool.least, pool.most) != (pool.wanted, pool.wanted):
        few = f"{pool.least}" if pool.least == pool.most else f"{pool.least} to {pool.most}"
        parts.append(f" ({few})")
    if pool.lost:
        parts.append(f", {pool.lost} lost so far")
    return "".join(parts)


def waiting_words(pool: PoolStatus, now_utc: datetime) -> str | None:
    """Return why workers are pending and when they are expected; None if unknown."""
    parts = [] if pool.waiting is None else [pool.waiting]
    if pool.expected_start_utc is not None:
        parts.append(f"expected start {end_words(pool.expected_start_utc, now_utc)}")
    return "; ".join(parts) or None

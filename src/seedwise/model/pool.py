"""How many workers there are, and what happens to them."""

from __future__ import annotations

import attrs

__all__ = ["PoolChanged", "PoolNews", "PoolStatus"]


@attrs.frozen(kw_only=True)
class PoolStatus:
    """How many workers a run has, and wants.

    Attributes
    ----------
    least, most : int
        Bounds of the number of workers; ``seedwise scale`` changes them.
    wanted : int
        How many the work can keep busy, between the bounds.
    joined : int
        How many are at work, or ready for it.
    pending : int
        How many are asked for and have not joined.
    lost : int
        How many were lost, and replaced or not, since this driver began.
    waiting : str or None
        Why those that are pending wait, in words, and what could be done about it.
    expected_start_utc : str or None
        When the next of them will start, as far as Slurm knows, in ISO 8601.
    """

    least: int
    most: int
    wanted: int
    joined: int
    pending: int
    lost: int = 0
    waiting: str | None = None
    expected_start_utc: str | None = None


@attrs.frozen(kw_only=True)
class PoolNews:
    """Something that happened to the workers of a run.

    Attributes
    ----------
    kind : str
        One of ``submitted``, ``joined``, ``lost``, ``left``, ``refused``, ``scaled``, ``unknown``
        and ``known`` (again).
    text : str
        What happened, in a sentence without a full stop.
    job_id : str or None
        The Slurm job that it happened to.
    warns : bool
        Whether whoever watches the run should see it.
    """

    kind: str
    text: str
    job_id: str | None = None
    warns: bool = False


@attrs.frozen
class PoolChanged:
    """Something happened to the workers that whoever watches the run should see.

    Attributes
    ----------
    news : PoolNews
        What happened.
    pool : PoolStatus or None
        How many workers there are now; None where that is not known.
    """

    news: PoolNews
    pool: PoolStatus | None = None

"""How far a validation is, in words."""

from __future__ import annotations

from seedwise.model.status import RunStatus


def validation_words(status: RunStatus) -> str:
    """Return how many of the evaluations are done, such as ``300 of 1280 fresh seeds``."""
    return f"{status.validation_seeds_done} of {status.validation_seeds} fresh seeds"

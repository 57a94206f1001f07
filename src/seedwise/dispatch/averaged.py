"""A warning about a loss that is an average by mistake."""

from __future__ import annotations

import warnings

import numpy as np

from seedwise.model.statistics import component_mean
from seedwise.model.trials import ChunkResult


def warn_if_averaged(result: ChunkResult) -> None:
    """Warn if the first loss is the mean of several numbers, one of which is named ``loss``."""
    parts = result.components
    if result.losses is None or "loss" not in parts or len(parts) == 1:
        return
    if result.losses[0] == component_mean(np.array([part[0] for part in parts.values()])):
        warnings.warn(
            "the loss returns a dict with a key 'loss': its value is the mean of all numbers in "
            "the dict. If 'loss' alone counts, return {'total_loss': ..., 'components': {...}}.",
            stacklevel=2,
        )

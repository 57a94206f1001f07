"""What the command needs beyond the public functions."""

from typing import Any

from seedwise.cluster.job import site_options
from seedwise.model.loss import LossDefinition
from seedwise.usercode.find import load_loss


def loss_of(script: str) -> LossDefinition:
    """Return the loss in a script or module, such as ``fit.py:walk``."""
    return load_loss(script)


def options_of_site() -> dict[str, tuple[str, Any]]:
    """Return what the site's Dask configuration has for options that are not given."""
    return site_options()

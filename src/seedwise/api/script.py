"""What the command needs beyond the public functions."""

from seedwise.cluster.job import site_options
from seedwise.usercode.find import load_loss

__all__ = ["load_loss", "site_options"]

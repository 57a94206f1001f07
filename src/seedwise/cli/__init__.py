"""The command ``seedwise``."""

from seedwise.cli.commands import main

__all__ = ["main"]

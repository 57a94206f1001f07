"""Listeners and readers: what a run shows. Nothing below knows that they exist."""

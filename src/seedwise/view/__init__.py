"""Listeners and readers: what a run shows to people. No lower room knows of them."""

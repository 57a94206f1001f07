"""Slurm in Python: its commands in bounded time, its words as values, its limits as rules."""

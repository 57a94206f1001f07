"""The options of runs: each is defined once."""

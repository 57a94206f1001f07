"""The loop, its road to the workers, and the run folder: the only owner of file names and formats.

Imports `worker`, `study`, `cluster`, `model` and `errors`.
"""

"""Values and rules: the space, the seed plan, the loss, its statistics, the options, the records.

All of it is pure: no I/O, no clock, no Dask, no Optuna.
"""

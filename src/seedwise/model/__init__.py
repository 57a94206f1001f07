"""Values and rules: the space, the seed plan, the loss, its statistics, the options, the records.

Pure: no I/O, no clock, no Dask, no Optuna. Imports `errors` only.
"""

"""All that runs on a worker: the evaluation of a chunk, and the plugin that brings the loss.

Importable there without Optuna, dask-jobqueue and plotting. Imports `model` and `errors`.
"""

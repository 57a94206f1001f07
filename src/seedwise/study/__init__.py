"""Optuna's record of the trials: the only place that touches Optuna and DaskStorage.

Imports `model` and `errors`.
"""

"""Optuna's record of the trials; the only room that touches Optuna."""

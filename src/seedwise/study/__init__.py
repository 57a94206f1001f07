"""Optuna's record of the trials; the only room that touches Optuna."""

import warnings

with warnings.catch_warnings():
    # In a notebook its progress bar, which nobody sees here, asks for ipywidgets.
    warnings.filterwarnings("ignore", "IProgress not found")
    import optuna  # noqa: F401

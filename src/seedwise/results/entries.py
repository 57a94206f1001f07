"""The result of a run of several entries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from seedwise.model.options.mode import ExecutionMode
from seedwise.model.space import ParamValue
from seedwise.results.study import OptimizeResult
from seedwise.results.tables import data_frame

if TYPE_CHECKING:
    import pandas as pd


@attrs.frozen
class MultiOptimizeResult:
    """What `optimize_entries` returns.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    n_entries : int
        Number of entries, failed ones included.
    entries : list of str
        The entries, in the given order.
    results_by_entry : dict of str to OptimizeResult
        The result of each entry that did not fail.
    best_values_by_entry : dict of str to float
        Mean loss of the best trial of each entry that did not fail.
    best_params_by_entry : dict of str to dict
        Parameters of the best trial of each entry that did not fail.
    run_dir : str
        The run's folder, which holds the folders of the entries.
    mode : ExecutionMode
        Where the work was done.
    failed : dict of str to Exception
        The error of each entry that failed.
    """

    loss_name: str
    n_entries: int
    entries: list[str]
    results_by_entry: dict[str, OptimizeResult] = attrs.field(repr=False)
    best_values_by_entry: dict[str, float]
    best_params_by_entry: dict[str, dict[str, ParamValue]]
    run_dir: str
    mode: ExecutionMode
    failed: Mapping[str, Exception] = attrs.field(factory=dict)

    def artifacts(self) -> dict[str, dict[int, tuple[Path, ...]]]:
        """Return the files that the loss wrote, by entry and trial number.

        Returns
        -------
        dict of str to dict
            For each entry what its `OptimizeResult.artifacts` returns; entries without files are
            left out.
        """
        found = {entry: result.artifacts() for entry, result in self.results_by_entry.items()}
        return {entry: files for entry, files in found.items() if files}

    def to_dataframe(self) -> pd.DataFrame:
        """Return the entries as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each entry, in their order: ``entry_id``, ``best_value``,
            ``best_stderr``, a ``params_...`` column for each parameter of the best trial,
            ``best_trial``, ``n_trials`` and ``error``, which is missing unless the entry failed.
            For all trials of an entry see its own `OptimizeResult.to_dataframe`.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(lambda: [self._row(entry) for entry in self.entries])

    def _row(self, entry: str) -> dict[str, Any]:
        result = self.results_by_entry.get(entry)
        if result is None:
            error = self.failed[entry]
            return {"entry_id": entry, "error": f"{type(error).__name__}: {error}"}
        best = result.best_trial
        return {
            "entry_id": entry,
            "best_value": result.best_value,
            "best_stderr": math.nan if result.best_stderr is None else result.best_stderr,
            **{f"params_{name}": value for name, value in result.best_params.items()},
            "best_trial": best.number,
            "n_trials": result.n_trials,
            "error": None,
        }

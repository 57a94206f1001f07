"""The result of a run of several entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from seedwise.errors import in_a_line
from seedwise.folder.directory import RunDirectory
from seedwise.model.html import columns_html, table_html
from seedwise.model.options.work import ExecutionMode
from seedwise.model.space import ParamValue
from seedwise.model.trials import failures_in_words
from seedwise.results.plots.runs import EntryPlots
from seedwise.results.report.formats import Block, Section
from seedwise.results.report.found import as_words, table
from seedwise.results.study import OptimizeResult
from seedwise.results.tables import Reported, by_name, data_frame, folder_rows, numbers

if TYPE_CHECKING:
    import pandas as pd


@attrs.frozen
class MultiOptimizeResult(Reported):
    """What `optimize_entries` returns, and `open_run` reads from the run's folder.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    n_entries : int
        Number of entries, failed ones included.
    entries : list of str
        The entries, in the given order.
    results_by_entry : dict of str to OptimizeResult
        The result of each entry that did not fail; without those that have not begun.
    best_values_by_entry : dict of str to float
        Mean loss of the best trial of each entry that did not fail and has a complete trial.
    best_params_by_entry : dict of str to dict
        Parameters of these trials.
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

    def _repr_html_(self) -> str:
        """Show the entries as a table in a notebook."""
        rows = [("loss", self.loss_name), ("entries", self.outcome), *folder_rows(self)]
        return columns_html(self.columns()) + table_html(rows)

    @property
    def validated_values_by_entry(self) -> dict[str, float]:
        """The `validated_value` of each entry that has one."""
        return self._of_each("validated_value")

    @property
    def validated_params_by_entry(self) -> dict[str, dict[str, ParamValue]]:
        """The `validated_params` of each entry that has some."""
        return self._of_each("validated_params")

    def _of_each(self, name: str) -> dict[str, Any]:
        """Return what results have under a name, by entry; without those that have nothing."""
        found = {entry: getattr(one, name) for entry, one in self.results_by_entry.items()}
        return {entry: value for entry, value in found.items() if value is not None}

    @property
    def plot(self) -> EntryPlots:
        """Its figures, such as ``result.plot.entries()``; they need the extra ``plot``."""
        return EntryPlots(self)

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

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the figures of the entries show, in sentences without a full stop."""
        results, meta = self.results_by_entry.items(), RunDirectory(Path(self.run_dir)).read_meta()
        of_entries = (f"{entry}: {remark}" for entry, one in results for remark in one.remarks)
        return (*of_entries, *meta.get("remarks", ()))

    @property
    def outcome(self) -> str:
        """How many entries have a fit, and how many failed and why, in a line."""
        words = [f"{len(self.best_values_by_entry)} fitted"]
        if self.failed:
            why = {entry: in_a_line(error) for entry, error in self.failed.items()}
            words.append(failures_in_words(why))
        n_left = self.n_entries - len(self.best_values_by_entry) - len(self.failed)
        words += [f"{n_left} without a complete trial"] if n_left else []
        return ", ".join(words)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the entries as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each entry, in their order: ``entry_id``, ``best_value``,
            ``best_stderr``, a ``params_...`` column for each parameter of the best trial,
            ``best_trial``, ``n_trials`` and ``error``, which is missing unless the entry failed.
            If entries were validated, then also ``validated_value``, ``validated_stderr``,
            ``validated_trial``, and a ``validated_params_...`` column for each parameter.
            An error is in one line; `failed` has all of it. Columns of whole numbers are of
            integers, also where values are missing. For all trials of an entry see its own
            `OptimizeResult.to_dataframe`.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(self.columns)

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table, by name: see `to_dataframe`. pandas is not needed."""
        results = [self.results_by_entry.get(entry) for entry in self.entries]
        best = [None if result is None else result.best for result in results]
        errors = [self.failed.get(entry) for entry in self.entries]
        columns: dict[str, Any] = {
            "entry_id": self.entries,
            "best_value": numbers(trial.value if trial else None for trial in best),
            "best_stderr": numbers(trial.stderr if trial else None for trial in best),
            **by_name("params", [trial.params if trial else {} for trial in best]),
            "best_trial": [None if trial is None else trial.number for trial in best],
            "n_trials": [None if result is None else result.n_trials for result in results],
            "error": [None if error is None else in_a_line(error) for error in errors],
        }
        found = [None if result is None else result.validation for result in results]
        if not any(found):
            return columns
        return {
            **columns,
            "validated_value": numbers(one.value if one else None for one in found),
            "validated_stderr": numbers(one.stderr if one else None for one in found),
            "validated_trial": [one and one.number for one in found],
            **by_name("validated_params", [(one and one.params) or {} for one in found]),
        }

    def _sections(self) -> Iterator[Section]:
        outcome = Block(sentences=[f"{self.n_entries} entries: {self.outcome}."])
        blocks = [outcome, table(self.columns(), range(self.n_entries))]
        if self.best_values_by_entry:
            blocks.append(Block("The entries, with 95 % intervals", draw=self.plot.entries))
        yield "Result", blocks
        yield "Remarks", as_words(self.remarks)
        failed = [(entry, in_a_line(error)) for entry, error in self.failed.items()]
        yield "Failures", [Block(columns=["entry", "why"], rows=failed)] if failed else []

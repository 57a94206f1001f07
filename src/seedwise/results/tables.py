"""What results share: tables and reports; and of those with trials their losses."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seedwise.disk.files import replace_file, writing
from seedwise.errors import MissingExtraError, NoCompleteTrialError, OptionError, SeedwiseError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import run_of_entry
from seedwise.folder.ledger import TrialLosses, read_trials
from seedwise.folder.trial_files import artifacts
from seedwise.model.html import table_html
from seedwise.model.statistics import Comparison, paired_comparison
from seedwise.model.trials import TrialResult, failures_in_words
from seedwise.model.validation import Validation
from seedwise.model.words import interval_words, value_words
from seedwise.results.report.formats import Section, report
from seedwise.results.report.made import made_sections

if TYPE_CHECKING:
    import pandas as pd

# What losses depend on, of all that a run's results do.
_OF_LOSSES = ("loss", "entry_id")

# The types of columns in which values are missing; pandas would make floats of whole numbers.
_NULLABLE = {frozenset({int, NoneType}): "Int64", frozenset({bool, NoneType}): "boolean"}


def data_frame(content: Callable[[], Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table of columns. Raises MissingExtraError if pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_dataframe()", extra="pandas") from None
    columns = content()
    kinds = {name: _NULLABLE.get(frozenset(map(type, values))) for name, values in columns.items()}
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kinds[name]) for name in columns})


def numbers(values: Iterable[float | None]) -> list[float]:
    """Return a column of floats, NaN for those that are missing."""
    return [math.nan if value is None else value for value in values]


def by_name(prefix: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of rows that name their values; what a row does not name is missing."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {f"{prefix}_{name}": [row.get(name) for row in rows] for name in names}


def folder_rows(result: Any) -> list[tuple[str, str]]:
    """Return where a result is kept, and its remarks, if its folder still says what they are."""
    remarks: Sequence[str] = ()
    with contextlib.suppress(SeedwiseError, OSError):
        remarks = result.remarks
    return [("folder", result.run_dir), *(("remark", remark) for remark in remarks)]


class Reported(ABC):
    """A result that can write a report of itself."""

    __slots__ = ()

    # The fields of the classes below.
    loss_name: str
    run_dir: str

    def report(self, path: str | Path | None = None) -> Path:
        """Write a report: what was found, how good it is, and how it was made.

        It is one file that needs nothing else, to be sent or printed. In HTML it has figures; in
        Markdown, for a pull request, it has none.

        Parameters
        ----------
        path : str or pathlib.Path, optional
            The file, which ends in ``.html`` or ``.md``. None means ``report.html`` in the run's
            folder.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        OptionError
            If the file's name ends in something else.
        MissingExtraError
            If matplotlib is not installed, which HTML needs.
        RunFileError
            If the file can't be written.
        """
        folder = Path(self.run_dir)
        path = folder / "report.html" if path is None else Path(path).expanduser()
        if path.suffix not in (".html", ".md"):
            raise OptionError("path", str(path), "a name that ends in .html or .md")
        directory = RunDirectory(folder, run_of_entry(folder))
        of_run = "" if directory.parent is None else f"{directory.parent.name}, "
        title = f"{self.loss_name}: {of_run}{folder.name}"
        subtitle = directory.read_meta().get("loss_description", "")
        sections = [*self._sections(), *made_sections(directory)]
        text = report(path.suffix, title=title, subtitle=subtitle, sections=sections)
        with writing(path):
            replace_file(path, text.encode(), durable=False)
        return path

    @abstractmethod
    def _sections(self) -> Iterator[Section]:
        """Yield what was found."""


class TrialsResult(Reported):
    """A result with trials, of which each may have written files."""

    __slots__ = ()

    # The fields of the classes below.
    trials: Sequence[TrialResult]
    direction: str
    seeds: NDArray[np.int64]
    validation: Validation | None = None  # a sweep has none

    @property
    def best_trial(self) -> TrialResult:
        """The best trial; of equal ones, the one with the lowest number."""
        best = self.best
        if best is None:
            errors, path = list(self._errors().values()), Path(self.run_dir)
            home = RunDirectory(path, run_of_entry(path)).home.path
            raise NoCompleteTrialError(path, len(errors), next(iter(errors), None), home)
        return best

    def _repr_html_(self) -> str:
        """Show the best point, and what there is to say of the run, as tables in a notebook."""
        points: dict[str, Any] = {"validated": self.validation, "best in the search": self.best}
        found = {title: one for title, one in points.items() if one and one.value is not None}
        rows: list[list[object]] = [
            ["value", *(value_words(one.value, one.stderr) for one in found.values())],
            ["trial", *(one.number for one in found.values())],
            ["seeds", *(one.n_seeds for one in found.values())],
        ]
        if "validated" in found:
            rows.insert(1, ["95 % interval", interval_words(found["validated"].interval), ""])
        names = dict.fromkeys(name for one in found.values() for name in one.params)
        rows += [[name, *(one.params.get(name) for one in found.values())] for name in names]
        run = [("loss", self.loss_name), ("trials", self.outcome), ("seeds", len(self.seeds))]
        return table_html(rows, ["", *found]) + table_html([*run, *folder_rows(self)])

    @property
    @abstractmethod
    def best(self) -> TrialResult | None:
        """The best complete trial; None if there is none."""

    @property
    def n_trials(self) -> int:
        """Number of finished trials, failed ones included."""
        return len(self.trials)

    def artifacts(self) -> dict[int, tuple[Path, ...]]:
        """Return the files that the loss wrote to its ``context["trial_dir"]``, by trial number.

        Returns
        -------
        dict of int to tuple of pathlib.Path
            The files; trials without any are left out.
        """
        return artifacts(Path(self.run_dir))

    def to_dataframe(self) -> pd.DataFrame:
        """Return the trials as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each trial: ``number``, a ``params_...`` column for each parameter,
            ``value``, ``stderr``, ``n_seeds``, ``state``, ``duration_s``, ``error``, and a
            ``components_...`` column for each component. If the race dropped trials, there is
            also ``raw_value``, NaN for the others: see `TrialResult`. The value and stderr of a
            failed trial are NaN; its error is in one line. Columns of whole numbers are of
            integers, also where values are missing.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(self.columns)

    def losses(self, trial_num: int) -> NDArray[np.float64]:
        """Return the per-seed losses of a trial.

        Parameters
        ----------
        trial_num : int
            The trial's number.

        Returns
        -------
        ndarray of float64, shape (n,)
            The losses, in the order of `seeds`; NaN for a seed that the trial has no loss of, or
            that came after the race dropped it. Unless it was dropped, its value is their mean.

        Raises
        ------
        OptionError
            If there is no finished trial of this number, or if the run's seeds were changed after
            it.
        """
        return self._read(trial_num).losses

    def components(self, trial_num: int) -> dict[str, NDArray[np.float64]]:
        """Return the per-seed components of a trial.

        Parameters
        ----------
        trial_num : int
            The trial's number.

        Returns
        -------
        dict of str to ndarray of float64, shape (n,)
            The components, in the order of `seeds`; NaN for a seed that has none of this name.

        Raises
        ------
        OptionError
            As in `losses`.
        """
        return self._read(trial_num).components

    def traceback(self, trial_num: int) -> str | None:
        """Return the traceback of a trial's first failure, in the order of the seeds.

        Parameters
        ----------
        trial_num : int
            The trial's number.

        Returns
        -------
        str or None
            The traceback from the loss on; of a process that died, what it wrote last. None if
            the trial did not fail.

        Raises
        ------
        OptionError
            If there is no finished trial of this number.
        """
        trial = self._finished(trial_num)
        if trial.error is None:
            return None
        failure = read_losses(self, [trial])[trial.number].failure
        return None if failure is None else failure.traceback

    def compare(self, first: int, second: int) -> Comparison:
        """Compare two trials seed by seed, over the seeds that both have a loss of.

        This tells two trials apart that their standard errors can't: what a seed does to both
        cancels out. Of many trials that are compared some differ by chance.

        Parameters
        ----------
        first, second : int
            Numbers of complete trials.

        Returns
        -------
        Comparison
            The mean difference of their losses, first less second, its standard error, and its
            95 % confidence interval.

        Raises
        ------
        OptionError
            If there is no finished trial of a number, if one failed, if they have no seed in
            common, or if the loss or the seeds were changed between them.
        """
        for number in (first, second):
            if (error := self._finished(number).error) is not None:
                raise OptionError("trial_num", number, "a trial that did not fail", error)
        a, b = self._read(first), self._read(second)
        changes = [[one for one in read.changed_since if one in _OF_LOSSES] for read in (a, b)]
        if changes[0] != changes[1]:
            allowed = "trials of one loss"
            raise OptionError("trial_num", (first, second), allowed, "It was changed in between.")
        if not (np.isfinite(a.losses) & np.isfinite(b.losses)).any():
            hint = "Trials of this run have different seeds; with race=False all have the same."
            raise OptionError("trial_num", (first, second), "trials with a seed in common", hint)
        return paired_comparison(a.losses, b.losses)

    def _finished(self, trial_num: int) -> TrialResult:
        number = trial_num if np.ndim(trial_num) == 0 else None
        places = np.flatnonzero(self._numbers() == number)
        if not len(places):
            allowed = f"the number of one of the {self.n_trials} finished trials"
            raise OptionError("trial_num", trial_num, allowed)
        return self.trials[int(places[0])]

    def _read(self, trial_num: int) -> TrialLosses:
        trial = self._finished(trial_num)
        found = read_losses(self, [trial])[trial.number]
        if "seeds" in found.changed_since:
            allowed = "a trial of the run's present seeds"
            raise OptionError("trial_num", trial_num, allowed, "They were changed after it.")
        return found

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the figures show that is worth a thought, in sentences without a full stop.

        They are worked out from the trials and their losses. Whether workers had nothing to do is
        that of the driver which finished the run.
        """
        directory = RunDirectory(Path(self.run_dir))
        return (*self._remarks(directory), *directory.read_meta().get("remarks", ()))

    @property
    def outcome(self) -> str:
        """How many trials are complete, and how many failed and why, in a line."""
        errors = self._errors()
        words = [f"{self.n_trials - len(errors)} complete"]
        if errors:
            words.append(failures_in_words({f"trial {n}": text for n, text in errors.items()}))
        return ", ".join(words)

    @abstractmethod
    def _remarks(self, directory: RunDirectory) -> Iterator[str]:
        """Yield what the trials show."""

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """Return the columns of the table, by name."""

    def _numbers(self) -> NDArray[np.int64]:
        return np.array([trial.number for trial in self.trials])

    def _errors(self) -> dict[int, str]:
        """Return why trials failed, by number."""
        return {trial.number: trial.error for trial in self.trials if trial.error is not None}


def read_losses(result: TrialsResult, trials: Iterable[TrialResult]) -> dict[int, TrialLosses]:
    """Read the losses that the values of told trials are made of, by number.

    Of a trial that the race dropped, the ledger may have losses of a look that began early: they
    are left out, as they are in no value, and timing decides which there are.
    """
    by_number = {trial.number: trial for trial in trials}
    ledger = RunDirectory(Path(result.run_dir)).ledger
    found = read_trials(ledger, by_number, len(result.seeds))
    for number, trial in by_number.items():
        if trial.raw_value is not None:
            for part in (found[number].losses, *found[number].components.values()):
                part[trial.n_seeds :] = np.nan
    return found

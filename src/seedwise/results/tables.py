"""Tables of results, and what the results of a run and of a sweep share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import MissingExtraError
from seedwise.folder.trial_files import artifacts
from seedwise.model.trials import failures_in_words

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = ("value", "stderr", "n_seeds", "state", "duration_s", "error")

# The types of columns in which values are missing; pandas would make floats of whole numbers.
_NULLABLE = {int: "Int64", bool: "boolean"}


def data_frame(content: Callable[[], Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table of columns. Raises MissingExtraError if pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_dataframe()", extra="pandas") from None
    columns = content().items()
    return pd.DataFrame(
        {name: pd.Series(values, dtype=_dtype(values)) for name, values in columns}
    )


def _dtype(values: Sequence[Any] | NDArray[Any]) -> Any:
    """Return the type of a column; None leaves it to pandas."""
    if isinstance(values, np.ndarray) or None not in values:
        return None
    kinds = {type(value) for value in values if value is not None}
    return _NULLABLE.get(kinds.pop()) if len(kinds) == 1 else None


def numbers(values: Iterable[float | None]) -> list[float]:
    """Return a column of floats, NaN for those that are missing."""
    return [math.nan if value is None else value for value in values]


def by_name(prefix: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of rows that name their values; what a row does not name is missing."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {f"{prefix}_{name}": [row.get(name) for row in rows] for name in names}


def by_column(
    number: object,
    params: Mapping[str, object],
    figures: Sequence[object],
    components: Mapping[str, object],
) -> dict[str, Any]:
    """Name the columns of a table of trials; the figures are value to error."""
    return {"number": number, **params, **dict(zip(_FIGURES, figures, strict=True)), **components}


class TrialsResult(ABC):
    """A result with trials, of which each may have written files."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def run_dir(self) -> str:
            """The run's folder."""

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
            ``components_...`` column for each component. The value and stderr of a failed trial
            are NaN; its error is in one line. Columns of whole numbers are of integers, also
            where values are missing.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(self._content)

    @property
    def outcome(self) -> str:
        """How many trials are complete, and how many failed and why, in a line."""
        errors = self._errors()
        words = [f"{self._n_complete()} complete"]
        if errors:
            words.append(failures_in_words({f"trial {n}": text for n, text in errors.items()}))
        return ", ".join(words)

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """Return the columns of the table."""

    @abstractmethod
    def _errors(self) -> Mapping[int, str]:
        """Return why trials failed, by number."""

    @abstractmethod
    def _n_complete(self) -> int:
        """Return how many trials are complete."""

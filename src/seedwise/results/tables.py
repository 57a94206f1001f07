"""Tables of results, and what the results of a run and of a sweep share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedwise.errors import MissingExtraError
from seedwise.folder.trial_files import artifacts

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = ("value", "stderr", "n_seeds", "state", "duration_s")


def data_frame(content: Callable[[], Any]) -> pd.DataFrame:
    """Return a table of rows or columns. Raises MissingExtraError if pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_dataframe()", extra="pandas") from None
    return pd.DataFrame(content())


def by_column(
    number: object,
    params: Mapping[str, object],
    figures: tuple[object, object, object, object, object],
    components: Mapping[str, object],
) -> dict[str, Any]:
    """Name the cells of a trial, or whole columns; the figures are value to duration."""
    return {
        "number": number,
        **{f"params_{name}": value for name, value in params.items()},
        **dict(zip(_FIGURES, figures, strict=True)),
        **{f"components_{name}": part for name, part in components.items()},
    }


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
            ``value``, ``stderr``, ``n_seeds``, ``state``, ``duration_s``, and a
            ``components_...`` column for each component. The value and stderr of a failed trial
            are NaN.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(self._content)

    @abstractmethod
    def _content(self) -> Any:
        """Return what the table is made of: its rows, or its columns."""

"""The result of a sweep: a view of its files, which may be too large for memory."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.folder.directory import RunDirectory
from seedwise.folder.trial_table import STATE_CODES, STATES, TableRows
from seedwise.model.options.work import ExecutionMode
from seedwise.model.points import Cases
from seedwise.model.trials import TrialResult, TrialState
from seedwise.results.plots.search import TrialPlots
from seedwise.results.remarks import study_remarks
from seedwise.results.report.formats import Section
from seedwise.results.report.found import best_section, found_sections
from seedwise.results.tables import TrialsResult, by_name


class SweepTrials(Sequence[TrialResult]):
    """The finished trials of a sweep, by number; each is made when it is looked at."""

    def __init__(self, rows: TableRows, cases: Cases) -> None:
        self._rows = rows
        self._cases = cases

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self._rows.number)

    @overload
    def __getitem__(self, index: int) -> TrialResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TrialResult]: ...
    def __getitem__(self, index: int | slice) -> TrialResult | Sequence[TrialResult]:
        """Return a trial by its place, which is its number if all are finished."""
        place, rows = range(len(self))[index], self._rows
        if isinstance(place, range):
            return [self[one] for one in place]
        number, state = int(rows.number[place]), STATES[int(rows.state[place])]
        value, stderr = float(rows.value[place]), float(rows.stderr[place])
        parts = {name: float(part[place]) for name, part in rows.components.items()}
        is_complete = state is TrialState.COMPLETE
        return TrialResult(
            number=number,
            params=self._cases.params(number),
            value=value if is_complete else None,
            stderr=None if np.isnan(stderr) else stderr,
            n_seeds=int(rows.n_seeds[place]),
            state=state,
            duration_s=float(rows.duration_s[place]),
            error=rows.errors.get(number),
            components=parts if is_complete else {},
        )


@attrs.frozen(eq=False)
class SweepResult(TrialsResult):
    """What `run_sweep` returns, and `open_run` reads from the run's folder.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    run_dir : str
        The run's folder.
    mode : ExecutionMode
        Where the work was done.
    direction : {"minimize", "maximize"}
        Whether the lowest or the highest value is best.
    n_trials : int
        Number of finished trials, failed ones included.
    seeds : ndarray of int64, shape (n,)
        The seeds of every trial.
    trials : sequence of TrialResult
        All finished trials, by number; each is made when it is looked at.
    """

    loss_name: str
    run_dir: str
    mode: ExecutionMode
    direction: str
    n_trials: int
    seeds: NDArray[np.int64] = attrs.field(repr=False)
    trials: Sequence[TrialResult] = attrs.field(repr=False)
    _rows: TableRows = attrs.field(repr=False)
    _cases: Cases = attrs.field(repr=False)

    @property
    def best(self) -> TrialResult | None:
        """The best complete trial; None if there is none.

        Of equal ones it is the one with the lowest number. As the best of many noisy means its
        value is biased towards the better side.
        """
        complete = np.flatnonzero(self._rows.state == STATE_CODES[TrialState.COMPLETE])
        if not len(complete):
            return None
        values = self._rows.value[complete]
        place = np.argmin(values) if self.direction == "minimize" else np.argmax(values)
        return self.trials[int(complete[place])]

    @property
    def plot(self) -> TrialPlots:
        """Its figures, such as ``result.plot.slices()``; they need the extra ``plot``."""
        return TrialPlots(self)

    @property
    def failed(self) -> list[TrialResult]:
        """The failed trials, by number, each with its error."""
        failed = np.flatnonzero(self._rows.state != STATE_CODES[TrialState.COMPLETE])
        return [self.trials[int(place)] for place in failed]

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table, by name: see `to_dataframe`. pandas is not needed."""
        rows = self._rows
        return {
            "number": rows.number,
            **by_name("params", [self._cases.params(number) for number in rows.number.tolist()]),
            "value": rows.value,
            "stderr": rows.stderr,
            "n_seeds": rows.n_seeds.astype(np.int64),
            "state": rows.state_names(),
            "duration_s": rows.duration_s,
            "error": [rows.errors.get(number) for number in rows.number.tolist()],
            **{f"components_{name}": part for name, part in rows.components.items()},
        }

    def _sections(self) -> Iterator[Section]:
        return found_sections(self, [best_section(self)])

    def _remarks(self, directory: RunDirectory) -> Iterator[str]:
        del directory
        return study_remarks(self, searched={})

    def _numbers(self) -> NDArray[np.int64]:
        return self._rows.number

    def _errors(self) -> dict[int, str]:
        # They came in any order, and the one that is named as an example must not depend on it.
        return dict(sorted(self._rows.errors.items()))

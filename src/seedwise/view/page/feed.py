"""What a page shows, as it is read from a run's folder, again and again, by a thread."""

import math
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import SeedwiseError
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.folder.status import read_status
from seedwise.model.space import ParameterSpace, ParamValue, SearchParam, space_from_json
from seedwise.model.status import Row
from seedwise.model.trials import TrialResult, mean_words
from seedwise.model.validation import in_words, point_in_words
from seedwise.model.words import value_words
from seedwise.results.plots.runs import workers_over_time
from seedwise.results.read import entry_folders, follow
from seedwise.results.study import read_validation
from seedwise.view.status import status_rows, when_words

#: How a trial ended, as the page tells them apart.
KINDS = ("complete", "dropped by the race", "failed")

_EVERY_S = 0.9  # each page of a run asks once a second
_EVENTS_SHOWN = 12
_MOST_EVENTS = 2000  # of the figure of the workers

#: Of a larger run, such as a sweep of a million cases, the last rows are kept.
MOST_ROWS = 20_000


class Axis:
    """Where the values of a parameter lie on an axis."""

    def __init__(self, name: str, param: SearchParam) -> None:
        self.name, self.column = name, f"at {name}"
        #: Whether places are logarithms, to base 10.
        self.log = param.log
        #: The values that have no order, by their place; None of numbers.
        has_order = param.dtype not in ("str", "bool")
        self.labels = None if has_order else [str(value) for value in param.allowed or ()]
        self.low, self.high = math.inf, -math.inf

    def place(self, value: ParamValue | None) -> float:
        """Return where a value lies; NaN if it can't be shown."""
        at = math.nan
        if self.labels is not None and value is not None:
            if str(value) not in self.labels:  # a case of a sweep may be outside of the space
                self.labels.append(str(value))
            at = float(self.labels.index(str(value)))
        elif isinstance(value, int | float) and (value > 0 or not self.log):
            at = math.log10(value) if self.log else float(value)
        if math.isfinite(at):
            self.low, self.high = min(self.low, at), max(self.high, at)
        return at

    def words(self, place: float) -> str:
        """Return the value at a place."""
        if not math.isfinite(place):
            return ""
        if self.labels is not None:
            return self.labels[round(place)]
        return f"{10**place if self.log else place:.4g}"


_NUMBERS = (
    *("order", "number", "n_seeds", "value", "low", "high", "best", "best_low", "best_high"),
    *("seeds", "full_seeds"),
)
_TEXTS = ("stderr", "kind", "params", "error")


class TrialColumns:
    """The trials in the order in which they came; a thread may read while another one adds."""

    def __init__(self, space: ParameterSpace, direction: str, n_plan: int) -> None:
        self.axes = [Axis(name, param) for name, param in space.items()]
        self.best: TrialResult | None = None
        self.sign = -1.0 if direction == "maximize" else 1.0
        #: Seeds of all trials together, and how many they would be if each had the whole plan.
        self.n_seeds = self.n_full_seeds = 0
        self._n_plan, self._n = n_plan, 0
        numbers = [*_NUMBERS, *(axis.column for axis in self.axes)]
        fields = [*((name, float) for name in numbers), *((name, object) for name in _TEXTS)]
        #: A row for each; replaced as a whole, so that another thread may read it.
        self.table: NDArray[Any] = np.empty(0, fields)

    def add(self, trials: Sequence[TrialResult]) -> None:
        """Add trials that were told."""
        rows = np.array([self._row(trial) for trial in trials], self.table.dtype)
        self.table = np.concatenate([self.table, rows])

    def rows(self, begin: int, end: int) -> dict[str, NDArray[Any]]:
        """Return the columns from a row up to another."""
        rows = self.table[begin:end]
        return {name: rows[name].copy() for name in rows.dtype.names or ()}

    def _row(self, trial: TrialResult) -> tuple[Any, ...]:
        value, best, kind = trial.value, self.best, KINDS[2]
        if value is not None:
            if best is None or self.sign * value < self.sign * (best.value or 0.0):
                self.best = trial
            self.n_seeds += trial.n_seeds
            self.n_full_seeds += self._n_plan
            kind = KINDS[0 if trial.raw_value is None else 1]
        self._n += 1
        stderr = "" if trial.stderr is None else f" ± {trial.stderr:.2g}"
        return (
            *(self._n, trial.number, trial.n_seeds, *_band(trial), *_band(self.best)),
            *(self.n_seeds, self.n_full_seeds),
            *(axis.place(trial.params.get(axis.name)) for axis in self.axes),
            *(stderr, kind, point_in_words(trial.params), trial.error or ""),
        )


def _band(trial: TrialResult | None) -> tuple[float, float, float]:
    """Return the value of a trial, and the value less and plus its standard error."""
    if trial is None or trial.value is None:
        return math.nan, math.nan, math.nan
    stderr = trial.stderr or 0.0
    return trial.value, trial.value - stderr, trial.value + stderr


class Feed:
    """What every page shows; `refresh` may be called by any thread."""

    #: The entry whose page it is; None of a whole run.
    entry_id: str | None = None

    def __init__(self, directory: RunDirectory, problem: str = "") -> None:
        self.directory = directory
        #: What there is to say of the run, each with its name.
        self.rows: list[Row] = []
        #: The last events, the latest first.
        self.events: list[str] = []
        #: Times, and since each how many workers were at work and how many jobs waited; empty
        #: if that is unknown.
        self.workers: tuple[list[datetime], list[int], list[int]] = [], [], []
        #: Why there is no more to see.
        self.problem = problem
        self._read_s = -_EVERY_S
        self._lock = threading.Lock()

    def refresh(self, *, now: bool = False) -> None:
        """Read what is new, unless that was done just now."""
        with self._lock:
            if now or time.monotonic() - self._read_s >= _EVERY_S:
                self._read_s = time.monotonic()
                try:
                    self._read()
                    self.problem = ""
                except (SeedwiseError, OSError, KeyError, ValueError) as error:
                    self.problem = str(error).partition("\n")[0]

    def _read_more(self) -> list[Row]:
        """Read what this kind of run has; return what there is to say of it."""
        return []

    def _read(self) -> None:
        status, more = read_status(self.directory), self._read_more()
        now_utc, events = datetime.now(UTC), read_events(self.directory)
        rows, said = status_rows(status, self.directory.path, now_utc), dict(more)
        rows = [row for row in rows if not row[0].startswith(" ") and row[0] not in said]
        self.rows = rows + more
        last = events[: -_EVENTS_SHOWN - 1 : -1]
        self.events = [f"{when_words(one.get('at_utc'))}  {_said(one)}" for one in last]
        thin = slice(None, None, -(len(events) // _MOST_EVENTS + 1))  # the last one stays
        times, at_work, waiting = workers_over_time(events)
        times, at_work, waiting = times[thin][::-1], at_work[thin][::-1], waiting[thin][::-1]
        if times and status.pool is not None:  # so they are until now
            times.append(now_utc)
            at_work.append(at_work[-1])
            waiting.append(waiting[-1])
        if status.pool is not None or any(at_work + waiting):
            self.workers = times, at_work, waiting


class TrialsFeed(Feed):
    """The trials of a run, an entry or a sweep."""

    def __init__(self, directory: RunDirectory) -> None:
        super().__init__(directory)
        self._take_meta()
        if directory.parent is not None:
            self.entry_id = self.meta["options"]["entry_id"]
        self._news = follow(directory)

    def _take_meta(self) -> None:
        self.meta = meta = self.directory.read_meta()
        space, held = space_from_json(meta["parameter_space"]), meta["options"]["overrides"] or {}
        searched = {name: param for name, param in space.items() if name not in held}
        #: Others, when the trials begin anew.
        self.columns = TrialColumns(searched, meta["options"]["direction"], meta["n_seeds"])

    def _read_more(self) -> list[Row]:
        anew, trials = self._news()
        if anew:
            self._take_meta()
        columns = self.columns
        columns.add(trials[-MOST_ROWS:])
        n_seeds, n_full = columns.n_seeds, columns.n_full_seeds
        more = []
        if (best := columns.best) is not None:
            at = f"trial {best.number} at {point_in_words(best.params)}"
            more.append(("best so far", f"{mean_words(best)}: {at}"))
        used = f"{n_seeds}"
        if n_full > n_seeds:
            used += f" of {n_full} that full trials would take, {100 * n_seeds / n_full:.0f} %"
        more.append(("seeds used", used))
        if (found := read_validation(self.directory)) is not None:
            more.append(("validated", in_words(found).removeprefix("validated ")))
        return more


class EntriesFeed(Feed):
    """The entries of a run, by their summaries."""

    def __init__(self, directory: RunDirectory) -> None:
        super().__init__(directory)
        self._folders = entry_folders(directory)
        self._summaries: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        #: Each entry, its state, how many trials are told, its best, validated, and its error.
        self.entries: list[tuple[str, ...]] = []

    def _read_more(self) -> list[Row]:
        of_run, entries = self.directory.summary.read(), []
        for entry in self._folders:
            error, one = of_run.get("failed", {}).get(entry, ""), self._summary(entry)
            state = "begun" if one else "pending"
            if error or entry in of_run.get("best_values_by_entry", {}):
                state = "failed" if error else "done"
            means = []
            for of in ("best", "validated"):
                mean, stderr = one.get(f"{of}_value"), one.get(f"{of}_stderr")
                means.append("" if mean is None else value_words(mean, stderr))
            entries.append((entry, state, str(one.get("n_told", 0)), *means, error))
        self.entries = entries
        return []

    def _summary(self, entry: str) -> dict[str, Any]:
        """Return the summary of an entry, which is read when it has changed."""
        file = self._folders[entry].summary
        version = file.version
        if entry not in self._summaries or self._summaries[entry][0] != version:
            self._summaries[entry] = version, file.read()
        return self._summaries[entry][1]


def open_feed(directory: RunDirectory) -> Feed:
    """Return what shows a run or an entry."""
    is_of_entries = directory.read_meta()["kind"] == "entries"
    return (EntriesFeed if is_of_entries else TrialsFeed)(directory)


def _said(event: dict[str, Any]) -> str:
    kind, text = str(event.get("kind")), str(event.get("text"))
    return text if text.startswith(kind) else f"{kind}: {text}"

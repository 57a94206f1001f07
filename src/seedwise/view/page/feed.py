"""What a page shows, as it is read from a run's folder, again and again, in a thread."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import attrs

from seedwise.disk.every import Every
from seedwise.disk.same_file import inode_and_size
from seedwise.errors import SeedwiseError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.events import read_events
from seedwise.folder.status import read_status
from seedwise.model.options.entries import entry_labels
from seedwise.model.space import space_from_json
from seedwise.model.status import RunStatus
from seedwise.model.validation import in_words, point_in_words
from seedwise.results.follow import Followed, follow
from seedwise.results.study import read_validation
from seedwise.view.page.columns import TrialColumns
from seedwise.view.page.workers import Workers
from seedwise.view.status import status_rows
from seedwise.view.words import mean_words

_EVERY_S = 0.9  # the pages of one run ask for it once a second each
_EVENTS_SHOWN = 12

#: Rows of a larger run, such as a sweep of a million cases, are not kept; the last ones are.
MOST_ROWS = 20_000


class Feed:
    """What every page shows; `refresh` may be called by any thread."""

    def __init__(self, directory: RunDirectory, workers: Workers, problem: str = "") -> None:
        self.directory = directory
        #: The entry whose page it is; None of a whole run.
        self.entry_id: str | None = None
        self.workers = workers
        #: What there is to say of the run, each with its name.
        self.rows: list[tuple[str, str]] = []
        #: The last events, the latest first.
        self.events: list[str] = []
        #: Why there is no more to see.
        self.problem = problem
        self._sampled = ""
        self._due = Every(_EVERY_S)
        self._lock = threading.Lock()

    def refresh(self, *, now: bool = False) -> None:
        """Read what is new, unless that was done just now."""
        with self._lock:
            if not self._due.due() and not now:
                return
            try:
                self._read()
                self.problem = ""
            except (SeedwiseError, OSError, KeyError, ValueError) as error:
                self.problem = str(error).partition("\n")[0]

    @property
    def n_seeds(self) -> int:
        """Seeds of the told trials, as far as they are known."""
        return 0

    def _read_more(self, status: RunStatus) -> list[tuple[str, str]]:
        """Read what only this kind of run has, and return what there is to say of it."""
        del status
        return []

    def _read(self) -> None:
        status = read_status(self.directory)
        more = self._read_more(status)
        is_new = status.updated_at_utc != self._sampled
        if is_new and status.pool is not None and not self.workers.is_live:
            self._sampled = status.updated_at_utc
            self.workers.take(status, self.n_seeds)
        rows = status_rows(status, self.directory.path, datetime.now(UTC))
        said = {name for name, _ in more}
        self.rows = [row for row in rows if not row[0].startswith(" ") and row[0] not in said]
        self.rows += [row for row in more if row[1]]
        rate = self.workers.seeds_per_s
        if rate is not None and status.state == "running":
            self.rows.append(("speed", f"{rate:.3g} seeds a second"))
        events = read_events(self.directory)[: -_EVENTS_SHOWN - 1 : -1]
        self.events = [f"{_at(one)}  {_said(one)}" for one in events]


class TrialsFeed(Feed):
    """A run's trials, or those of an entry or a sweep."""

    def __init__(self, directory: RunDirectory, workers: Workers) -> None:
        super().__init__(directory, workers)
        self.meta = directory.read_meta()
        if directory.parent is not None:
            self.entry_id = self.meta["options"]["entry_id"]
        #: Others, when the trials begin anew.
        self.columns = self._new_columns()
        self._followed: Followed = follow(directory)

    @property
    def n_seeds(self) -> int:
        """Seeds of the told trials."""
        return self.columns.n_seeds

    def _new_columns(self) -> TrialColumns:
        space, options = space_from_json(self.meta["parameter_space"]), self.meta["options"]
        held = options.get("overrides") or {}
        searched = {name: param for name, param in space.items() if name not in held}
        return TrialColumns(searched, options["direction"], self.meta["n_seeds"])

    def _read_more(self, status: RunStatus) -> list[tuple[str, str]]:
        del status
        anew, trials = self._followed.news()
        if anew:
            self.meta = self.directory.read_meta()
            self.columns = self._new_columns()
        columns = self.columns
        columns.add(trials[-MOST_ROWS:])
        best, found = columns.best, read_validation(self.directory)
        words = "" if best is None else f"{mean_words(best)}: trial {best.number} at "
        seeds = f"{columns.n_seeds} used"
        if columns.n_full_seeds > columns.n_seeds:
            share = columns.n_seeds / columns.n_full_seeds
            seeds += f" of {columns.n_full_seeds} that full trials would take, {100 * share:.0f} %"
        return [
            ("best so far", words and words + point_in_words(best.params if best else {})),
            ("seeds", seeds),
            ("validated", "" if found is None else in_words(found).removeprefix("validated ")),
        ]


@attrs.frozen
class EntryRow:
    """An entry in the overview of a run."""

    entry_id: str
    state: str
    n_told: int
    best: str
    validated: str
    error: str


class EntriesFeed(Feed):
    """The entries of a run, by their summaries."""

    def __init__(self, directory: RunDirectory, workers: Workers) -> None:
        super().__init__(directory, workers)
        self.labels = entry_labels(directory.read_meta()["options"]["entry_ids"])
        self.entries: list[EntryRow] = []
        self._read_ones: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}

    def _read_more(self, status: RunStatus) -> list[tuple[str, str]]:
        of_run = self.directory.summary.read()
        self.entries = [self._row(entry, of_run, status.state) for entry in self.labels]
        return []

    def _row(self, entry: str, of_run: dict[str, Any], state: str) -> EntryRow:
        one, error = self._summary(entry), of_run.get("failed", {}).get(entry, "")
        if error:
            state = "failed"
        elif entry in of_run.get("best_values_by_entry", {}):
            state = "done"
        elif not one:
            state = "pending"
        best, validated = (
            _mean(one.get(value), one.get(stderr))
            for value, stderr in (
                ("best_value", "best_stderr"),
                ("validated_value", "validated_stderr"),
            )
        )
        return EntryRow(entry, state, one.get("n_told", 0), best, validated, error)

    def _summary(self, entry: str) -> dict[str, Any]:
        """Return the summary of an entry, which is read when it has changed."""
        file = RunDirectory(self.directory.entries / self.labels[entry], self.directory).summary
        mark = inode_and_size(file.path)  # it is replaced as a whole
        if self._read_ones.get(entry, ((0, 0), {}))[0] != mark:
            self._read_ones[entry] = mark, file.read()
        return self._read_ones.get(entry, ((0, 0), {}))[1]


def open_feed(directory: RunDirectory, workers: Workers) -> Feed:
    """Return what shows a run or an entry."""
    is_of_entries = directory.read_meta()["kind"] == "entries"
    return (EntriesFeed if is_of_entries else TrialsFeed)(directory, workers)


def _mean(value: float | None, stderr: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if stderr is None else f"{value:.6g} ± {stderr:.2g}"


def _said(event: dict[str, Any]) -> str:
    kind, text = str(event.get("kind")), str(event.get("text"))
    return text if text.startswith(kind) else f"{kind}: {text}"


def _at(event: dict[str, Any]) -> str:
    try:
        return f"{datetime.fromisoformat(str(event.get('at_utc'))).astimezone():%m-%d %H:%M:%S}"
    except ValueError:
        return ""

"""What is said of a run while it works: its lines, and below them how far it is."""

import contextlib
import logging
import re
import time
from pathlib import Path
from typing import ClassVar, TextIO

import attrs

from seedwise.errors import replay_command, resume_command
from seedwise.folder.directory import RunDirectory
from seedwise.model import events
from seedwise.model.status import RunStatus, scaled_words, workers_words
from seedwise.model.trials import FailureKind, mean_words
from seedwise.model.validation import in_words, point_in_words
from seedwise.view.faces import Face, face_for
from seedwise.view.status import bars, live_rows

_logger = logging.getLogger("seedwise")

_LINK_FILE = "dashboard.url"  # written by cluster/, which this room may not import

_MOST_REMARKS = 12

# Where nothing shows the progress all the time, a line does, but for this long after the one
# before; and if all is still as that one says, for longer.
_PROGRESS_S = 10.0
_UNCHANGED_S = 600.0

# Of thousands of trials that fail, their number says enough.
_FAILURE_S = 1.0


class ProgressLines:
    """Says the events of a run on stderr, or in a notebook.

    On a terminal and in a notebook, the progress is shown all the time. Without `trials` only how
    to resume a run that was interrupted is said. Lines go to the handlers of the logger `seedwise`
    in place of stderr, if the user has configured any for their level.
    """

    #: Whether the progress may be shown all the time.
    shows_progress: ClassVar[bool] = True

    def __init__(self, trials: bool = True, stream: TextIO | None = None) -> None:
        self._trials = trials
        self._stream = stream
        self._face: Face | None = None
        self._status: RunStatus | None = None
        self._run_dir = Path()
        self._excluded: dict[str, str] = {}
        self._said: RunStatus | None = None
        self._said_s = time.monotonic()
        self._failed_s = self._said_s - _FAILURE_S

    def __call__(self, event: events.Event) -> None:
        """Say an event."""
        if not self._trials and not isinstance(event, events.RunInterrupted):
            return
        if self._face is None:
            shows_progress = self.shows_progress and self._trials
            self._face = face_for(self._stream, shows_progress=shows_progress)
        level = _level(event)
        handled = self._stream is None and _logger.hasHandlers() and _logger.isEnabledFor(level)
        if isinstance(event, events.RunStarted) and (handled or self._face.may_be_read_by_others):
            event = _without_token(event)
        if isinstance(event, events.Progress):
            self._status = event.status
        elif isinstance(event, events.RunFinished | events.RunInterrupted):
            self._status = None
        lines = self.lines(event)
        for line in lines if handled else ():
            _logger.log(level, "%s", line)
        is_shown = not handled and _logger.level <= level
        self._face.write(lines if is_shown else [], self._status)

    def close(self) -> None:
        """Leave the lines alone, however the run ended."""
        if self._face is not None:
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._face.write([], None)

    def lines(self, event: events.Event) -> list[str]:
        """Return what is said of an event."""
        lines: list[str] = []
        match event:
            case events.RunStarted():
                self._run_dir = event.run_dir
                of_run = {
                    "run folder ": event.run_dir,
                    "on ": event.place,
                    "resumed after ": f"{event.n_told} trials" if event.n_told else None,
                    "dashboard  ": event.dashboard,
                    "study      ": event.study,
                    "from a laptop, first: ": event.tunnel,
                }
                lines = [f"{what}{words}" for what, words in of_run.items() if words is not None]
            case events.TrialFinished():
                lines = _trial(event, self._run_dir) if self._is_worth_a_line(event) else []
            case events.Progress():
                lines = self._how_far(event.status)
            case events.EntryFinished():
                lines = [_entry(event)]
            case events.ChunkLost():
                what = f"trial {event.trial}, the chunk that begins with seed {event.chunk_start}"
                lines = [f"lost the worker {event.worker}; run again: {what}"]
            case events.PoolChanged():
                self._excluded |= event.pool.excluded_nodes if event.pool else {}
                lines = [_pool_changed(event)]
            case events.Noted():
                lines = [f"note: {event.text}"]
            case events.RunInterrupted():
                where = ", in the validation" if event.validating else ""
                told = f"{event.n_told} of {event.n_trials} trials told{where}"
                lines = [f"stopped with {told}; nothing is lost"]
                lines.append(f"to resume: {resume_command(event.run_dir)}")
            case events.RunFinished():
                excluded = self._excluded.items()
                lines = [f"excluded node {node}: {why}" for node, why in excluded] + _end(event)
        return lines

    def _is_worth_a_line(self, event: events.TrialFinished) -> bool:
        """Tell whether a trial is the best of the run so far, or failed and is not one of many."""
        if event.trial.value is not None:
            is_best = event.best is not None and event.best.number == event.trial.number
            return is_best and event.entry_id is None  # the end of an entry tells its best
        now_s = time.monotonic()
        if now_s - self._failed_s < _FAILURE_S:
            return False
        self._failed_s = now_s
        return True

    def _how_far(self, status: RunStatus) -> list[str]:
        if self._face is not None and self._face.shows_progress:
            return []
        # Without times and rates, which are others each time.
        pool = status.pool and attrs.evolve(status.pool, expected_start_utc=None)
        rates = dict.fromkeys(("trials_per_s", "seeds_per_s", "busy_share", "expected_end_utc"))
        said = attrs.evolve(status, pool=pool, updated_at_utc="", **rates)  # type: ignore[arg-type]
        now_s = time.monotonic()
        if now_s - self._said_s < (_UNCHANGED_S if said == self._said else _PROGRESS_S):
            return []
        self._said, self._said_s = said, now_s
        rows = [(title, words) for title, _, _, words in bars(status)] + live_rows(status)
        return ["; ".join(f"{title} {words}" for title, words in rows)]


def _level(event: events.Event) -> int:
    """Return the level of what is said of an event: WARNING if somebody should look at it."""
    match event:
        case events.ChunkLost() | events.Noted() | events.RunInterrupted():
            warns = True
        case events.TrialFinished():
            warns = event.trial.value is None
        case events.EntryFinished():
            warns = event.best is None
        case events.PoolChanged():
            warns = event.news.warns
        case _:
            warns = False
    return logging.WARNING if warns else logging.INFO


def _without_token(event: events.RunStarted) -> events.RunStarted:
    """Replace the dashboard's link by the path of the file that holds it."""
    link, *token = re.split("[?&]token=", event.dashboard or "")
    if not token:
        return event
    file = RunDirectory(event.run_dir).key_dir / _LINK_FILE
    # Without a file the cluster was passed, and the caller has the link.
    instead = f"its link, with the token, is in {file}" if file.exists() else link
    return attrs.evolve(event, dashboard=instead, study=event.study and "linked from there")


def _trial(event: events.TrialFinished, run_dir: Path) -> list[str]:
    trial, best = event.trial, event.best
    width = len(str(event.n_trials))
    who = "" if event.entry_id is None else f"{event.entry_id}  "
    parts = [
        f"{who}[{trial.number + 1:{width}}/{event.n_trials}] trial {trial.number:<{width}}",
        f"{trial.state} ({trial.error})" if trial.value is None else mean_words(trial),
    ]
    if best is not None:
        parts.append("best so far" if best.number == trial.number else f"best {best.value:.6g}")
    lines = ["  ".join([*parts, f"{trial.duration_s:.2f} s"])]
    if event.failure is not None:
        if event.failure.kind is not FailureKind.LOSS:  # the words of a dead process are only here
            lines += [f"    {line}" for line in event.failure.traceback.splitlines()[1:]]
        if event.entry_id is None:  # an entry has a folder of its own
            why = replay_command(run_dir, trial.number, event.failure.seed)
            lines.append(f"to see why: {why}")
    return lines


def _pool_changed(event: events.PoolChanged) -> str:
    if event.pool is None:
        return event.news.text
    is_scaled = event.news.kind == "scaled"
    words = scaled_words(event.pool) if is_scaled else f"workers: {workers_words(event.pool)}"
    return f"{event.news.text}; {words}"


def _entry(event: events.EntryFinished) -> str:
    count = f"[{event.n_ended}/{event.n_entries}] entry {event.entry_id!r}"
    if event.best is None:
        return f"{count} failed: {event.error}"
    line = f"{count} best {mean_words(event.best)} at {point_in_words(event.best.params)}"
    return line if event.validated is None else f"{line}; {in_words(event.validated)}"


def _end(event: events.RunFinished) -> list[str]:
    best = event.best
    found = "done" if best is None else f"best {mean_words(best)} at {point_in_words(best.params)}"
    lines = [f"{found}; {event.duration_s:.1f} s"]
    lines += [f"remark: {remark}" for remark in event.remarks[:_MOST_REMARKS]]
    if (n_more := len(event.remarks) - _MOST_REMARKS) > 0:
        lines.append(f"remark: {n_more} more are in result.remarks")
    return lines if event.outcome is None else [*lines, event.outcome]

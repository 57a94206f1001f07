"""Progress on stderr: a few lines at the start, a line a trial, and how to resume."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import attrs

from seedwise.errors import replay_command, resume_command
from seedwise.folder.directory import RunDirectory
from seedwise.model.events import (
    ChunkLost,
    EntryFinished,
    Event,
    Noted,
    PoolChanged,
    Progress,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
)
from seedwise.model.status import PoolStatus, RunStatus
from seedwise.model.trials import FailureKind
from seedwise.model.validation import in_words, point_in_words
from seedwise.view.words import (
    end_words,
    mean_words,
    scaled_words,
    validation_words,
    waiting_words,
    workers_words,
)

_BRIEF_S = 1.0

_LINK_FILE = "dashboard.url"  # written by cluster/, which this room may not import

# While no worker is there, why they are pending is said when the reason changes, and now and then.
# While some are, it is said when the reason has changed, and no more than once a minute.
_MOST_REMARKS = 12
_WAITING_S = 10.0
_WAITING_STILL_S = 60.0

# While no trial is told for so long, how many seeds of those in flight are done shows that the run
# goes on.
_LONG_TRIAL_S = 30.0


class ProgressLines:
    """Writes a run's events as lines.

    Without `trials` it writes only how to resume a run that was interrupted. `brief` is for runs
    of very many trials: at most one trial a second is written, and the progress every few seconds.
    """

    def __init__(
        self, trials: bool = True, stream: TextIO | None = None, *, brief: bool = False
    ) -> None:
        self._trials = trials
        self._brief = brief
        self._written_s = time.monotonic() - _BRIEF_S
        self._seeds_said = 0
        self._n_left_out = 0
        self._waiting: str | None = None
        self._excluded: dict[str, str] = {}
        self._waiting_said_s = time.monotonic()
        self._stream = stream
        self._run_dir = Path()

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if not self._trials and not isinstance(event, RunInterrupted):
            return
        stream = self._stream or sys.stderr
        if stream is None:  # it was closed; print would take standard output instead
            return
        if isinstance(event, RunStarted) and _may_be_read_by_others(stream):
            event = _without_token(event)
        for line in self.lines(event):
            print(f"seedwise: {line}", file=stream, flush=True)

    def lines(self, event: Event) -> list[str]:
        """Return what is said of an event."""
        lines: list[str] = []
        match event:
            case RunStarted():
                self._run_dir = event.run_dir
                lines = _start(event)
            case TrialFinished():
                lines = _trial(event, self._run_dir) if self._is_due() else []
            case Progress():
                lines = self._how_far(event.status)
            case EntryFinished():
                lines = [_entry(event)]
            case ChunkLost():
                lines = [_lost(event)]
            case PoolChanged():
                self._excluded |= event.pool.excluded_nodes if event.pool else {}
                lines = [_pool_changed(event)]
            case Noted():
                lines = [f"note: {event.text}"]
            case RunInterrupted():
                lines = _interrupted(event)
            case RunFinished():
                excluded = self._excluded.items()
                lines = [f"excluded node {node}: {why}" for node, why in excluded] + _end(event)
        return lines

    def _how_far(self, status: RunStatus) -> list[str]:
        n_left_out, self._n_left_out = self._n_left_out, 0
        if n_left_out:
            return [_progress(status)]
        return self._why_waiting(status) or self._within_trials(status)

    def _why_waiting(self, status: RunStatus) -> list[str]:
        pool = status.pool
        if pool is None or (pool.joined and not (pool.pending and pool.waiting)):
            self._waiting = None
            return []
        silent_s = time.monotonic() - self._waiting_said_s
        # The expected start is left out, as Slurm estimates it anew every minute.
        is_another = pool.waiting != self._waiting
        if silent_s < (_WAITING_S if is_another and not pool.joined else _WAITING_STILL_S):
            return []
        if pool.joined and not is_another:  # the lines of trials show that the run goes on
            return []
        self._waiting, self._waiting_said_s = pool.waiting, time.monotonic()
        return [f"{_told(status)}, {_waiting(pool)}"]

    def _within_trials(self, status: RunStatus) -> list[str]:
        now_s, done = time.monotonic(), status.running_seeds_done + status.validation_seeds_done
        if done in (0, self._seeds_said) or now_s - self._written_s < _LONG_TRIAL_S:
            return []
        self._written_s, self._seeds_said = now_s, done
        return [_progress(status)]

    def _is_due(self) -> bool:
        now_s = time.monotonic()
        if self._brief and now_s - self._written_s < _BRIEF_S:
            self._n_left_out += 1
            return False
        self._written_s = now_s
        return True


def _may_be_read_by_others(stream: object) -> bool:
    """Tell whether a stream is a file that other users can read, such as a log."""
    try:
        found = os.fstat(stream.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):  # it is in memory, or closed
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _without_token(event: RunStarted) -> RunStarted:
    """Replace the dashboard's link by the path of the file that holds it."""
    link, *token = re.split("[?&]token=", event.dashboard or "")
    if not token:
        return event
    file = RunDirectory(event.run_dir).key_dir / _LINK_FILE
    # Without a file the cluster was passed, and the caller has the link.
    instead = f"its link, with the token, is in {file}" if file.exists() else link
    return attrs.evolve(event, dashboard=instead, study=event.study and "linked from there")


def _start(event: RunStarted) -> list[str]:
    lines = [f"run folder {event.run_dir}", f"on {event.place}"]
    if event.n_told:
        lines.append(f"resumed after {event.n_told} trials")
    if event.dashboard is not None:
        lines.append(f"dashboard  {event.dashboard}")
    if event.study is not None:
        lines.append(f"study      {event.study}")
    if event.tunnel is not None:
        lines.append(f"from a laptop, first: {event.tunnel}")
    return lines


def _trial(event: TrialFinished, run_dir: Path) -> list[str]:
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
            lines.append(
                f"to see why: {replay_command(run_dir, trial.number, event.failure.seed)}"
            )
    return lines


def _lost(event: ChunkLost) -> str:
    what = f"trial {event.trial}, the chunk that begins with seed {event.chunk_start}"
    return f"lost the worker {event.worker}; run again: {what}"


def _interrupted(event: RunInterrupted) -> list[str]:
    where = ", in the validation" if event.validating else ""
    return [
        f"stopped with {event.n_told} of {event.n_trials} trials told{where}; nothing is lost",
        f"to resume: {resume_command(event.run_dir)}",
    ]


def _progress(status: RunStatus) -> str:
    parts = [_told(status)]
    parts += [f"{status.failed} failed"] if status.failed else []
    parts += [f"{status.pruned} pruned"] if status.pruned else []
    if status.running_seeds_done:
        of_seeds = f"{status.running_seeds_done} of {status.running_seeds} seeds"
        parts.append(f"{status.running} running with {of_seeds} done")
    if status.validation_seeds:
        parts.append(f"validation {validation_words(status)} done")
    if status.entries is not None:
        parts.append(f"{status.entries['done']} of {sum(status.entries.values())} entries done")
    if status.trials_per_s is not None:
        parts.append(f"{status.trials_per_s:.3g} a second")
    if status.expected_end_utc is not None:
        parts.append(f"expected end {end_words(status.expected_end_utc, datetime.now(UTC))}")
    if status.best_value is not None:
        parts.append(f"best {status.best_value:.6g}")
    if status.pool is not None and status.pool.joined != status.pool.wanted:
        parts.append(_waiting(status.pool))
    return ", ".join(parts)


def _told(status: RunStatus) -> str:
    return f"{status.n_told} of {status.n_trials} trials told"


def _waiting(pool: PoolStatus) -> str:
    workers = f"{pool.joined}/{pool.wanted} workers"
    reason = waiting_words(pool, datetime.now(UTC))
    return workers if reason is None else f"{workers}, waiting: {reason}"


def _pool_changed(event: PoolChanged) -> str:
    if event.pool is None:
        return event.news.text
    if event.news.kind == "scaled":
        return f"{event.news.text}; {scaled_words(event.pool)}"
    return f"{event.news.text}; workers: {workers_words(event.pool)}"


def _entry(event: EntryFinished) -> str:
    count = f"[{event.n_ended}/{event.n_entries}] entry {event.entry_id!r}"
    if event.best is None:
        return f"{count} failed: {event.error}"
    line = f"{count} best {mean_words(event.best)} at {point_in_words(event.best.params)}"
    return line if event.validated is None else f"{line}; {in_words(event.validated)}"


def _end(event: RunFinished) -> list[str]:
    best = event.best
    found = "done" if best is None else f"best {mean_words(best)} at {point_in_words(best.params)}"
    lines = [f"{found}; {event.duration_s:.1f} s"]
    lines += [f"remark: {remark}" for remark in event.remarks[:_MOST_REMARKS]]
    if (n_more := len(event.remarks) - _MOST_REMARKS) > 0:
        lines.append(f"remark: {n_more} more are in result.remarks")
    return lines if event.outcome is None else [*lines, event.outcome]

"""The progress of a run, in lines for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from seedwise.errors import NotARunError, clean_command, resume_command
from seedwise.folder.events import read_events
from seedwise.folder.find import existing_run
from seedwise.model.status import RunStatus
from seedwise.view.words import aligned, end_words, validation_words, waiting_words, workers_words

_TRIAL_STATES = ("pending", "running", "done", "failed", "pruned")

_MINUTE_S, _HOUR_S = 60, 3600

_MOST_LOSSES = 3


def status_lines(
    status: RunStatus, run_dir: Path, *, now_utc: datetime | None = None
) -> list[str]:
    """Return the progress of a run as lines: a table, and how to resume a run that is stopped.

    `run_dir` is the folder of the run or of an entry. Times are shown in local time.
    """
    rows = status_rows(status, run_dir, now_utc or datetime.now(UTC))
    lines = aligned(list(zip(*rows, strict=True)), str.ljust)
    if status.state == "stopped":
        # An entry is resumed as a part of its run.
        lines.append(f"to resume: {resume_command(existing_run(run_dir).home.path)}")
    return lines


def status_rows(status: RunStatus, run_dir: Path, now_utc: datetime) -> list[tuple[str, str]]:
    """Return the progress of a run as rows, each with its name."""
    rows = [(status.kind, status.state)]
    if status.driver is not None:
        rows.append(("driver", status.driver))
    elif status.state == "stopped" and (killed := _killed(run_dir)) is not None:
        rows.append(("driver", killed))
    if status.pool is not None:
        rows.append(("workers", workers_words(status.pool)))
        waiting = waiting_words(status.pool, now_utc)
        rows += [] if waiting is None else [("waiting", waiting)]
        excluded = status.pool.excluded_nodes.items()
        rows += [("excluded", f"node {node}: {why}") for node, why in excluded]
    if status.state != "finished":
        rows += _losses(run_dir)
    rows += _trials(status)
    if status.trials_per_s is not None:
        past = "" if status.state == "running" else ", while it ran"
        rows.append(("rate", f"{_rate(status.trials_per_s)}{past}"))
    if status.expected_end_utc is not None:
        rows.append(("expected end", end_words(status.expected_end_utc, now_utc)))
    rows += _best(status)
    if status.entries is not None:
        states = ", ".join(f"{count} {state}" for state, count in status.entries.items())
        rows.append(("entries", states))
    return rows


def progress_line(status: RunStatus) -> str:
    """Return how far a run is, in a line."""
    line = f"{status.kind}, {status.state}: {status.n_told} of {status.n_trials} trials told"
    if not status.validation_seeds:
        return line
    return f"{line}, validation {validation_words(status)} done"


def _killed(run_dir: Path) -> str | None:
    """Say that the last driver was killed, which let go of nothing; None if it was not."""
    try:
        home = existing_run(run_dir).home
    except NotARunError:  # to resume it is refused, too
        return None
    if not home.lease.exists():
        return None
    if not home.jobs_file.exists():
        return "was killed"
    return f"was killed; jobs may be left: {clean_command(home.path)}"


def _losses(run_dir: Path) -> list[tuple[str, str]]:
    """Return why the last driver's most recent workers were lost or refused."""
    try:
        events = read_events(existing_run(run_dir))
    except (NotARunError, OSError):  # the status is worth more than this row
        return []
    rows: list[tuple[str, str]] = []
    for event in events:
        kind = event.get("kind")
        if kind in ("started", "resumed"):
            rows = []
        elif kind in ("lost", "refused"):
            # In one line, as a log's last line may be more than one.
            words = " ".join(f"{when_words(event.get('at_utc'))} {event.get('text')}".split())
            rows.append((kind, words))
    return rows[-_MOST_LOSSES:]


def when_words(at_utc: object) -> str:
    """Return a time of ISO 8601 in local time; empty if it is none."""
    try:
        return f"{datetime.fromisoformat(str(at_utc)).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""


def _trials(status: RunStatus) -> list[tuple[str, str]]:
    if not status.n_trials:  # the run has just begun
        return [("trials", "not counted yet")]
    n_trials, width = status.n_trials, len(str(status.n_trials))
    told = f"{status.n_told} of {n_trials} told, {_percent(status.n_told, n_trials)} %"
    rows = [("trials", told)]
    for state in _TRIAL_STATES:
        count = getattr(status, state)
        row = f"{count:>{width}}  {_percent(count, n_trials):>5} %"
        if state == "running" and status.running_seeds:
            row += f"  {status.running_seeds_done} of their {status.running_seeds} seeds done"
        rows.append((f"  {state}", row))
    if status.validation_seeds:
        rows.append(("validation", f"{validation_words(status)} done"))
    return rows


def _best(status: RunStatus) -> list[tuple[str, str]]:
    rows = []
    if status.best_value is not None:
        rows.append(("best so far", f"{status.best_value:.6g}"))
    if status.validated_value is not None:
        words = f"{status.validated_value:.6g} ± {status.validated_stderr:.2g} on fresh seeds"
        rows.append(("validated", words))
    return rows


def _percent(count: int, n_trials: int) -> str:
    # Cut off, not rounded, so that it is below 100 until the last trial is told.
    tenths = 1000 * count // n_trials
    return f"{tenths // 10}.{tenths % 10}"


def _rate(per_s: float) -> str:
    """Return a rate by the second or the minute if it is at least 1 by that, else by the hour."""
    rate, per = per_s * _HOUR_S, "an hour"
    if per_s >= 1:
        rate, per = per_s, "a second"
    elif per_s * _MINUTE_S >= 1:
        rate, per = per_s * _MINUTE_S, "a minute"
    return f"{rate:.3g} {per}" if rate < 100 else f"{rate:.0f} {per}"
